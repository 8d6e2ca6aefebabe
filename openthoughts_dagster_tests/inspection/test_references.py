"""Students are compared with models that were not trained here, and with what a paper reports, kept apart."""

from pathlib import Path

import pytest
import yaml

from openthoughts_dagster.cluster.step_work import reference_work
from openthoughts_dagster.defs.catalogue import entry_of
from openthoughts_dagster.evaluation import reference_means, reported_scores, teacher_facts
from openthoughts_dagster.lake import REFERENCE_SCORES
from openthoughts_dagster.recipe import Recipe, RecipeError, load_recipe
from openthoughts_dagster.recipe.reported_scores import REPORTED
from openthoughts_dagster_tests.e2e.small_recipe import served_recipe
from openthoughts_dagster_tests.evaluation.helpers import json_lines
from openthoughts_dagster_tests.inspection.house import TEACHER, make_house

OTHER = {"name": "other", "model": "org/other", "engine": "vllm", "hardware": "h100x2"}


def recipe_with(folder: Path, *references: dict[str, str]) -> Recipe:
    path = served_recipe(folder / "recipe", "http://127.0.0.1:9/v1")
    document = yaml.safe_load(path.read_text())
    document["evaluation"]["references"] = list(references)
    path.write_text(yaml.safe_dump(document))
    return load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder)})


def test_each_reference_is_a_partition_that_a_person_starts_in_a_pod_of_its_own_size(tmp_path: Path) -> None:
    recipe, entry = recipe_with(tmp_path, OTHER), entry_of("reference_scores")
    assert entry.partitions.keys(recipe, []) == ["untrained", "slow", "other"]
    assert entry.condition(recipe) is None and entry.pays_models
    hardware = reference_work(recipe, "other").hardware
    assert hardware is not None and (hardware.accelerator, hardware.count) == ("h100", 2)
    assert reference_work(recipe, "slow").hardware is None  # its server has the accelerators


@pytest.mark.parametrize(
    ("name", "says"),
    [("untrained", "is that of the student before training"), ("slow", "'slow' is given 2 times")],
)
def test_a_reference_needs_a_name_of_its_own(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe_with(tmp_path, OTHER | {"name": name})


def test_a_teachers_own_score_stands_beside_its_answers_and_its_students(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "b.jsonl", [{"question": "?", "answer": 1}])
    kinds = {"b": "dev", "hidden": "held_out"}
    benchmarks = [{"name": name, "kind": "file", "path": str(path), "role": role} for name, role in kinds.items()]
    house = make_house(tmp_path, evaluation={"benchmarks": benchmarks})
    assert teacher_facts(house.lake, house.recipe)["own_score"].to_list() == [None]
    rows = [
        {"compared_model": TEACHER, "benchmark": benchmark, "metric": "m", "item": str(n), "score": score, "repeats": 1}
        for benchmark, score in (("b", 0.75), ("hidden", 0.0))
        for n in range(4)
    ]
    house.write(REFERENCE_SCORES, *rows, compared_model=TEACHER)
    means = reference_means(house.lake, house.recipe)
    assert means.select("reference", "benchmark", "score", "items").rows() == [
        (TEACHER, "b", 0.75, 4),
        (TEACHER, "all", 0.75, 4),
    ]
    [facts] = teacher_facts(house.lake, house.recipe).to_dicts()
    assert facts == {
        "teacher": TEACHER,
        "own_score": 0.75,
        "own_standard_error": 0.0,
        "answers": 9,
        "answer_tokens": 20.0,
        "truncated": 0.0,
        "final_loss": 0.5,
    }


def test_what_the_paper_reports_is_only_beside_benchmarks_that_are_asked_as_in_the_paper(tmp_path: Path) -> None:
    paper = load_recipe("openthoughts3", {"OPENTHOUGHTS_DATA": str(tmp_path)})
    rows = {row["reported"]: row for row in reported_scores(paper).to_dicts()}
    assert len(rows["OpenThinker3-7B"]) == 13 and rows["OpenThinker3-7B"]["aime24"] == 0.69
    assert rows["OpenThinker2-7B"]["hle-multiple-choice"] is None
    for model, mean in (("OpenThinker3-7B", 55.3), ("DeepSeek-R1-Distill-Qwen-7B", 42.9)):
        assert 100 * sum(REPORTED[model].values()) / 12 == pytest.approx(mean, abs=0.06)  # the card's own mean
    assert reported_scores(recipe_with(tmp_path)).height == 0
