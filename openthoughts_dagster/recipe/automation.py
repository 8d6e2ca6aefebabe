"""The schedules on which work starts without a person asking for it."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel

_EXAMPLE = "write five fields, as '0 2 * * *' for every night at 2"
_FIELDS = 5


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != _FIELDS:
        raise ValueError(f"is no cron schedule, got {text!r}: {_EXAMPLE}")
    try:
        CronSim(text, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"is no cron schedule, got {text!r}: {str(error).lower()}; {_EXAMPLE}") from error
    return " ".join(fields)


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"is no time zone such as UTC or Europe/Berlin, got {name!r}") from error
    return name


Cron = Annotated[str, AfterValidator(_cron)]


class Automation(RecipeModel):
    """What the daemon does by itself. Questions and answers follow changed data; a new teacher needs a backfill."""

    students: Cron | None = Field(
        None,
        description="Cron schedule, as '0 2 * * *', on which students whose answers changed are trained and then "
        "scored; absent: only when a person asks.",
    )
    reconcile: Cron | None = Field(
        "30 3 * * *",
        description="Cron schedule on which every partition's recorded inputs are compared with the current ones, to "
        "find what automation missed; null is off.",
    )
    maintenance: Cron | None = Field(
        "0 5 * * 0",
        description="Cron schedule on which the lake's small files are merged and files that no reader needs any more "
        "are deleted; null is off.",
    )
    fresh_days: Positive | None = Field(
        None,
        description="Days after which the UI calls sources, rankings and costs stale when nothing was made of them; "
        "absent: never, since unchanged data is not stale.",
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field("UTC", description="Time zone of the schedules.")
