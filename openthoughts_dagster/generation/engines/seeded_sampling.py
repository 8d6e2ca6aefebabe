"""Sampling for transformers with one seed for each row, so that a sample does not depend on its batch."""

from collections.abc import Sequence
from typing import Any

from openthoughts_dagster.recipe import Sampling


def sampling_processors(sampling: Sampling, seeds: Sequence[int]) -> Any:
    """Make a LogitsProcessorList after which the most likely token of row i is a sample drawn with `seeds[i]`.

    It uses the Gumbel-max trick: the argmax of log-probabilities plus Gumbel noise is a sample of the distribution
    (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030). At temperature 0, which is greedy, the list is empty.
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
