"""A study from its questions to its decision, through Dagster, with real answers and real students."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import dagster as dg
import pytest
import yaml

from openthoughts_dagster.cli.local_runs import run_here
from openthoughts_dagster.cli.study_runs import StudyRun, run_study
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.jobs import RANKINGS, STUDENTS
from openthoughts_dagster.demo import Outcome
from openthoughts_dagster.lake import (
    ARM_SCORES,
    ARM_STUDENTS,
    COMPLETIONS,
    SEED_SCORES,
    SEED_STUDENTS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
)
from openthoughts_dagster.studies import arm_costs
from openthoughts_dagster_tests.e2e.conftest import House
from openthoughts_dagster_tests.e2e.small_recipe import with_study


@pytest.fixture(scope="module")
def asked(house: House, first_run: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A copy of the house after its first run, whose recipe has a study."""
    with _copy_with_study(house, tmp_path_factory.mktemp("study")) as copied:
        yield copied


@pytest.fixture
def unasked(house: House, first_run: Outcome, tmp_path: Path) -> Iterator[House]:
    """Another copy, in which nobody has started the study."""
    with _copy_with_study(house, tmp_path) as copied:
        yield copied


@contextmanager
def _copy_with_study(house: House, folder: Path) -> Iterator[House]:
    shutil.copytree(house.data, folder / "data")
    shutil.copytree(house.recipe_file.parent, folder / "recipe")
    recipe_file = with_study(folder / "recipe" / house.recipe_file.name)
    with dg.DagsterInstance.from_config(str(folder / "data" / "dagster")) as instance:
        yield House(recipe_file, folder / "data", instance)


def _run(house: House) -> StudyRun:
    recipe = house.recipe
    definitions = build_definitions(recipe, house.settings)
    return run_study(definitions, recipe, recipe.studies[0], house.instance, house.lake, print)


@pytest.fixture(scope="module")
def outcome(asked: House) -> StudyRun:
    """What the first run of the study did."""
    return _run(asked)


@pytest.mark.timeout(300)
def test_a_study_pays_only_for_what_no_cell_has_and_ends_in_a_decision(asked: House, outcome: StudyRun) -> None:
    assert outcome.failed == {} and outcome.decision
    # Every answer is one of the cell's, and one of the four students is the cell's own.
    assert asked.lake.scan(COMPLETIONS).filter(asset="arm_answers").collect().is_empty()
    assert outcome.trained == 3
    cell = asked.lake.scan(STUDENT_CHECKPOINTS, source="two-digit-sums", teacher="direct").collect()
    students = asked.lake.scan(ARM_STUDENTS).sort("arm_student").collect()
    assert students["arm_student"].to_list() == [f"sizes.{a}.{s}" for a in ("as-the-cell", "fewer") for s in (0, 1)]
    assert students["fingerprint"][0] == cell["fingerprint"].item()
    assert asked.lake.scan(ARM_SCORES).collect().height == 4 * (20 + 4)
    assert set(asked.lake.scan(STUDY_RESULTS).collect()["decision"]) == {outcome.decision}


@pytest.mark.timeout(300)
def test_a_second_run_of_a_study_generates_and_trains_nothing(asked: House, outcome: StudyRun) -> None:
    again = _run(asked)
    assert (again.generated, again.trained, again.failed) == (0, 0, {})


@pytest.mark.timeout(300)
def test_the_report_is_a_file_beside_the_asset_with_the_decision_in_it(asked: House, outcome: StudyRun) -> None:
    made = asked.instance.get_latest_materialization_event(dg.AssetKey("study_results"))
    assert made is not None and made.asset_materialization is not None
    metadata = made.asset_materialization.metadata
    assert metadata["decision"].value == outcome.decision
    report = Path(str(metadata["report"].value)).read_text()
    assert escape(outcome.decision) in report and "training seconds" in report


@pytest.mark.timeout(300)
def test_what_arms_share_is_counted_once_for_all_of_them(asked: House, outcome: StudyRun) -> None:
    [version] = asked.lake.scan(STUDY_VERSIONS).collect()["version"]
    costs = {
        row["arm"]: row for row in arm_costs(asked.lake, asked.recipe, asked.recipe.studies[0], version).to_dicts()
    }
    whole, fewer, both = costs["as-the-cell"], costs["fewer"], costs["all arms"]
    assert whole["evaluation_completions"] == fewer["evaluation_completions"] == 2 * (20 + 4)
    assert both["evaluation_completions"] == 4 * (20 + 4) and both["evaluation_cost"] == "no price"
    assert fewer["completions"] == 12 and both["completions"] == whole["completions"] > 12
    assert both["students"] == 4 and both["training_seconds"] > max(
        whole["training_seconds"], fewer["training_seconds"]
    )


