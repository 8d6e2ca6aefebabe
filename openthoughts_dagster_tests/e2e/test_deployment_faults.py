"""A run worker and the daemon die in the middle: nothing is lost, nothing is paid twice. On SQLite and PostgreSQL."""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.generation.requests import sample_seed
from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, TEACHER_ANSWERS
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.conftest import HOUSE, Live
from openthoughts_dagster_tests.e2e.conftest import House as Folders
from openthoughts_dagster_tests.e2e.postgres import INITDB, postgres
from openthoughts_dagster_tests.e2e.servers import Deployment, launch_backfill, wait_for
from openthoughts_dagster_tests.e2e.slow_teacher import SlowTeacher, slow_teacher
from openthoughts_dagster_tests.e2e.small_recipe import served_recipe

pytestmark = pytest.mark.faults

SAMPLES = 2


@dataclass
class Faulty(Live):
    """A deployment whose only teacher is slow."""

    teacher: SlowTeacher

    def completions(self) -> pl.DataFrame:
        """What the ledger has."""
        return self.lake.scan(COMPLETIONS).select("key", "sample_index", "prompt").collect()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def faulty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """One deployment for each storage, with a recipe that needs no model of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    with slow_teacher() as teacher:
        if request.param == "postgres":
            skip_without("PostgreSQL", INITDB is not None, "apt-get install postgresql")
            with postgres() as address:
                yield from _deployed(folder, teacher, {"storage": {"postgres": {"postgres_url": address}}})
        else:
            yield from _deployed(folder, teacher, {})


def _deployed(folder: Path, teacher: SlowTeacher, storage: dict[str, object]) -> Iterator[Faulty]:
    home = folder / "data" / "dagster"
    home.mkdir(parents=True)
    (folder / "data" / "landing").mkdir()
    settings = yaml.safe_load((HOUSE / "dagster.yaml").read_text()) | storage
    settings["run_monitoring"]["poll_interval_seconds"] = 2
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    recipe = served_recipe(folder / "recipe", teacher.address, max_in_flight=2, commit={"seconds": 1})
    with dg.DagsterInstance.from_config(str(home)) as instance:
        environment = Folders(recipe, folder / "data", instance).environment
        with Deployment(environment, folder / "logs") as deployment:
            yield Faulty(recipe, folder / "data", instance, deployment, teacher)


def test_a_run_whose_worker_is_killed_is_retried_and_nothing_is_generated_twice(faulty: Faulty) -> None:
    wait_for(lambda: "sums" in faulty.materialized("deduped_questions"), 120, "questions", faulty.log)
    assert faulty.teacher.asked.total() == 0  # nobody has started the teacher
    launch_backfill(faulty.address, ["teacher_answers"], ["sums|slow"])
    wait_for(lambda: faulty.completions().height >= 10, 60, "the first commits", faulty.log)

    [run] = faulty.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    os.kill(_worker(faulty, run.run_id), signal.SIGKILL)
    committed = faulty.completions()
    assert committed.height < 24 * SAMPLES

    def runs() -> list[dg.DagsterRun]:
        return list(faulty.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "sums|slow"})))

    done = ["FAILURE", "SUCCESS"]
    wait_for(lambda: sorted(r.status.value for r in runs()) == done, 120, "the retry", faulty.log)
    assert {r.root_run_id for r in runs()} == {None, run.run_id}
    ledger = faulty.completions()
    assert ledger.height == 24 * SAMPLES == ledger.unique(["key", "sample_index"]).height
    again = {what for what, count in faulty.teacher.asked.items() if count > 1}
    assert len(again) < 10  # under way or not yet committed at the kill
    assert again.isdisjoint(
        json.dumps([json.loads(prompt), sample_seed(key, index)]) for key, index, prompt in committed.iter_rows()
    )
    assert faulty.lake.scan(TEACHER_ANSWERS).collect().height == 24 * SAMPLES


def test_a_daemon_that_is_killed_loses_nothing_and_doubles_nothing(faulty: Faulty) -> None:
    asked = faulty.teacher.asked.total()
    folder = faulty.landing / "more"
    folder.mkdir()
    rows = [json.dumps({"question": f"How much is {number} and {number}?"}) for number in range(8)]
    (folder / "questions.jsonl").write_text("\n".join(rows))
    (folder / "source.yaml").write_text("{reader: files, domain: puzzle, path: questions.jsonl}")
    (folder / "_SUCCESS").touch()
    for asset in ("raw_sources", "deduped_questions"):
        wait_for(lambda asset=asset: "more" in faulty.materialized(asset), 120, asset, faulty.log)  # type: ignore[misc]
        faulty.deployment.stop("daemon", signal.SIGKILL)
        faulty.deployment.start("daemon")
    wait_for(lambda: "more|slow" in faulty.materialized("teacher_answers"), 120, "answers", faulty.log)

    made = {name: faulty.times_made(name) for name in ("raw_sources", "scored_questions", "deduped_questions")}
    assert all(counts == {"sums": 1, "more": 1} for counts in made.values())
    assert faulty.times_made("teacher_answers") == {"sums|slow": 1, "more|slow": 1}
    questions = faulty.lake.scan(DEDUPED_QUESTIONS, source="more").collect().height
    assert faulty.teacher.asked.total() - asked == questions * SAMPLES


def _worker(faulty: Faulty, run_id: str) -> int:
    """The process of a run, as its log says."""
    for entry in faulty.instance.all_logs(run_id):
        if found := re.search(r"process for run \(pid: (\d+)\)", entry.message or ""):
            return int(found[1])
    raise AssertionError([entry.message for entry in faulty.instance.all_logs(run_id)])
