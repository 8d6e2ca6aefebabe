"""Why a question goes: reasons to count by, the step each belongs to, and evidence for a person."""

from collections.abc import Mapping
from dataclasses import dataclass

_EVIDENCE = 200

STEPS: Mapping[str, tuple[str, ...]] = {
    "selection": ("below_cut", "no_score"),
    "decontamination": ("benchmark_ngram", "benchmark_similarity"),
    "dedup": ("duplicate_exact", "duplicate_fuzzy", "accepted_exact", "accepted_fuzzy"),
    "downsampling": ("not_sampled",),
}
"""The steps of curation in their order, each with the reasons that it gives."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a question goes: a slug to count by, and what a person needs to agree or not."""

    reason: str
    evidence: Mapping[str, object]


def shown(text: str, characters: int = _EVIDENCE) -> str:
    """As much of a text as evidence needs."""
    return text if len(text) <= characters else text[:characters] + "…"
