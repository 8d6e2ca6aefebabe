"""From scored questions to the set that teachers answer."""

from openthoughts_dagster.questions.curate import Curated, curate
from openthoughts_dagster.questions.decontaminate import find_leaks
from openthoughts_dagster.questions.scoring import Scored, read_prompt, score_questions

__all__ = ["Curated", "Scored", "curate", "find_leaks", "read_prompt", "score_questions"]
