"""The decisions: which source and which teacher make the better student."""

from typing import Literal

import dagster as dg

from openthoughts_dagster.defs.metadata import bars, sample_rows, table
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.work import resumable
from openthoughts_dagster.evaluation import RankingScope, rank_by_domain
from openthoughts_dagster.lake import BENCHMARK_SCORES, SOURCE_RANKING, TEACHER_RANKING, frame_hash
from openthoughts_dagster.recipe import Recipe

_TABLES = {"source": SOURCE_RANKING, "teacher": TEACHER_RANKING}


def ranking_asset(recipe: Recipe, by: Literal["source", "teacher"]) -> dg.AssetsDefinition:
    """The asset that ranks the recipe's sources or teachers by the scores of their students."""

    @dg.asset(
        name=f"{by}_ranking",
        deps=["benchmark_scores"],
        group_name="rankings",
        kinds={"deltalake", "polars"},
        owners=["team:data"],
        description=f"Which {by} of the recipe makes the better student, overall and by domain: mean benchmark scores "
        "with standard errors over items, and for each neighbour whether the paired difference is significant after "
        "Holm's correction.",
    )
    @resumable
    def ranked(lake: LakeResource) -> dg.MaterializeResult:
        tables = lake.open()
        scores = tables.scan(BENCHMARK_SCORES).collect()
        result = rank_by_domain(scores, by, RankingScope.of_recipe(recipe, scores["source"].unique()))
        rows = result.rows.select(list(_TABLES[by].columns))
        tables.replace(_TABLES[by], rows)
        overall = result.overall.drop_nulls("score")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(rows)),
            metadata={
                "ranking": table(rows),
                "best": ", ".join(overall.filter("best")[by]),
                "left_out": sample_rows(result.left_out, count=50),
                "plot": bars(
                    overall[by].to_list(),
                    overall["score"].to_list(),
                    overall["standard_error"].fill_null(0).to_list(),
                    title=f"Students by {by} (2 standard errors)",
                ),
                "dagster/row_count": rows.height,
            },
        )

    return ranked
