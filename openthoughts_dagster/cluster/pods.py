"""The configuration of pods for each kind of work, as dictionaries.

A configuration has the sections that dagster-k8s knows (`container_config`, `pod_spec_config`,
`pod_template_spec_metadata`, `job_spec_config`, `job_metadata`). Inside them names are written as in a manifest.
`pod_template` turns a configuration into a Pod template, for Jobs that Dagster does not make.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from openthoughts_dagster.cluster.settings import Cluster, Kind
from openthoughts_dagster.recipe import Hardware

PodConfig = dict[str, dict[str, Any]]
Image = Literal["code", "gpu"]

SCRATCH = "/scratch"
MODEL_CACHE = "/models"
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_UNITS |= {f"{unit}i": 2 ** (10 * power) for power, unit in enumerate("KMGTP", 1)}
_LOST_NODE_SECONDS = 30  # Kubernetes waits 300 by default before it deletes the pods of a vanished node
_SHARED_MEMORY_MOST = 16 * 2**30
# The field that names the entries of a list. Of two entries with one name the later wins, as in a strategic merge.
_NAMED_BY = {
    "volumeMounts": "mountPath",
    "volume_mounts": "mount_path",
    "volumes": "name",
    "env": "name",
    "containers": "name",
    "initContainers": "name",
    "init_containers": "name",
}
_REPLACED = ("command", "args")


def model_pod(
    cluster: Cluster, hardware: Hardware, kind: Kind, image: Image = "gpu", group: str | None = None
) -> PodConfig:
    """Configure a pod that runs a model.

    Args:
        cluster: The cluster. The platform team's settings for the kind of work are merged over the pod.
        hardware: The hardware of one pod.
        kind: The kind of work.
        image: Which of the two images the pod uses.
        group: The name of the Job, for clusters with a gang scheduler.

    Returns:
        The configuration of the pod.

    Raises:
        KeyError: The cluster does not have the accelerator. `check_fits` finds this when definitions load.
    """
    amounts = {"cpu": str(hardware.cpus), "memory": hardware.memory, "ephemeral-storage": hardware.disk}
    placement: dict[str, Any] = {}
    if hardware.accelerator is not None:
        accelerator = cluster.accelerators[hardware.accelerator]
        amounts[accelerator.resource] = str(hardware.count)
        placement = {"nodeSelector": accelerator.node_selector, "tolerations": accelerator.tolerations}
    # NCCL and data loaders pass tensors through /dev/shm, of which a container has 64 MB.
    shared = min(amount(hardware.memory) // 4, _SHARED_MEMORY_MOST)
    volumes = [{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared // 2**20}Mi"}}]
    mounts = [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    cache = f"{SCRATCH}/huggingface"
    if cluster.model_cache_claim is not None:
        cache = MODEL_CACHE
        volumes.append({"name": "model-cache", "persistentVolumeClaim": {"claimName": cluster.model_cache_claim}})
        mounts.append({"name": "model-cache", "mountPath": MODEL_CACHE})
    shape: PodConfig = {
        "container_config": {
            "image": getattr(cluster.images, image),
            "env": [{"name": "HF_HOME", "value": cache}],
            "resources": _requests_and_limits(amounts),
            "volumeMounts": mounts,
        },
        "pod_spec_config": {"volumes": volumes, **placement},
    }
    return _with_common_settings(cluster, kind, shape, hardware.disk, group)


def cpu_pod(cluster: Cluster, kind: Kind = "cpu", image: Image = "code", group: str | None = None) -> PodConfig:
    """Configure a small pod without a model: for cheap work, a model behind a server, or launching other Jobs."""
    work = cluster.settings(kind)
    amounts = {"cpu": f"{work.cpus:g}", "memory": work.memory, "ephemeral-storage": work.disk}
    shape: PodConfig = {
        "container_config": {
            "image": getattr(cluster.images, image),
            "env": [{"name": "HF_HOME", "value": f"{SCRATCH}/huggingface"}],
            "resources": _requests_and_limits(amounts),
        },
    }
    return _with_common_settings(cluster, kind, shape, work.disk, group)


def pod_template(
    config: Mapping[str, Mapping[str, Any]], container: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Turn a configuration into a Pod template. `container` (name, command, ...) is merged over its own."""
    spec = dict(config.get("pod_spec_config", {}))
    spec.setdefault("restartPolicy", "Never")
    spec["containers"] = [merge_settings(config.get("container_config", {}), container), *spec.pop("containers", [])]
    return {"metadata": merge_settings(config.get("pod_template_spec_metadata", {}), metadata or {}), "spec": spec}


def merge_settings(onto: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `over` over `onto`: mappings by key, lists of named entries by name. Other lists are joined.

    dagster-k8s appends lists, so that a pod would get two volumes or two variables of one name.
    """
    result = dict(onto)
    for key, value in over.items():
        held = result.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            result[key] = merge_settings(held, value)
        elif isinstance(held, Sequence) and not isinstance(held, str) and isinstance(value, Sequence):
            result[key] = _merge_lists(key, held, value)
        else:
            result[key] = value
    return result


def amount(quantity: str) -> int:
    """Convert an amount as Kubernetes writes it, such as 4Gi or 500M, to bytes."""
    match = re.fullmatch(r"([0-9.]+)([kKMGTP]?i?)", quantity)
    assert match is not None, quantity
    return int(float(match[1]) * _UNITS[match[2]])


def _with_common_settings(cluster: Cluster, kind: Kind, shape: PodConfig, disk: str, group: str | None) -> PodConfig:
    work = cluster.settings(kind)
    labels: dict[str, str] = {"openthoughts/work": kind}
    if group is not None and cluster.pod_group_label is not None:
        labels[cluster.pod_group_label] = group
    queue = {} if cluster.queue is None else {"labels": {"kueue.x-k8s.io/queue-name": cluster.queue}}
    base: PodConfig = {
        "container_config": {
            "env": [
                {"name": "HOME", "value": SCRATCH},
                {"name": "OPENTHOUGHTS_DATA", "value": SCRATCH},
                {"name": "OPENTHOUGHTS_GRACE_SECONDS", "value": str(work.grace_seconds)},
            ],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [
                {"name": "scratch", "mountPath": SCRATCH},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        },
        "pod_spec_config": {
            "terminationGracePeriodSeconds": work.grace_seconds,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{condition}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _LOST_NODE_SECONDS,
                }
                for condition in ("not-ready", "unreachable")
            ],
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": disk}},
                {"name": "tmp", "emptyDir": {"sizeLimit": disk}},
            ],
        },
        "pod_template_spec_metadata": {"labels": labels},
        "job_metadata": queue,
        "job_spec_config": {
            "backoffLimit": 0,  # Dagster retries steps: a Pod that Kubernetes replaced by itself would do nothing
            "activeDeadlineSeconds": round(work.deadline_hours * 3600),
        },
    }
    if work.priority_class is not None:
        base["pod_spec_config"]["priorityClassName"] = work.priority_class
    return merge_settings(merge_settings(base, shape), work.pod)


def _requests_and_limits(amounts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _merge_lists(key: str, held: Sequence[Any], value: Sequence[Any]) -> list[Any]:
    if key in _REPLACED:
        return list(value)
    by = _NAMED_BY.get(key)
    if by is None:
        return [*held, *(entry for entry in value if entry not in held)]
    names = {entry.get(by) for entry in value}
    return [*(entry for entry in held if entry.get(by) not in names), *value]
