"""The objects of one pod of programs: a Job of one pod, and the ConfigMaps with its work."""

import base64
from collections.abc import Sequence
from typing import Any

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.cluster.indexed_job import OwnerPod
from openthoughts_dagster.cluster.settings import ProgramPods

WORK_LABEL = {"openthoughts/work": "programs"}
"""The label by which the chart's network policies close the network of these pods."""

PART_BYTES = 900_000
"""The size of one ConfigMap: etcd takes one MiB."""

_FOLDER = "/programs"
_KEPT_SECONDS = 3600  # Kubernetes deletes the finished Job after this time when nobody else does


def config_maps(name: str, content: bytes, owner: OwnerPod) -> list[dict[str, Any]]:
    """Make the ConfigMaps `NAME-0`, `NAME-1`, ..., which together have the content."""
    parts = [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _metadata(f"{name}-{number}", owner),
            "immutable": True,
            "binaryData": {f"part-{number:04d}": base64.b64encode(part).decode()},
        }
        for number, part in enumerate(parts)
    ]


def programs_job(
    name: str, parts: Sequence[str], cluster: Cluster, programs: ProgramPods, owner: OwnerPod
) -> dict[str, Any]:
    """Make the Job whose pod runs the programs in the ConfigMaps `parts`.

    The pod has the default service account without its token, since clouds give the step's account an identity. It has
    none of the step's variables, and nothing that can be written to.
    """
    amounts = {"cpu": str(programs.cpus), "memory": programs.memory, "ephemeral-storage": programs.disk}
    container = {
        "name": "programs",
        "image": cluster.images.code,
        "command": ["python", "-B", "-m", "openthoughts_dagster.evaluation.confined.in_pod", _FOLDER],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "programs", "mountPath": _FOLDER, "readOnly": True}],
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "activeDeadlineSeconds": 60 * programs.deadline_minutes,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "nodeSelector": programs.node_selector,
        "tolerations": programs.tolerations,
        "containers": [container],
        "volumes": [
            {"name": "programs", "projected": {"sources": [{"configMap": {"name": part}} for part in parts]}},
        ],
    }
    if programs.runtime_class is not None:
        spec["runtimeClassName"] = programs.runtime_class
    if owner.spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = owner.spec["imagePullSecrets"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, owner),
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": WORK_LABEL}, "spec": spec},
        },
    }


def _metadata(name: str, owner: OwnerPod) -> dict[str, Any]:
    labels = WORK_LABEL | {"app.kubernetes.io/part-of": "openthoughts"}
    return {"name": name, "labels": labels, "ownerReferences": owner.owner()}
