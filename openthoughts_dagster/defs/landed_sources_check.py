"""The check of `raw_sources` that reports problems of landed sources."""

from collections.abc import Mapping

import dagster as dg

from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.landing import WatchedSource, WatchedSources
from openthoughts_dagster.landing.escaping import escape_markdown

_RAW, _NAME = dg.AssetKey("raw_sources"), "landed_sources_are_in_order"


@dg.asset_check(asset=_RAW, name=_NAME)
@resumable
def landing_check(lake: LakeResource) -> dg.AssetCheckResult:
    """No manifest that landed was refused, and no landed source vanished."""
    evaluation = landing_evaluation(list_landing_problems(WatchedSources(lake.open()).read()))
    return dg.AssetCheckResult(
        passed=evaluation.passed, severity=evaluation.severity, description=evaluation.description
    )


def list_landing_problems(entries: Mapping[str, WatchedSource]) -> list[str]:
    """Write one line for each source that has a problem."""
    return [f"{entry.source}: {entry.problem}" for entry in entries.values() if entry.problem]


def landing_evaluation(problems: list[str]) -> dg.AssetCheckEvaluation:
    """Make the result of the check. The landing sensor reports it as well, since a refused source starts no run."""
    return dg.AssetCheckEvaluation(
        asset_key=_RAW,
        check_name=_NAME,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=escape_markdown("\n".join(problems)) or "every source that landed was taken",
    )
