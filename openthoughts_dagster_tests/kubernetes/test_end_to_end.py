"""The chart on a real control plane: runs and steps are Jobs that find the nodes which their teachers ask for."""

from itertools import pairwise
from typing import Any

import pytest

from openthoughts_dagster.lake import BENCHMARK_SCORES, TEACHER_ANSWERS
from openthoughts_dagster_tests.e2e.servers import launch_backfill, wait_for
from openthoughts_dagster_tests.kubernetes.quickstart_release import MADE, MORE, SAMPLES
from openthoughts_dagster_tests.kubernetes.release import Release

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]  # patient: CI shares its machine


@pytest.fixture(scope="module")
def backfill(release: Release) -> str:
    """Cells of `direct`, more than there are accelerators for it: in the background of all tests here."""
    return launch_backfill(release.address, ["teacher_answers"], [f"{source}|direct" for source in MORE])


def test_the_assets_materialize_on_the_pools_that_their_teachers_ask_for(release: Release, backfill: str) -> None:
    questions = release.launch("refresh_questions", MADE)
    release.wait(questions, 400)
    pods = release.step_pods(questions)
    assert {"raw_sources", "scored_questions", "deduped_questions"} <= pods.keys()
    assert {release.pool_of(pod) for each in pods.values() for pod in each} == {"cpu"}
    [judging], [reading] = pods["scored_questions"], pods["raw_sources"]
    assert judging.spec.containers[0].image != reading.spec.containers[0].image  # only one of the two has engines

    direct = release.launch("students", MADE, "direct")
    worked = release.launch("backfill_teacher", MADE, "worked")
    for run in (direct, worked):
        release.wait(run, 400)
    for run, pool, gpus in ((direct, "gpu-1", "1"), (worked, "gpu-8", "8")):
        pods = release.step_pods(run)
        [shard], [plan], [publish] = pods["answer"], pods["plan"], pods["publish"]
        assert release.pool_of(shard) == pool
        assert shard.spec.containers[0].resources.limits["nvidia.com/gpu"] == gpus
        assert shard.spec.priority_class_name == "openthoughts-generation"
        assert release.pool_of(plan) == release.pool_of(publish) == "cpu"
        assert {pod.spec.service_account_name for each in pods.values() for pod in each} == {"openthoughts-run"}
    [scoring], [training] = (release.step_pods(direct)[op] for op in ("benchmark_scores", "student_checkpoint"))
    assert (release.pool_of(scoring), release.pool_of(training)) == ("gpu-1", "cpu")  # which made two pods that train
    assert release.pools_of_training() == {"0": "gpu-1", "1": "gpu-1"}
    assert set(release.lake.scan(BENCHMARK_SCORES, source=MADE).collect()["teacher"]) == {"direct"}
    answers = release.lake.scan(TEACHER_ANSWERS, source=MADE, teacher="worked").collect()
    assert answers.height == 12 * SAMPLES


def test_a_backfill_of_more_cells_than_accelerators_never_holds_more_than_the_pool_has(
    release: Release, backfill: str
) -> None:
    def succeeded() -> bool:
        runs = release.runs(dagster__backfill=backfill)
        assert not {"FAILURE", "CANCELED"} & set(runs.values()), [release.tail(run, 30) for run in runs]
        return len(runs) == len(MORE) and set(runs.values()) == {"SUCCESS"}

    wait_for(succeeded, 400, "the backfill")
    shards = [pod for run in release.runs(dagster__backfill=backfill) for pod in release.step_pods(run)["answer"]]
    assert len(shards) == len(MORE)
    assert {release.pool_of(pod) for pod in shards} == {"gpu-1"}
    by_node: dict[str, list[Any]] = {}
    for pod in shards:
        by_node.setdefault(pod.spec.node_name, []).append(pod.status.container_statuses[0].state.terminated)
    for stays in by_node.values():  # one accelerator each
        stays.sort(key=lambda stay: stay.started_at)
        assert all(first.finished_at <= then.started_at for first, then in pairwise(stays))
    for source in MORE:
        published = release.lake.scan(TEACHER_ANSWERS, source=source, teacher="direct").collect().height
        ledger = release.answered(source)
        assert ledger.height == ledger.unique().height == published == release.wanted(source)
