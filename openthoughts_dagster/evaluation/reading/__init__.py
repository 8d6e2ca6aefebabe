"""Reads the answer in a model's text, and compares it with the reference."""

from openthoughts_dagster.evaluation.reading.matching import MATCHES, Verdict, judge_all
from openthoughts_dagster.evaluation.reading.math_answers import MATH_WORKERS

__all__ = ["MATCHES", "MATH_WORKERS", "Verdict", "judge_all"]
