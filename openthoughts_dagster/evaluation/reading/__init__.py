"""What a model's text gives as its answer, and whether that is the reference."""

from openthoughts_dagster.evaluation.reading.matching import MATCHES, Verdict, judge_all

__all__ = ["MATCHES", "Verdict", "judge_all"]
