"""Problems, a tokenizer and very small models, so that the quickstart trains and asks real models on any machine."""

from openthoughts_dagster.quickstart.lessons import JUDGE_PROMPT
from openthoughts_dagster.quickstart.problems import FAMILIES, SHOP_SUMS, Problem, held_out, procedural, shop_sums
from openthoughts_dagster.quickstart.tiny_models import COURSES, TinyModel, build_tiny_models
from openthoughts_dagster.quickstart.training_loop import Course

__all__ = [
    "COURSES",
    "FAMILIES",
    "JUDGE_PROMPT",
    "SHOP_SUMS",
    "Course",
    "Problem",
    "TinyModel",
    "build_tiny_models",
    "held_out",
    "procedural",
    "shop_sums",
]
