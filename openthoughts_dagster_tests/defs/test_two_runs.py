"""Two runs of one partition: the second reuses, and where both run at once the tables are right all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from openthoughts_dagster.lake import COMPLETIONS, TEACHER_ANSWERS
from openthoughts_dagster_tests.defs.step_process import PLAN, PUBLISH, QUESTIONS, SHARD, StepProcesses
from openthoughts_dagster_tests.e2e.slow_teacher import SlowTeacher, slow_teacher

pytestmark = pytest.mark.faults


@pytest.fixture
def server() -> Iterator[SlowTeacher]:
    with slow_teacher(0.0) as server:
        yield server


def _finish(*started: tuple[StepProcesses, str]) -> None:
    processes = [(steps, step, steps.start(step)) for steps, step in started]
    try:
        for steps, step, process in processes:
            assert process.wait(120) == 0 and steps.events(step)[-1] == "STEP_SUCCESS", steps.log(step).read_text()
    finally:
        for _, _, process in processes:
            process.kill()
            process.wait()


def test_at_once_they_share_the_ledger_and_after_one_another_nothing_is_asked_twice(
    tmp_path: Path, server: SlowTeacher
) -> None:
    one, two, three = (StepProcesses(tmp_path, server.address, name) for name in ("one", "two", "three"))
    one.questions()
    _finish((one, PLAN), (two, PLAN))
    server.seconds = 0.5

    _finish((one, SHARD), (two, SHARD))
    _finish((one, PUBLISH), (two, PUBLISH))

    answers = one.lake.scan(TEACHER_ANSWERS).collect()
    completions = one.lake.scan(COMPLETIONS).collect()
    assert answers.height == answers["question_id"].n_unique() == QUESTIONS
    assert set(answers["completion_id"]) <= set(completions["completion_id"])
    assert completions.height == sum(server.asked.values())  # whoever was asked is on the bill

    asked = dict(server.asked)
    _finish((three, PLAN))
    assert not list((tmp_path / "step_outputs" / three.run.run_id).glob("*/shards/*"))  # nothing is missing
    three.shards = []
    _finish((three, PUBLISH))
    assert dict(server.asked) == asked
    assert one.lake.scan(TEACHER_ANSWERS).collect().equals(answers)
