"""What the automation asks for, as a table of sentences: each starts where every cell of two sources is answered."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.events import StepMaterializationData

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED

QUESTIONS = ("raw_sources", "scored_questions", "deduped_questions")
CELLS = ("teacher_answers", "student_checkpoint", "benchmark_scores")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NIGHTLY = "0 2 * * *"


class World:
    """Our own definitions over an instance, whose assets are made by reporting what a run would report."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance, self._folder, self._now = instance, folder, NOON
        self._cursor: AssetDaemonCursor | None = None
        self.recipe(teachers=["t1", "t2"])
        self.instance.add_dynamic_partitions("source", ["a", "b"])
        self.made("quickstart_models", None)
        for source in ("a", "b"):
            self.curated(source)
            for asset, teacher in product(CELLS, ("t1", "t2")):
                self.made(asset, f"{source}|{teacher}")
        self.made("source_ranking", None)
        self.made("teacher_ranking", None)
        assert self.tick() == set()

    def recipe(self, teachers: list[str], students: str | None = None) -> None:
        """Load the code location with these teachers, and this schedule for students."""
        document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
        document["teachers"] = [document["teachers"][0] | {"name": name} for name in teachers]
        document["automation"] = {"students": students}
        (self._folder / "recipe.yaml").write_text(yaml.safe_dump(document))
        settings = Settings(str(self._folder), self._folder, str(self._folder / "lake"))
        self.definitions = build_definitions(load_recipe(settings.recipe, settings.variables()), settings)

    def made(self, asset: str, partition: str | None, version: str = "1", checks: bool = True) -> None:
        """A run materialized the asset's partition with this content, and its checks passed or did not."""
        key, run_id = dg.AssetKey(asset), str(uuid4())
        tags = {"dagster/data_version": version}
        made = StepMaterializationData(dg.AssetMaterialization(key, partition=partition, tags=tags))
        self._report(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION, made)
        [record] = self.instance.fetch_materializations(key, limit=1).records
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=run_id, timestamp=record.timestamp
        )
        graph = self.definitions.resolve_asset_graph()
        for check in (check for check in graph.get_check_keys_for_assets({key}) if graph.get(check).blocking):
            evaluation = dg.AssetCheckEvaluation(
                key, check.name, checks, partition=partition, blocking=True, target_materialization_data=target
            )
            self._report(run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)

    def _report(self, run_id: str, kind: dg.DagsterEventType, data: Any) -> None:
        event = dg.DagsterEvent(event_type_value=kind.value, event_specific_data=data, job_name="a_job")
        self.instance.report_dagster_event(event, run_id=run_id)

    def failed(self, asset: str, partition: str) -> None:
        """A run for the asset's partition failed."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        run = self.instance.create_run_for_job(
            job, asset_selection=frozenset({dg.AssetKey(asset)}), tags={"dagster/partition": partition}
        )
        self.instance.report_run_failed(run)

    def curated(self, source: str, version: str = "1") -> None:
        """The source went down to its selected questions."""
        for asset in QUESTIONS:
            self.made(asset, source, version)

    def landed(self, source: str) -> None:
        """A new source went down to its selected questions, each step requested by the one before."""
        self.instance.add_dynamic_partitions("source", [source])
        self.curated(source)

    def tick(self, hours: float = 0.01) -> set[str]:
        """One evaluation, `hours` after the last: what it requests, as asset or asset:partition."""
        self._now += timedelta(hours=hours)
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, evaluation_time=self._now, cursor=self._cursor
        )
        self._cursor = result.cursor
        return {
            key.to_user_string() + (f":{partition}" if partition else "")
            for key in self.definitions.resolve_asset_graph().get_all_asset_keys()
            for partition in result.get_requested_partitions(key)
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two sources, answered by two teachers whose students are ranked: everything is up to date."""
    with dg.DagsterInstance.ephemeral() as instance:  # in memory: a tick on disk takes a second
        yield World(tmp_path, instance)


def _new_teacher_then(act: Callable[[World], None]) -> Callable[[World], None]:
    def new_teacher(world: World) -> None:
        world.recipe(teachers=["t1", "t2", "new"])
        assert world.tick() == set()
        act(world)

    return new_teacher


def _nightly_then(act: Callable[[World], None]) -> Callable[[World], None]:
    def nightly(world: World) -> None:
        world.recipe(teachers=["t1", "t2"], students=NIGHTLY)
        world.tick()
        act(world)

    return nightly


