"""Where this deployment keeps things, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openthoughts_dagster.cluster import Cluster, load_cluster
from openthoughts_dagster.lake.credentials import has_credentials
from openthoughts_dagster.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class Settings:
    """The recipe by name or path, the addresses of the lake and of files, and a folder of this machine for scratch.

    `files` is where models, students, reports and step outputs are: a folder, `data` itself unless it is given, or an
    object store address such as s3://bucket/files, which every machine sees.
    `datasets` is a folder of copies of the hub's datasets, each at its id, asked before the hub; empty for none.
    `landing` is the folder or object store prefix where new sources land, None where there is none; `tick_seconds`
    how often sensors look. `executor` is kubernetes where steps run in pods of their own, on the cluster that the file
    `cluster` describes, and empty where they run in the run's process. `grace_seconds` is what a process has between
    being told to end and being killed. `ray` is the address of a Ray cluster that looks for duplicates and leaks.
    `repository` is the address of this code's root in a browser, to which the pages of assets link; empty for links
    that open the file on this machine.
    """

    recipe: str
    data: Path
    lake: str
    datasets: str = ""
    landing: str | None = None
    tick_seconds: int = 30
    files: str = ""
    executor: str = ""
    grace_seconds: int = 0
    cluster: Path | None = None
    ray: str = ""
    repository: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", self.files or str(self.data))

    @property
    def cache(self) -> Path:
        """Copies of what was fetched from `files`: may be deleted while nothing runs."""
        return self.data / "cache"

    @property
    def drain_seconds(self) -> float:
        """How long completions under way may go on when the process is told to end; the rest is for their commit."""
        return max(0.0, self.grace_seconds - max(10.0, 0.25 * self.grace_seconds))

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Settings":
        """OPENTHOUGHTS_RECIPE (quickstart), OPENTHOUGHTS_DATA (./data), OPENTHOUGHTS_LAKE ($OPENTHOUGHTS_DATA/lake),
        OPENTHOUGHTS_FILES ($OPENTHOUGHTS_DATA), OPENTHOUGHTS_DATASETS (none), OPENTHOUGHTS_LANDING (none),
        OPENTHOUGHTS_TICK_SECONDS (30), OPENTHOUGHTS_EXECUTOR (in process), OPENTHOUGHTS_CLUSTER (none),
        OPENTHOUGHTS_GRACE_SECONDS (0), OPENTHOUGHTS_RAY (none), OPENTHOUGHTS_REPOSITORY (none).

        Raises:
            ValueError: An address with credentials in it, seconds that are no number, an unknown executor, or one that
                lacks its cluster; it names the variable.
        """
        for name in ("OPENTHOUGHTS_LAKE", "OPENTHOUGHTS_FILES", "OPENTHOUGHTS_LANDING"):
            if has_credentials(variables.get(name) or ""):
                raise ValueError(
                    f"{name} has credentials in its address, which the UI shows: give them as AWS_* variables, from a "
                    "secret, or by workload identity"
                )
        executor, cluster = variables.get("OPENTHOUGHTS_EXECUTOR") or "", variables.get("OPENTHOUGHTS_CLUSTER")
        if executor not in ("", "kubernetes"):
            raise ValueError(f"OPENTHOUGHTS_EXECUTOR: must be kubernetes, or unset to run in process, got {executor!r}")
        if executor and not cluster:
            raise ValueError(
                "OPENTHOUGHTS_CLUSTER: is not set: with OPENTHOUGHTS_EXECUTOR=kubernetes it names the cluster's "
                "description, /etc/openthoughts/cluster.yaml where the chart mounts it"
            )
        data = Path(variables.get("OPENTHOUGHTS_DATA") or "data").expanduser().resolve()
        datasets, landing = variables.get("OPENTHOUGHTS_DATASETS"), variables.get("OPENTHOUGHTS_LANDING")
        return cls(
            recipe=variables.get("OPENTHOUGHTS_RECIPE") or "quickstart",
            data=data,
            lake=_absolute(variables.get("OPENTHOUGHTS_LAKE") or str(data / "lake")),
            datasets=_absolute(datasets) if datasets else "",
            landing=_absolute(landing) if landing else None,
            tick_seconds=_seconds(variables, "OPENTHOUGHTS_TICK_SECONDS", 30, least=1),
            files=_absolute(variables.get("OPENTHOUGHTS_FILES") or str(data)),
            executor=executor,
            grace_seconds=_seconds(variables, "OPENTHOUGHTS_GRACE_SECONDS", 0, least=0),
            cluster=Path(cluster) if executor and cluster else None,
            ray=variables.get("OPENTHOUGHTS_RAY") or "",
            repository=variables.get("OPENTHOUGHTS_REPOSITORY") or "",
        )

    def load_cluster(self) -> Cluster | None:
        """The cluster that steps run on, None where they run in process. Raises ClusterError."""
        return None if self.cluster is None else load_cluster(self.cluster)

    def load_recipe(self) -> Recipe:
        """The recipe, which may name the cluster's shapes. Raises RecipeError and ClusterError."""
        cluster = self.load_cluster()
        recipe = load_recipe(self.recipe, self.variables(), cluster.shapes if cluster else None)
        return recipe.with_copies(Path(self.datasets) if self.datasets else None)

    def variables(self) -> dict[str, str]:
        """What a recipe may refer to as ${OPENTHOUGHTS_...}: the environment's, with the defaults filled in."""
        places = {"OPENTHOUGHTS_DATA": str(self.data), "OPENTHOUGHTS_FILES": self.files, "OPENTHOUGHTS_LAKE": self.lake}
        return dict(os.environ) | places


def dagster_home(settings: Settings, variables: Mapping[str, str] = os.environ) -> Path:
    """The folder of Dagster's instance: DAGSTER_HOME, or the folder `dagster` of the data, where `make` puts it."""
    return Path(variables.get("DAGSTER_HOME") or settings.data / "dagster").expanduser()


def _seconds(variables: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = (variables.get(name) or "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"{name}: must be a whole number of seconds, at least {least}, such as 30, got {text!r}")
    return int(text)


def _absolute(address: str) -> str:
    return address.rstrip("/") if "://" in address else str(Path(address).expanduser().resolve())
