"""Sampling for transformers with a seed for each row, so that a sample does not depend on its batch."""

from collections.abc import Sequence
from typing import Any

from openthoughts_dagster.recipe import Sampling


def sampling_processors(sampling: Sampling, seeds: Sequence[int]) -> Any:
    """A LogitsProcessorList after which the likeliest token is a sample, row i drawn with `seeds[i]`.

    Uses the Gumbel-max trick: the argmax of log-probabilities plus Gumbel noise is a sample of the distribution
    (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030). Temperature 0 is greedy: an empty list.
    """
    import torch
    from transformers import (
        LogitsProcessor,
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    class SeededGumbel(LogitsProcessor):
        def __init__(self) -> None:
            self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
            uniform = torch.stack([torch.rand(scores.shape[-1], generator=g) for g in self._generators])
            tiny = torch.finfo(uniform.dtype).tiny
            noise = -torch.log(-torch.log(uniform.clamp(min=tiny, max=1 - 1e-7)))
            return torch.log_softmax(scores.float(), dim=-1) + noise.to(scores.device)

    if sampling.temperature == 0:
        return LogitsProcessorList()
    processors: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return LogitsProcessorList([*processors, SeededGumbel()])