@pytest.mark.timeout(300)
def test_a_cell_has_a_student_for_each_seed_and_shares_them_with_arms(asked: House, outcome: StudyRun) -> None:
    document = yaml.safe_load(asked.recipe_file.read_text())
    document["student"]["seeds"] = [0, 1]
    recipe_file = asked.recipe_file.with_name("seeds.yaml")
    recipe_file.write_text(yaml.safe_dump(document, sort_keys=False))
    house = House(recipe_file, asked.data, asked.instance)
    before = house.lake.scan(STUDENT_CHECKPOINTS, source="two-digit-sums", teacher="direct").collect()
    definitions = build_definitions(house.recipe, house.settings)
    for job, key in ((STUDENTS, "two-digit-sums|direct"), (RANKINGS, None)):
        assert run_here(definitions, house.instance, job, key).problem == ""

    own = house.lake.scan(STUDENT_CHECKPOINTS, source="two-digit-sums", teacher="direct").collect()
    assert own["fingerprint"].to_list() == before["fingerprint"].to_list()
    other = house.lake.scan(SEED_STUDENTS).collect()
    arm = house.lake.scan(ARM_STUDENTS, arm_student="sizes.as-the-cell.1").collect()
    assert other["seed"].to_list() == [1] and other["fingerprint"].to_list() == arm["fingerprint"].to_list()
    scores = house.lake.scan(SEED_SCORES).collect()
    assert scores.height == 24 and set(scores["seed"]) == {1}
    # The other cells have no student of seed 1 yet: all are compared by the seed that they have in common.
    ranked = house.lake.scan(SOURCE_RANKING).filter(domain="all").collect()
    assert set(ranked["seeds"]) == {1} and ranked["error_items"].null_count() == 0
    assert dict(ranked.select("source", "complete").iter_rows())["two-digit-sums"]


def _start(house: House, **environment: str) -> "subprocess.Popen[str]":
    """`openthoughts study run` in a process of its own."""
    code = "from openthoughts_dagster.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "study", "run", "sizes"],
        env=os.environ | house.environment | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _check_whole(house: House, decision: str) -> None:
    """Every student of the study is there once, with its scores, and one decision of one version."""
    students = house.lake.scan(ARM_STUDENTS).sort("arm_student").collect()
    assert students["arm_student"].to_list() == [f"sizes.{a}.{s}" for a in ("as-the-cell", "fewer") for s in (0, 1)]
    assert house.lake.scan(ARM_SCORES).collect().height == 4 * (20 + 4)
    assert house.lake.scan(STUDY_VERSIONS).collect().height == 1
    assert set(house.lake.scan(STUDY_RESULTS).collect()["decision"]) == {decision}


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_study_that_is_killed_goes_on_where_it_was(unasked: House) -> None:
    process = _start(unasked)
    assert process.stdout is not None
    printed: list[str] = []
    for line in process.stdout:
        printed.append(line)
        if "study_students sizes.as-the-cell.1: done" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "".join(printed)

    again = _start(unasked)
    output, _ = again.communicate()
    assert again.returncode == 0, output[-3000:]
    assert "\n2 students trained\n" in output.replace("0 completions generated, ", "\n")  # those that were missing
    _check_whole(unasked, output.splitlines()[-1])


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_two_people_who_run_a_study_at_once_train_each_student_once(unasked: House, tmp_path: Path) -> None:
    """Two machines share the lake and the files; on one machine the second is told to wait."""
    home = tmp_path / "other" / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text((unasked.data / "dagster" / "dagster.yaml").read_text())
    shared = {"OPENTHOUGHTS_LAKE": str(unasked.data / "lake"), "OPENTHOUGHTS_FILES": str(unasked.data)}
    own = {"OPENTHOUGHTS_DATA": str(tmp_path / "other"), "DAGSTER_HOME": str(home)}
    both = [_start(unasked), _start(unasked, **shared, **own)]
    assert both[0].stdout is not None
    first = [next(both[0].stdout)]  # it has the lock of its folder
    refused = _start(unasked)
    said, _ = refused.communicate()
    outputs = [process.communicate()[0] for process in both]

    assert refused.returncode == 1 and "another demo or study is running on" in said
    assert [process.returncode for process in both] == [0, 0], "\n".join([*first, *outputs])[-4000:]
    decisions = {output.splitlines()[-1] for output in outputs}
    assert len(decisions) == 1
    _check_whole(unasked, decisions.pop())
    trained = [int(found[1]) for output in outputs if (found := re.search(r"(\d+) students trained", output))]
    assert sum(trained) == 3, outputs
