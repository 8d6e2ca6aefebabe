"""The settings of a deployment, which come from environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openthoughts_dagster.cluster import Cluster, load_cluster
from openthoughts_dagster.generation.model import read_config
from openthoughts_dagster.lake.credentials import has_credentials
from openthoughts_dagster.recipe import Recipe, RecipeError, load_recipe
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.memory import check_heads


@dataclass(frozen=True)
class Settings:
    """The settings of a deployment.

    Attributes:
        recipe: The name of a recipe that comes with the package, or the path of a recipe's file.
        data: The folder of this machine for scratch data and caches.
        lake: The address of the tables: a folder, or an object store address such as s3://bucket/lake.
        datasets: A folder with copies of the hub's datasets, each at its id, which are used before the hub. Empty for
            none.
        landing: The folder or object store prefix where new sources land. None when there is none.
        tick_seconds: How often sensors look, in seconds.
        files: The address of models, students, reports and step outputs. By default it is `data`.
        executor: "kubernetes" when each step runs in a pod of its own; empty when steps run in the process of the run.
        grace_seconds: The seconds between the signal to end a process and its kill.
        cluster: The file that describes the cluster of the Kubernetes executor. None elsewhere.
        ray: The address of a Ray cluster that finds duplicates and leaks. Empty for none.
        repository: The address of this code's root in a browser, to which the pages of assets link. When it is empty,
            links open the file on this machine.
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
        """The folder with copies of what was fetched from `files`. It may be deleted while nothing runs."""
        return self.data / "cache"

    @property
    def drain_seconds(self) -> float:
        """How long running completions may continue when the process is told to end. The rest is for their commit."""
        return max(0.0, self.grace_seconds - max(10.0, 0.25 * self.grace_seconds))

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from environment variables.

        The variables and their defaults are OPENTHOUGHTS_RECIPE (quickstart), OPENTHOUGHTS_DATA (./data),
        OPENTHOUGHTS_LAKE ($OPENTHOUGHTS_DATA/lake), OPENTHOUGHTS_FILES ($OPENTHOUGHTS_DATA), OPENTHOUGHTS_DATASETS
        (none), OPENTHOUGHTS_LANDING (none), OPENTHOUGHTS_TICK_SECONDS (30), OPENTHOUGHTS_EXECUTOR (in process),
        OPENTHOUGHTS_CLUSTER (none), OPENTHOUGHTS_GRACE_SECONDS (0), OPENTHOUGHTS_RAY (none) and
        OPENTHOUGHTS_REPOSITORY (none).

        Args:
            variables: The variables by name. By default they are those of this process.

        Returns:
            The settings, with absolute paths.

        Raises:
            ValueError: An address has credentials in it, a number of seconds is no number, the executor is unknown, or
                its cluster is missing. The message names the variable.
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
            lake=_make_absolute(variables.get("OPENTHOUGHTS_LAKE") or str(data / "lake")),
            datasets=_make_absolute(datasets) if datasets else "",
            landing=_make_absolute(landing) if landing else None,
            tick_seconds=_read_seconds(variables, "OPENTHOUGHTS_TICK_SECONDS", 30, least=1),
            files=_make_absolute(variables.get("OPENTHOUGHTS_FILES") or str(data)),
            executor=executor,
            grace_seconds=_read_seconds(variables, "OPENTHOUGHTS_GRACE_SECONDS", 0, least=0),
            cluster=Path(cluster) if executor and cluster else None,
            ray=variables.get("OPENTHOUGHTS_RAY") or "",
            repository=variables.get("OPENTHOUGHTS_REPOSITORY") or "",
        )

    def load_cluster(self) -> Cluster | None:
        """Load the description of the cluster that steps run on.

        Returns:
            The cluster, or None when steps run in the process of the run.

        Raises:
            ClusterError: The file cannot be used. The message lists every problem.
        """
        return None if self.cluster is None else load_cluster(self.cluster)

    def load_recipe(self, locked: bool = True) -> Recipe:
        """Load the recipe, with the cluster's shapes of hardware.

        Args:
            locked: Whether the commits of the lock file beside the recipe are used, if there is one.

        Returns:
            The recipe.

        Raises:
            RecipeError: The recipe or its lock file cannot be used.
            ClusterError: The description of the cluster cannot be used.
        """
        cluster = self.load_cluster()
        recipe = load_recipe(self.recipe, self.variables(), cluster.shapes if cluster else None, locked)
        _check_student_can_be_scored(recipe)
        return recipe.with_copies(Path(self.datasets) if self.datasets else None)

    def variables(self) -> dict[str, str]:
        """Return the variables that a recipe may refer to, such as ${OPENTHOUGHTS_DATA}, with their defaults."""
        places = {"OPENTHOUGHTS_DATA": str(self.data), "OPENTHOUGHTS_FILES": self.files, "OPENTHOUGHTS_LAKE": self.lake}
        return dict(os.environ) | places


def dagster_home(settings: Settings, variables: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of Dagster's instance: DAGSTER_HOME, or the folder `dagster` in the data, which `make` uses."""
    return Path(variables.get("DAGSTER_HOME") or settings.data / "dagster").expanduser()


def _check_student_can_be_scored(recipe: Recipe) -> None:
    """Raise RecipeError if the base model is on this machine, and vLLM could not split its heads."""
    student = recipe.student
    if student.for_scoring().hardware.count < 2 or (config := read_config(student, recipe.folder)) is None:
        return
    try:
        check_heads(config, student)
    except TrainingError as error:
        raise RecipeError(f"{recipe.name}: {error}") from error


def _read_seconds(variables: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = (variables.get(name) or "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"{name}: must be a whole number of seconds, at least {least}, such as 30, got {text!r}")
    return int(text)


def _make_absolute(address: str) -> str:
    return address.rstrip("/") if "://" in address else str(Path(address).expanduser().resolve())
