"""An asset is an entry of the catalogue and a file of its own; everything else follows from the entry."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from openthoughts_dagster.defs.asset_entry import ERROR, AssetEntry
from openthoughts_dagster.defs.automation import FOLLOWS_CHANGES
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.catalogue import CATALOGUE, entries_of
from openthoughts_dagster.defs.check_rules import Finding, Partition
from openthoughts_dagster.defs.jobs import QUESTIONS
from openthoughts_dagster.defs.partitions import BY_CELL, BY_SOURCE, BY_TEACHER, PartitionKind, static_kind
from openthoughts_dagster.defs.reconcile import Edge, edges_of
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.lake import RAW_SOURCES, Column, Lake, Table, frame_hash
from openthoughts_dagster.recipe import Recipe, load_recipe

QUESTION_LENGTHS = Table(
    "question_lengths",
    "How long every question is.",
    {
        "source": Column(pl.String, "Name of the source"),
        "question_id": Column(pl.String, "Id of the question"),
        "characters": Column(pl.Int64, "Length of its text in characters"),
    },
    ("source",),
)


def question_lengths_asset(entry: AssetEntry, recipe: Recipe, settings: Settings) -> dg.AssetsDefinition:
    """What a file in `assets/` has: the asset's body."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def question_lengths(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        """How long the questions of one source are."""
        source, tables = context.partition_key, lake.open()
        characters = pl.col("question").str.len_chars().cast(pl.Int64).alias("characters")
        rows = tables.scan(RAW_SOURCES, source=source).select("source", "question_id", characters).collect()
        tables.replace(QUESTION_LENGTHS, rows, source=source)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(rows)), metadata={"dagster/row_count": rows.height}
        )

    return question_lengths


def every_question_has_a_length(at: Partition) -> Finding:
    """Every question was measured."""
    questions, measured = at.count(RAW_SOURCES), at.count(QUESTION_LENGTHS)
    return Finding(questions == measured, f"{measured:,} of {questions:,} questions were measured")


ENTRY = AssetEntry(
    "question_lengths",
    question_lengths_asset,
    group="questions",
    owner="data",
    kinds=frozenset({"deltalake", "polars"}),
    partitions=BY_SOURCE,
    table=QUESTION_LENGTHS,
    inputs=("raw_sources",),
    condition=lambda _: FOLLOWS_CHANGES,
    jobs=(QUESTIONS,),
    checks={every_question_has_a_length: ERROR},
    watched_for_age=True,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("quickstart", tmp_path, str(tmp_path / "lake"))


@pytest.fixture
def recipe(settings: Settings) -> Recipe:
    return load_recipe("quickstart", settings.variables())


def _edge(edges: Sequence[Edge], child: str) -> Edge:
    [edge] = [edge for edge in edges if edge.child.name == child]
    return edge


def test_an_asset_that_is_added_to_the_catalogue_is_made_checked_and_automated(
    settings: Settings, recipe: Recipe
) -> None:
    catalogue = (*CATALOGUE, ENTRY)
    definitions = build_definitions(recipe, settings, catalogue)
    [source, *_] = [source.name for source in recipe.sources]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source", [source])
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            partition_key=source,
            asset_selection=[dg.AssetKey(n) for n in ("raw_sources", ENTRY.name)],
            instance=instance,
        )
    assert result.success
    [checked] = [e for e in result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey(ENTRY.name)]
    assert checked.passed and checked.blocking and checked.partition == source
    assert Lake(settings.lake).scan(QUESTION_LENGTHS).collect().height > 0

    spec = definitions.resolve_asset_graph().get(dg.AssetKey(ENTRY.name))
    assert spec.automation_condition is not None and spec.group_name == "questions"
    [cheap] = [sensor for sensor in definitions.sensors or [] if sensor.name == "cheap_assets"]
    assert isinstance(cheap, dg.AutomationConditionSensorDefinition)
    assert dg.AssetKey(ENTRY.name) in cheap.asset_selection.resolve(definitions.resolve_asset_graph())
    job = definitions.resolve_job_def(QUESTIONS)
    assert dg.AssetKey(ENTRY.name) in job.asset_layer.executable_asset_keys
    edge = _edge(edges_of(catalogue, recipe), ENTRY.name)
    assert (edge.parent.name, edge.parent_partition("a"), edge.missing_too) == ("raw_sources", "a", True)


