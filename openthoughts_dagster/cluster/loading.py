"""Loading cluster.yaml, the description of a cluster. An error lists every mistake in the file at once."""

import os
from pathlib import Path

from pydantic import ValidationError

from openthoughts_dagster.cluster.settings import Cluster
from openthoughts_dagster.recipe.documents import read_yaml, shorten_path
from openthoughts_dagster.recipe.problems import describe_problems


class ClusterError(ValueError):
    """A cluster's description, or a recipe on the cluster, cannot be used. The message lists every problem."""


def load_cluster(path: Path) -> Cluster:
    """Read and check a cluster's description.

    Args:
        path: The file, usually /etc/openthoughts/cluster.yaml.

    Returns:
        The cluster.

    Raises:
        ClusterError: There is no such file, or its settings are wrong. The message lists every problem.
    """
    if not path.is_file():
        raise ClusterError(
            f"{shorten_path(path)}: there is no such file: OPENTHOUGHTS_CLUSTER names the cluster's description, which "
            "the chart mounts at /etc/openthoughts/cluster.yaml; docs/kubernetes.md has an example"
        )
    document = read_yaml(path, ClusterError)
    if not isinstance(document, dict):
        found = "an empty file" if document is None else f"a {type(document).__name__}"
        raise ClusterError(
            f"{shorten_path(path)}: a cluster's description is a mapping of names to settings, got {found}"
        )
    try:
        return Cluster.model_validate(document)
    except ValidationError as error:
        lines = [f"{shorten_path(path)}: {problem}" for _, problem in describe_problems(error, document, Cluster)]
        raise ClusterError("\n".join(lines)) from error


def cluster_of_steps() -> Cluster | None:
    """Return the cluster on which steps run, by this process's environment; None when they run in a process.

    Raises:
        ClusterError: The description of the cluster cannot be used.
    """
    path = os.environ.get("OPENTHOUGHTS_CLUSTER")
    return load_cluster(Path(path)) if path and os.environ.get("OPENTHOUGHTS_EXECUTOR") == "kubernetes" else None
