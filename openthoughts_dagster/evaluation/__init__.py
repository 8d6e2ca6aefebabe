"""Benchmarks: lighteval's tasks on our engines, your own questions, and the statistics of scores."""

from openthoughts_dagster.evaluation.errors import BenchmarkAnswersMissing, BenchmarkError
from openthoughts_dagster.evaluation.questions import benchmark_questions
from openthoughts_dagster.evaluation.run import ITEM_SCORES, EvaluationResult, evaluate
from openthoughts_dagster.evaluation.start import benchmark_needs, require_confinement
from openthoughts_dagster.evaluation.statistics import (
    OVERALL,
    Estimate,
    NothingToRank,
    Ranked,
    RankingError,
    RankingScope,
    best_sources,
    clustered_mean,
    paired_difference,
    rank_by_domain,
    ranking,
)
from openthoughts_dagster.evaluation.students import StudentScores, score_student

__all__ = [
    "ITEM_SCORES",
    "OVERALL",
    "BenchmarkAnswersMissing",
    "BenchmarkError",
    "Estimate",
    "EvaluationResult",
    "NothingToRank",
    "Ranked",
    "RankingError",
    "RankingScope",
    "StudentScores",
    "benchmark_needs",
    "benchmark_questions",
    "best_sources",
    "clustered_mean",
    "evaluate",
    "paired_difference",
    "rank_by_domain",
    "ranking",
    "require_confinement",
    "score_student",
]
