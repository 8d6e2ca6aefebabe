"""Averages lighteval's metrics over an item's samples, and chooses the metric that is a task's score.

Most of lighteval's metrics look at one sample, or take the best of several; a score over repeats is their mean.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.evaluation.judged import judging_class


def item_metrics(metrics: Sequence[Any], repeats: int) -> list[Any]:
    """Return those of a task's metrics that score each item from generated text, over `repeats` samples.

    avg@n, pass@1 and metrics of a single text take `repeats` samples. maj@n, g-pass@k and pass@k with k > 1 keep the
    samples that define them. Judges are left out: lighteval would call one over the network, paid for and unseen.
    The given metrics are changed. Raises BenchmarkError for a metric that cannot repeat.
    """
    from lighteval.metrics.metrics_sample import JudgeLLM, SampleLevelComputation
    from lighteval.tasks.requests import SamplingMethod

    return [
        _repeated(metric, repeats)
        for metric in metrics
        if metric.category == SamplingMethod.GENERATIVE
        and isinstance(metric.sample_level_fn, SampleLevelComputation)
        and not isinstance(metric.sample_level_fn, JudgeLLM)
    ]


def main_metric(metrics: Sequence[Any]) -> tuple[str, int]:
    """Return name and number of samples of the metric that is the score: a mean over samples if there is one.

    Raises:
        BenchmarkError: There is no metric of which a higher value is better.
    """
    from lighteval.metrics.metrics_sample import AvgAtN

    found: list[tuple[int, str, int]] = []
    for metric in metrics:
        function = metric.sample_level_fn
        mean = isinstance(function, (AvgAtN, _averaging_class(), judging_class())) or getattr(function, "k", None) == 1
        samples = function.num_samples() if hasattr(function, "num_samples") else 1
        for name in [metric.metric_name] if isinstance(metric.metric_name, str) else metric.metric_name:
            higher = metric.higher_is_better
            if higher[name] if isinstance(higher, Mapping) else higher:
                found.append((0 if mean else 1, name, max(samples) if isinstance(samples, list) else samples))
    if not found:
        raise BenchmarkError("has no metric that scores each generated answer and where higher is better")
    _, name, samples = min(found, key=lambda entry: entry[0])
    return name, samples


def _repeated(metric: Any, repeats: int) -> Any:
    from lighteval.metrics.metrics_sample import AvgAtN, PassAtK, SamplingMetric

    function = metric.sample_level_fn
    if isinstance(function, AvgAtN):
        function.n = repeats
    elif isinstance(function, PassAtK):
        function.n = repeats if function.k == 1 else max(function.n or function.k, repeats)
    elif not isinstance(function, SamplingMetric) and not metric.batched_compute:
        # LiveCodeBench's own mean runs the programs of all samples at once, in one pool of processes.
        together = isinstance(metric.metric_name, str) and metric.metric_name.startswith("codegen_pass@1")
        metric.sample_level_fn = _averaging_class()(
            repeats, function.compute, together=together, blank_is_wrong=isinstance(metric.metric_name, str)
        )
    elif metric.batched_compute and repeats > 1:
        raise BenchmarkError(f"its metric {metric.metric_name} reads one answer per item; set repeats: 1")
    if isinstance(metric.metric_name, str) and "n=" in metric.metric_name:
        metric.metric_name = re.sub(r"\bn=\w+", f"n={function.n}", metric.metric_name)
    return metric


def _mean(scores: Sequence[Any]) -> Any:
    """Return the mean of a metric over samples: of numbers, or of numbers by name. Lists are concatenated."""
    first = scores[0]
    if isinstance(first, Mapping):
        return {name: _mean([score[name] for score in scores]) for name in first}
    if isinstance(first, list):
        return [value for score in scores for value in score]
    return float(sum(scores)) / len(scores)


@cache
def _averaging_class() -> type[Any]:
    from lighteval.metrics.metrics_sample import SampleLevelComputation, SamplingMetric
    from lighteval.models.model_output import ModelResponse

    class MeanOverSamples(SamplingMetric, SampleLevelComputation):
        """The mean of a metric of single texts over the first n samples; an empty text is wrong."""

        def __init__(
            self, n: int, scored: Callable[..., Any], together: bool = False, blank_is_wrong: bool = True
        ) -> None:
            super().__init__()
            self.n, self.scored, self.together, self.blank_is_wrong = n, scored, together, blank_is_wrong

        def num_samples(self) -> int:
            return self.n

        def compute(self, doc: Any, model_response: Any, **_: Any) -> Any:
            if self.together:
                return self.scored(doc=doc, model_response=model_response)
            return _mean([self._score(doc, text) for text in model_response.final_text[: self.n]])

        def _score(self, doc: Any, text: str) -> Any:
            if self.blank_is_wrong and not text.strip():
                return 0.0
            return self.scored(doc=doc, model_response=ModelResponse(input=doc.query, text=[text]))

    return MeanOverSamples
