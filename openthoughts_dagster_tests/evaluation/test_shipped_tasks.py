import json
import pickle
import subprocess
import sys
from base64 import b64encode
from zlib import compress

import pytest

from openthoughts_dagster.evaluation import BenchmarkError
from openthoughts_dagster.evaluation.metrics import item_metrics, main_metric
from openthoughts_dagster.evaluation.program_tests import private_tests
from openthoughts_dagster.evaluation.shipped_tasks import catalog, shipped_configs


def test_the_catalog_imports_nothing() -> None:
    code = (
        "import sys; from openthoughts_dagster.evaluation.shipped_tasks import catalog; "
        "assert len(catalog().names) > 800; "
        "assert not {'torch', 'lighteval', 'datasets', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_family_gives_all_of_its_tasks() -> None:
    names = [config.name for config in shipped_configs("mmlu|5")]
    assert len(names) == 57
    assert all(name.startswith("mmlu:") for name in names)
    assert shipped_configs("mmlu:anatomy|5")[0].num_fewshots == 5


@pytest.mark.parametrize("task", ["lcb:codegeneration_v5", "olympiad_bench:OE_TO_maths_en_COMP", "gpqa:diamond"])
def test_tasks_are_found_whose_names_are_built_in_a_loop(task: str) -> None:
    assert [config.name for config in shipped_configs(task)] == [task]


def test_tasks_that_download_at_import_are_not_touched() -> None:
    shipped_configs("gsm8k")
    assert catalog().modules("tiny:gsm8k") == ["lighteval.tasks.tasks.tiny_benchmarks"]
    assert "lighteval.tasks.tasks.tiny_benchmarks" not in sys.modules


@pytest.mark.parametrize(("task", "close"), [("aime2024", "aime24"), ("math500", "math_500"), ("gpqa:daimond", "gpqa")])
def test_a_wrong_name_gets_the_close_ones(task: str, close: str) -> None:
    with pytest.raises(BenchmarkError, match=f"no task '{task}'; did you mean .*{close}"):
        shipped_configs(task)


@pytest.mark.parametrize("task", ["lighteval|aime24|0|0", "aime24|", "aime24|few", "|0", "aime24@x|0"])
def test_what_is_no_task_string_says_what_one_is(task: str) -> None:
    with pytest.raises(BenchmarkError, match="task"):
        shipped_configs(task)


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("aime24", "pass@k:k=1"),
        ("math_500", "pass@k:k=1&n=8"),
        ("gpqa:diamond", "gpqa_pass@k:k=1"),
        ("gsm8k", "extractive_match"),
        ("lcb:codegeneration_v5", "codegen_pass@1:16"),
    ],
)
def test_the_score_is_a_mean_over_the_repeats(task: str, metric: str) -> None:
    (config,) = shipped_configs(task)
    assert main_metric(item_metrics(config.metrics, 8)) == (metric, 8)


def test_a_metric_that_needs_more_samples_keeps_them() -> None:
    (config,) = shipped_configs("aime24_gpassk")
    _, samples = main_metric(item_metrics(config.metrics, 2))
    assert samples == 48


def test_a_metric_of_several_numbers_is_averaged_number_by_number() -> None:
    from lighteval.metrics.metrics_sample import SampleLevelComputation
    from lighteval.metrics.utils.metric_utils import SampleLevelMetricGrouping
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.requests import Doc, SamplingMethod

    class Lengths(SampleLevelComputation):  # type: ignore[misc, unused-ignore]
        def compute(self, doc: object, model_response: ModelResponse, **_: object) -> dict[str, float | list[bool]]:
            (text,) = model_response.final_text
            return {"long": len(text) > 1, "each": [letter == "a" for letter in text]}

    grouping = SampleLevelMetricGrouping(
        metric_name=["long", "each"],
        higher_is_better={"long": True, "each": True},
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=Lengths(),
        corpus_level_fn={"long": max, "each": max},
    )
    (metric,) = item_metrics([grouping], 2)
    assert main_metric([metric]) == ("long", 2)
    doc, response = Doc(query="q", choices=[""], gold_index=0), ModelResponse(text=["ab", "a"])
    assert metric.compute_sample(doc=doc, model_response=response) == {"long": 0.5, "each": [True, False, True]}


def test_a_judge_that_lighteval_would_call_is_left_out() -> None:
    from lighteval.metrics.metrics import Metrics
    from lighteval.metrics.metrics_sample import JudgeLLM

    judges = [metric.value for metric in Metrics if isinstance(metric.value.sample_level_fn, JudgeLLM)]
    assert judges
    assert item_metrics(judges, 1) == []


def test_repeats_of_one_recipe_do_not_change_lightevals_task() -> None:
    item_metrics(shipped_configs("aime24")[0].metrics, 8)
    names = [metric.metric_name for metric in shipped_configs("aime24")[0].metrics]
    assert names == ["pass@k:k=1", "avg@n:n=1"]


def test_a_pickle_in_a_data_set_runs_nothing() -> None:
    """LiveCodeBench's hidden tests are a pickled text; lighteval unpickles whatever is there."""
    text = b64encode(compress(pickle.dumps(json.dumps([{"input": "1", "output": "2"}])))).decode()
    assert private_tests(text) == [{"input": "1", "output": "2"}]
    with pytest.raises(pickle.UnpicklingError, match=r"name builtins\.print"):
        private_tests(b64encode(compress(pickle.dumps(print))).decode())
