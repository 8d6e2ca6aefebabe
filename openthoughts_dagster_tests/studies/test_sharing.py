"""Arms share their answers: a grid of them asks for one generation and no more."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from openthoughts_dagster.lake import COMPLETIONS, Lake


@pytest.fixture
def benchmark() -> ModuleType:
    """The script benchmarks/studies.py."""
    path = Path(__file__).parents[2] / "benchmarks" / "studies.py"
    spec = importlib.util.spec_from_file_location("studies_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_grid_of_dedup_by_answers_asks_for_one_generation_of_16_answers(
    benchmark: ModuleType, lake: Lake, tmp_path: Path
) -> None:
    recipe = benchmark.write_inputs(tmp_path, 40)
    benchmark.write_scored(lake, tmp_path)
    asked = benchmark.answer_arms(lake, recipe, tmp_path)

    questions = {arm.partition("_")[0]: count for arm, (count, _) in asked.items()}
    assert questions == {"dedup-none": 48, "dedup-exact": 44, "dedup-fuzzy": 40}
    assert sum(generated for _, generated in asked.values()) == 48 * 16
    assert lake.scan(COMPLETIONS).collect().height == 48 * 16
