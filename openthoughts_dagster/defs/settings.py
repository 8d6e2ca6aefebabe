"""Where this deployment keeps things, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The recipe by name or path, the lake's address, and a folder for models, students and benchmark reports.

    `datasets` is a folder of copies of the hub's datasets, each at its id, asked before the hub; empty for none.
    """

    recipe: str
    data: Path
    lake: str
    datasets: str = ""

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Settings":
        """OPENTHOUGHTS_RECIPE (quickstart), OPENTHOUGHTS_DATA (./data), OPENTHOUGHTS_LAKE ($OPENTHOUGHTS_DATA/lake),
        OPENTHOUGHTS_DATASETS (none)."""
        data = Path(variables.get("OPENTHOUGHTS_DATA") or "data").expanduser().resolve()
        datasets = variables.get("OPENTHOUGHTS_DATASETS")
        lake = variables.get("OPENTHOUGHTS_LAKE") or str(data / "lake")
        return cls(
            recipe=variables.get("OPENTHOUGHTS_RECIPE") or "quickstart",
            data=data,
            lake=lake if "://" in lake else str(Path(lake).expanduser().resolve()),
            datasets=str(Path(datasets).expanduser().resolve()) if datasets else "",
        )

    def variables(self) -> dict[str, str]:
        """What a recipe may refer to as ${OPENTHOUGHTS_...}: the environment's, with the defaults filled in."""
        return dict(os.environ) | {"OPENTHOUGHTS_DATA": str(self.data), "OPENTHOUGHTS_LAKE": self.lake}
