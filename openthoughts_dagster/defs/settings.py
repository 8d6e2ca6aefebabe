"""Where this deployment keeps things, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The recipe by name or path, the lake's address, and a folder for models, students and benchmark reports.

    `datasets` is a folder of copies of the hub's datasets, each at its id, asked before the hub; empty for none.
    `landing` is the folder or object store prefix where new sources land, None where there is none; `tick_seconds`
    how often sensors look.
    """

    recipe: str
    data: Path
    lake: str
    datasets: str = ""
    landing: str | None = None
    tick_seconds: int = 30

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Settings":
        """OPENTHOUGHTS_RECIPE (quickstart), OPENTHOUGHTS_DATA (./data), OPENTHOUGHTS_LAKE ($OPENTHOUGHTS_DATA/lake),
        OPENTHOUGHTS_DATASETS (none), OPENTHOUGHTS_LANDING (none), OPENTHOUGHTS_TICK_SECONDS (30)."""
        data = Path(variables.get("OPENTHOUGHTS_DATA") or "data").expanduser().resolve()
        datasets, landing = variables.get("OPENTHOUGHTS_DATASETS"), variables.get("OPENTHOUGHTS_LANDING")
        return cls(
            recipe=variables.get("OPENTHOUGHTS_RECIPE") or "quickstart",
            data=data,
            lake=_absolute(variables.get("OPENTHOUGHTS_LAKE") or str(data / "lake")),
            datasets=_absolute(datasets) if datasets else "",
            landing=_absolute(landing) if landing else None,
            tick_seconds=int(variables.get("OPENTHOUGHTS_TICK_SECONDS") or 30),
        )

    def variables(self) -> dict[str, str]:
        """What a recipe may refer to as ${OPENTHOUGHTS_...}: the environment's, with the defaults filled in."""
        return dict(os.environ) | {"OPENTHOUGHTS_DATA": str(self.data), "OPENTHOUGHTS_LAKE": self.lake}


def _absolute(address: str) -> str:
    return address if "://" in address else str(Path(address).expanduser().resolve())
