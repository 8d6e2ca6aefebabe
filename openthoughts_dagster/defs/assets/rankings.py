"""The decisions: which source and which teacher make the better student."""

from typing import Literal

import dagster as dg

from openthoughts_dagster.defs.metadata import bars, table
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.work import resumable
from openthoughts_dagster.evaluation import ranking
from openthoughts_dagster.lake import BENCHMARK_SCORES, SOURCE_RANKING, TEACHER_RANKING, frame_hash

_TABLES = {"source": SOURCE_RANKING, "teacher": TEACHER_RANKING}


def ranking_asset(by: Literal["source", "teacher"]) -> dg.AssetsDefinition:
    """The asset that ranks the sources or the teachers by the scores of their students."""

    @dg.asset(
        name=f"{by}_ranking",
        deps=["benchmark_scores"],
        group_name="rankings",
        kinds={"deltalake", "polars"},
        owners=["team:data"],
        description=f"Which {by} makes the better student: mean benchmark scores with standard errors over items, "
        "and for each neighbour in the ranking whether the paired difference exceeds two standard errors.",
    )
    @resumable
    def ranked(lake: LakeResource) -> dg.MaterializeResult:
        tables = lake.open()
        rows = ranking(tables.scan(BENCHMARK_SCORES).collect(), by)
        tables.replace(_TABLES[by], rows)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(rows)),
            metadata={
                "ranking": table(rows),
                "plot": bars(
                    rows[by].to_list(),
                    rows["score"].fill_null(0).to_list(),
                    rows["standard_error"].fill_null(0).to_list(),
                    title=f"Students by {by} (2 standard errors)",
                ),
                "dagster/row_count": rows.height,
            },
        )

    return ranked
