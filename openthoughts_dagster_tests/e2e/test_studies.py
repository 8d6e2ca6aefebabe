"""A study from its questions to its decision, through Dagster, with real answers and real students."""

import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

import dagster as dg
import pytest
import yaml

from openthoughts_dagster.cli.study_runs import StudyRun, run_study
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.demo import Outcome
from openthoughts_dagster.lake import ARM_SCORES, ARM_STUDENTS, COMPLETIONS, STUDENT_CHECKPOINTS, STUDY_RESULTS
from openthoughts_dagster_tests.e2e.conftest import House

STUDY = {
    "name": "sizes",
    "question": "Do more rows help?",
    "base": {"sources": ["two-digit-sums"], "teacher": "direct"},
    "arms": {"as-the-cell": {"rows": 32}, "fewer": {"rows": 16, "questions": 12, "answers_per_question": 1}},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def asked(house: House, first_run: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A copy of the house after its first run, whose recipe has a study."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(house.data, folder / "data")
    shutil.copytree(house.recipe_file.parent, folder / "recipe")
    recipe_file = folder / "recipe" / house.recipe_file.name
    recipe_file.write_text(
        yaml.safe_dump(yaml.safe_load(recipe_file.read_text()) | {"studies": [STUDY]}, sort_keys=False)
    )
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
    assert escape(outcome.decision) in Path(str(metadata["report"].value)).read_text()
