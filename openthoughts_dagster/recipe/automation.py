"""What is done without anybody asking, beyond following changed data."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"a schedule has the five fields of cron, as '0 2 * * *' for every night at 2, got {text!r}")
    for field, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            match = _PART.fullmatch(part)
            numbers = [int(number) for number in (match.groups()[:2] if match else ()) if number is not None]
            if match is None or numbers != sorted(numbers) or any(not low <= number <= high for number in numbers):
                raise ValueError(f"the {name} of a schedule is *, or numbers from {low} to {high}, got {part!r}")
    return " ".join(fields)


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"is no time zone such as UTC or Europe/Berlin, got {name!r}") from error
    return name


Cron = Annotated[str, AfterValidator(_cron)]


class Automation(RecipeModel):
    """What the daemon does by itself. Questions and answers follow changed data; a new teacher waits for a backfill."""

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
    fresh_days: Positive | None = Field(
        None,
        description="Days after which the UI calls sources, rankings and costs stale when nothing was made of them; "
        "absent: never, since unchanged data is not stale.",
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field("UTC", description="Time zone of the schedules.")
