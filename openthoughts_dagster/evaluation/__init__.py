"""Benchmarks: lighteval's tasks on our engines, your own questions, and the statistics of scores."""

from openthoughts_dagster.evaluation.benchmark_items import (
    ITEM_KEY,
    VERDICTS,
    benchmark_items,
    compare_items,
    example_items,
)
from openthoughts_dagster.evaluation.errors import BenchmarkAnswersMissing, BenchmarkError
from openthoughts_dagster.evaluation.questions import benchmark_questions
from openthoughts_dagster.evaluation.references import (
    reference_means,
    reported_scores,
    score_reference,
    teacher_facts,
)
from openthoughts_dagster.evaluation.run import ITEM_SCORES, EvaluationResult, evaluate
from openthoughts_dagster.evaluation.samples import scores_version
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
    doubts_about_best,
    paired_difference,
    rank_by_domain,
    ranking,
)
from openthoughts_dagster.evaluation.students import StudentScores, score_student

__all__ = [
    "ITEM_KEY",
    "ITEM_SCORES",
    "OVERALL",
    "VERDICTS",
    "BenchmarkAnswersMissing",
    "BenchmarkError",
    "Estimate",
    "EvaluationResult",
    "NothingToRank",
    "Ranked",
    "RankingError",
    "RankingScope",
    "StudentScores",
    "benchmark_items",
    "benchmark_needs",
    "benchmark_questions",
    "best_sources",
    "clustered_mean",
    "compare_items",
    "doubts_about_best",
    "evaluate",
    "example_items",
    "paired_difference",
    "rank_by_domain",
    "ranking",
    "reference_means",
    "reported_scores",
    "require_confinement",
    "score_reference",
    "score_student",
    "scores_version",
    "teacher_facts",
]
