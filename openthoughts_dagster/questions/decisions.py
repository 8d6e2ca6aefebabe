"""Decisions to drop a question: the reason, the step of curation, and the evidence."""

from collections.abc import Mapping
from dataclasses import dataclass

_EVIDENCE = 200

STEPS: Mapping[str, tuple[str, ...]] = {
    "selection": ("out_of_range", "below_cut", "no_score"),
    "decontamination": ("benchmark_ngram", "benchmark_similarity"),
    "dedup": ("duplicate_exact", "duplicate_fuzzy", "accepted_exact", "accepted_fuzzy"),
    "downsampling": ("not_sampled",),
}
"""The steps of curation in their order, each with the reasons that it gives."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a question is dropped: a reason, which is a slug to count by, and the evidence for a person."""

    reason: str
    evidence: Mapping[str, object]


def shorten_evidence(text: str, characters: int = _EVIDENCE) -> str:
    """Cut a text to the length that evidence has."""
    return text if len(text) <= characters else text[:characters] + "…"
