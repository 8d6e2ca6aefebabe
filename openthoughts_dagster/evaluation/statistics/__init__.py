"""Statistics of benchmark scores: estimates with errors, comparisons of students, and rankings."""

from openthoughts_dagster.evaluation.statistics.best import RankingError, best_sources, doubts_about_best
from openthoughts_dagster.evaluation.statistics.comparisons import (
    PairedComparison,
    holm_adjusted,
    paired_bootstrap,
    paired_difference,
)
from openthoughts_dagster.evaluation.statistics.estimates import (
    Estimate,
    clustered_mean,
    errors_over,
    mean_over_benchmarks,
    mean_over_items_and_seeds,
    pass_at_k,
)
from openthoughts_dagster.evaluation.statistics.power import smallest_detectable_difference
from openthoughts_dagster.evaluation.statistics.ranking import ranking
from openthoughts_dagster.evaluation.statistics.scope import (
    OVERALL,
    NothingToRank,
    Ranked,
    RankingScope,
    rank_by_domain,
)

__all__ = [
    "OVERALL",
    "Estimate",
    "NothingToRank",
    "PairedComparison",
    "Ranked",
    "RankingError",
    "RankingScope",
    "best_sources",
    "clustered_mean",
    "doubts_about_best",
    "errors_over",
    "holm_adjusted",
    "mean_over_benchmarks",
    "mean_over_items_and_seeds",
    "paired_bootstrap",
    "paired_difference",
    "pass_at_k",
    "rank_by_domain",
    "ranking",
    "smallest_detectable_difference",
]
