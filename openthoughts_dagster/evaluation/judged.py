"""Our own lighteval metrics, which judge the answers of a whole task together.

Answers that are judged together share processes: those of programs, and those of math-verify.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from openthoughts_dagster.evaluation.reading import Verdict, judge_all

Judge = Callable[[Sequence[tuple[Any, str]]], list[Verdict]]
"""Verdicts of (document, text of the answer) pairs."""


def make_match_metric(match: str, repeats: int) -> Any:
    """Return the metric that compares answers with references in one of the ways of `reading.MATCHES`."""

    def judge(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
        return judge_all(match, [(str(doc.get_golds()[0]), text) for doc, text in asked])

    return judged_metric(f"{match}_match", repeats, judge)


def judged_metric(name: str, repeats: int, judge: Judge) -> Any:
    """Return the lighteval metric of a judge: the share of right answers among an item's first `repeats` samples.

    `judge` is a function with a name, which lighteval records. After the run `metric.sample_level_fn.verdicts` has the
    verdicts of each item, by its document's id.
    """
    import numpy as np
    from lighteval.metrics.utils.metric_utils import SampleLevelMetric
    from lighteval.tasks.requests import SamplingMethod

    return SampleLevelMetric(
        metric_name=name if repeats == 1 else f"{name}:n={repeats}",
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=judging_class()(repeats, judge),
        corpus_level_fn=np.mean,
        batched_compute=True,
    )


@cache
def judging_class() -> type[Any]:
    """Return the class of the `sample_level_fn` of judged metrics."""
    from lighteval.metrics.metrics_sample import SampleLevelComputation, SamplingMetric

    class JudgedTogether(SamplingMetric, SampleLevelComputation):
        """Shares of right answers, judged for all documents at once."""

        def __init__(self, n: int, judge: Judge) -> None:
            super().__init__()
            self.n, self.judge = n, judge
            self.verdicts: dict[str, list[Verdict]] = {}

        def lost(self, item: str) -> list[str]:
            """Return why verdicts of an item are not known."""
            return [verdict.lost for verdict in self.verdicts[item] if verdict.lost is not None]

        def num_samples(self) -> int:
            return self.n

        def compute(self, docs: list[Any], responses: list[Any], **_: Any) -> list[float]:
            texts = [response.final_text[: self.n] for response in responses]
            asked = [(doc, text) for doc, own in zip(docs, texts, strict=True) for text in own]
            verdicts = iter(self.judge(asked))
            self.verdicts = {doc.id: [next(verdicts) for _ in own] for doc, own in zip(docs, texts, strict=True)}
            return [sum(verdict.score for verdict in self.verdicts[doc.id]) / self.n for doc in docs]

    return JudgedTogether
