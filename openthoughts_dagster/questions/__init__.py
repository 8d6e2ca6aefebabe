"""Scoring and curation: from the questions of a source to the questions that teachers answer."""

from openthoughts_dagster.questions.curate import curate, source_sample
from openthoughts_dagster.questions.curated import Curated, NothingLeftError, duplicates_of, leaks_of
from openthoughts_dagster.questions.decontaminate import find_leaks, with_splits
from openthoughts_dagster.questions.dedup import deduplicate_sources
from openthoughts_dagster.questions.matching import Texts
from openthoughts_dagster.questions.question_sets import QuestionSetError, compared_questions
from openthoughts_dagster.questions.review import sample_leaks, show_side_by_side
from openthoughts_dagster.questions.scoring import Scored, score_questions

__all__ = [
    "Curated",
    "NothingLeftError",
    "QuestionSetError",
    "Scored",
    "Texts",
    "compared_questions",
    "curate",
    "deduplicate_sources",
    "duplicates_of",
    "find_leaks",
    "leaks_of",
    "sample_leaks",
    "score_questions",
    "show_side_by_side",
    "source_sample",
    "with_splits",
]