def test_the_page_of_every_asset_with_a_table_has_its_columns_address_and_code(
    settings: Settings, recipe: Recipe
) -> None:
    graph = build_definitions(recipe, settings).resolve_asset_graph()
    online = replace(settings, repository="https://github.com/team/repository/blob/main")
    [link] = (
        build_definitions(recipe, online)
        .resolve_asset_graph()
        .get(dg.AssetKey("raw_sources"))
        .metadata["dagster/code_references"]
        .code_references
    )
    assert link.url.startswith(f"{online.repository}/openthoughts_dagster/defs/assets/raw_sources.py#L")
    for entry in entries_of(recipe):
        metadata = graph.get(dg.AssetKey(entry.name)).metadata
        [code] = metadata["dagster/code_references"].code_references
        assert Path(code.file_path).parent.name == "assets"
        if entry.table is not None:
            columns = metadata["dagster/column_schema"].columns
            assert [column.name for column in columns] == list(entry.table.columns)
            assert metadata["dagster/uri"] == f"{settings.lake}/{entry.table.name}"
            assert metadata["dagster/table_name"] == entry.table.name


@pytest.mark.parametrize(
    "changed",
    [{"inputs": ("scored_questions",)}, {"partitions": BY_TEACHER}],
    ids=["another input", "other partitions"],
)
def test_a_body_that_was_made_otherwise_than_the_catalogue_says_is_refused(
    changed: dict[str, object], settings: Settings, recipe: Recipe
) -> None:
    def made_as_before(entry: AssetEntry, recipe: Recipe, settings: Settings) -> dg.AssetsDefinition:
        return question_lengths_asset(ENTRY, recipe, settings)

    entry = replace(ENTRY, make=made_as_before, **changed)  # type: ignore[arg-type]
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"the catalogue says .*entry\.arguments"):
        build_definitions(recipe, settings, (*CATALOGUE, entry))


ARMS = static_kind("arm", lambda _: ["difficulty.hard", "difficulty.easy"])


@pytest.mark.parametrize("kind", [BY_SOURCE, BY_CELL, BY_TEACHER, ARMS])
def test_a_partitions_key_and_its_labels_say_the_same(kind: PartitionKind, recipe: Recipe) -> None:
    keys = kind.keys(recipe, ["a", "b"])
    assert keys and [kind.key(kind.labels(key)) for key in keys] == keys
    assert all(set(kind.labels(key)) == set(kind.columns) for key in keys)


def test_assets_of_arms_and_of_teachers_need_no_more_than_their_entries(settings: Settings, recipe: Recipe) -> None:
    def nothing_yet(entry: AssetEntry, recipe: Recipe, settings: Settings) -> dg.AssetsDefinition:
        @dg.asset(**entry.arguments(recipe))
        def made() -> None:
            """An asset without a body."""

        return made

    of_arms = AssetEntry(
        "toy_answers", nothing_yet, "studies", "models", frozenset(), partitions=ARMS, inputs=("deduped_questions",)
    )
    of_teachers = replace(of_arms, name="toy_release", partitions=BY_TEACHER, inputs=("teacher_answers",))
    graph = build_definitions(recipe, settings, (*CATALOGUE, of_arms, of_teachers)).resolve_asset_graph()
    arms = graph.get(dg.AssetKey("toy_answers")).partitions_def
    assert arms is not None and arms.get_partition_keys() == ["difficulty.hard", "difficulty.easy"]
    teachers = graph.get(dg.AssetKey("toy_release")).partitions_def
    assert teachers is not None and teachers.get_partition_keys() == [teacher.name for teacher in recipe.teachers]


@pytest.mark.parametrize(
    ("key", "lacks"), [("gone|worked", "source 'gone'"), ("two-digit-sums|gone", "teacher 'gone'")]
)
def test_a_partition_that_the_recipe_has_no_more_says_what_is_missing(key: str, lacks: str, recipe: Recipe) -> None:
    with pytest.raises(KeyError) as error:
        BY_CELL.labels_in(recipe, key)
    assert f"recipe 'quickstart' has no {lacks}" in str(error.value) and "its data is kept" in str(error.value)
