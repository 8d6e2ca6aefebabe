"""Training students on several nodes: the step is a small pod that starts, follows and ends the training's pods."""

from collections.abc import Callable
from functools import partial

from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.cluster.indexed_job import MASTER_PORT, OwnerPod
from openthoughts_dagster.cluster.job_follower import JobFailed
from openthoughts_dagster.cluster.nodes import NodesOfCluster
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.errors import find_out_of_memory
from openthoughts_dagster.training.sft import Launch


def nodes_launch(student: Student, log: Callable[[str], None], port: int = MASTER_PORT) -> Launch | None:
    """Return the function that trains a student on the nodes that its hardware names.

    Args:
        student: The student.
        log: Gets lines of progress.
        port: The port at which the other pods reach the first one.

    Returns:
        The function, or None when the student trains on one node, which is the step's own.

    Raises:
        TrainingError: The student needs several nodes, and steps do not run on a cluster.
    """
    nodes = student.hardware.nodes
    if nodes == 1:
        return None
    cluster = Settings.from_environment().load_cluster()
    if cluster is None:
        raise TrainingError(
            f"student: hardware.nodes is {nodes}, and steps run in this process: on several nodes a student trains on "
            "Kubernetes only (OPENTHOUGHTS_EXECUTOR=kubernetes, see docs/kubernetes.md). Set hardware.nodes to 1 here: "
            "it trains the same student, and takes longer"
        )
    api = Api.of_this_pod(60 * cluster.api_patience_minutes)
    cluster_nodes = NodesOfCluster(api, cluster, student.hardware, OwnerPod.of(api.this_pod()), log, port)
    return partial(_launch, cluster_nodes)


def _launch(nodes: NodesOfCluster, address: str, fingerprint: str, progress: Callable[[], str]) -> None:
    try:
        nodes.train(address, fingerprint, progress)
    except JobFailed as failed:
        if (out_of_memory := find_out_of_memory(failed.lines)) is not None:
            raise out_of_memory from failed
        raise
