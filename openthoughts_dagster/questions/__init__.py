"""From scored questions to the set that teachers answer."""

from openthoughts_dagster.questions.curate import Curated, curate, duplicates_of, leaks_of, source_sample
from openthoughts_dagster.questions.decontaminate import find_leaks, with_splits
from openthoughts_dagster.questions.dedup import deduplicate_sources
from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.questions.scoring import Scored, read_prompt, score_questions

__all__ = [
    "Curated",
    "Scored",
    "Texts",
    "curate",
    "deduplicate_sources",
    "duplicates_of",
    "find_leaks",
    "leaks_of",
    "read_prompt",
    "score_questions",
    "source_sample",
    "with_splits",
]
