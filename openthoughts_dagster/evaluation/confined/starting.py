"""Starts the pool of programs that a recipe asks for: on this machine, or in pods of their own."""

from typing import Literal

from openthoughts_dagster.cluster import Cluster, ClusterError
from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.cluster.indexed_job import OwnerPod
from openthoughts_dagster.cluster.loading import cluster_of_steps
from openthoughts_dagster.evaluation.confined.limits import ConfinementError
from openthoughts_dagster.evaluation.confined.pod_pool import PodPool, require_settings
from openthoughts_dagster.evaluation.confined.pool import ProgramPool

Programs = ProgramPool | PodPool
"""The two pools. Both have `way` and `workers`, and are closed when they are left."""

RecipeConfinement = Literal["auto", "bubblewrap", "landlock", "pod", "none"]


def start_programs(confinement: RecipeConfinement, workers: int | None = None) -> Programs:
    """Start the pool that runs programs as a recipe's `evaluation.confinement` says.

    Args:
        confinement: "auto" takes the best way of this machine, and pods where none works and the cluster has them.
        workers: Programs at once on this machine; by default the number of its processors.

    Raises:
        ConfinementError: Programs cannot be confined so. The message has the reasons.
    """
    if confinement == "pod":
        return _start_pods()
    try:
        return ProgramPool(confinement, workers)
    except ConfinementError as error:
        if confinement != "auto" or not _has_pods():
            raise
        try:
            return _start_pods()
        except ConfinementError as in_pods:
            raise ConfinementError(f"{error}. In a pod: {in_pods}") from in_pods


def _has_pods() -> bool:
    cluster = _cluster()
    return cluster is not None and cluster.programs is not None


def _start_pods() -> PodPool:
    from kubernetes.config import ConfigException

    cluster = _cluster()
    if cluster is None:
        raise ConfinementError(
            "evaluation.confinement is pod, and steps run in this process: pods for programs are started by steps on "
            "Kubernetes only (OPENTHOUGHTS_EXECUTOR=kubernetes, see docs/kubernetes.md). Here use auto"
        )
    require_settings(cluster)
    try:
        api = Api.of_this_pod(60 * cluster.api_patience_minutes)
        return PodPool(api, cluster, OwnerPod.of(api.this_pod()))
    except (ClusterError, ConfigException) as error:
        raise ConfinementError(f"pods for programs cannot be started: {error}") from error


def _cluster() -> Cluster | None:
    try:
        return cluster_of_steps()
    except ClusterError as error:
        raise ConfinementError(f"pods for programs cannot be started: {error}") from error