SENTENCES: list[tuple[str, Callable[[World], object], set[str]]] = [
    ("nothing happened: nothing is requested", lambda w: None, set()),
    (
        "a new source was read: it is scored",
        lambda w: (w.instance.add_dynamic_partitions("source", ["c"]), w.made("raw_sources", "c")),
        {"scored_questions:c"},
    ),
    (
        "a source got other data: it is scored, and no other",
        lambda w: w.made("raw_sources", "a", "2"),
        {"scored_questions:a"},
    ),
    ("scores changed: selection follows", lambda w: w.made("scored_questions", "a", "2"), {"deduped_questions:a"}),
    ("a source was read again and is the same: nothing moves", lambda w: w.made("raw_sources", "a"), set()),
    ("the whole source was made again and is the same: nothing moves", lambda w: w.curated("a"), set()),
    (
        "a new source has questions: every teacher in use answers them, and no other cell moves",
        lambda w: w.landed("c"),
        {"teacher_answers:c|t1", "teacher_answers:c|t2"},
    ),
    (
        "a source's questions changed: every teacher that answered it answers again",
        lambda w: w.made("deduped_questions", "a", "2"),
        {"teacher_answers:a|t1", "teacher_answers:a|t2"},
    ),
    ("a new teacher: nothing, it waits for a person", _new_teacher_then(lambda w: None), set()),
    (
        "a new teacher and then a new source: only the teachers in use answer",
        _new_teacher_then(lambda w: w.landed("c")),
        {"teacher_answers:c|t1", "teacher_answers:c|t2"},
    ),
    (
        "a new teacher and then changed questions: only the teachers that answered them answer again",
        _new_teacher_then(lambda w: w.made("deduped_questions", "a", "2")),
        {"teacher_answers:a|t1", "teacher_answers:a|t2"},
    ),
    (
        "a person tried the new teacher on one source: it answers no other known source by itself",
        _new_teacher_then(lambda w: (w.landed("c"), w.tick(), w.made("teacher_answers", "a|new", "1"))),
        set(),
    ),
    (
        "a person started the new teacher: it answers the next new source",
        _new_teacher_then(lambda w: (w.made("teacher_answers", "a|new"), w.tick(), w.landed("c"))),
        {"teacher_answers:c|t1", "teacher_answers:c|t2", "teacher_answers:c|new"},
    ),
    (
        "a cell that failed, and whose questions changed since: it is asked again",
        lambda w: (w.landed("c"), w.tick(), w.failed("teacher_answers", "c|t1"), w.tick(), w.curated("c", "2")),
        {"teacher_answers:c|t1"},
    ),
    (
        "a source that fails its checks goes no further, and holds up no other",
        lambda w: (w.made("scored_questions", "a", "2", checks=False), w.made("scored_questions", "b", "2")),
        {"deduped_questions:b"},
    ),
    ("answers changed: students wait for a button", lambda w: w.made("teacher_answers", "a|t1", "2"), set()),
    (
        "a student was scored anew: the rankings follow, though another cell is missing",
        lambda w: (w.landed("c"), w.tick(), w.made("benchmark_scores", "a|t1", "2")),
        {"source_ranking", "teacher_ranking"},
    ),
    (
        "answers changed by day, students nightly: nothing before the night",
        _nightly_then(lambda w: w.made("teacher_answers", "a|t1", "2")),
        set(),
    ),
    (
        "a student was trained by the nightly schedule: its scores follow",
        _nightly_then(lambda w: w.made("student_checkpoint", "a|t1", "2")),
        {"benchmark_scores:a|t1"},
    ),
    (
        "a source was deleted and came back with other data: it is made again",
        lambda w: (
            w.instance.delete_dynamic_partition("source", "a"),
            w.tick(),
            w.instance.add_dynamic_partitions("source", ["a"]),
            w.tick(),
            w.made("raw_sources", "a", "2"),
        ),
        {"scored_questions:a"},
    ),
]


@pytest.mark.parametrize(("sentence", "act", "requested"), SENTENCES, ids=[sentence for sentence, _, _ in SENTENCES])
def test_(sentence: str, act: Callable[[World], object], requested: set[str], world: World) -> None:
    act(world)
    assert world.tick() == requested, sentence
    assert world.tick() == set(), f"{sentence}, and once"


def test_at_night_students_are_trained_whose_answers_changed_since_the_last_night(world: World) -> None:
    world.recipe(teachers=["t1", "t2"], students=NIGHTLY)
    world.tick()
    world.made("teacher_answers", "a|t1", "2")
    assert world.tick(hours=1) == set()
    assert world.tick(hours=14) == {"student_checkpoint:a|t1"}
    world.made("student_checkpoint", "a|t1", "2")
    assert world.tick() == {"benchmark_scores:a|t1"}
    assert world.tick(hours=24) == set()
