"""The pods that work gets: plain values in, raw pod configuration as dictionaries out.

A configuration has the sections that dagster-k8s knows (`container_config`, `pod_spec_config`,
`pod_template_spec_metadata`, `job_spec_config`, `job_metadata`), and inside them names as in a manifest.
`pod_template` makes a Pod template of one, for Jobs that are not made by Dagster.
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
_LOST_NODE_SECONDS = 30  # Kubernetes' own is 300: a vanished node holds its pods for five minutes
_SHARED_MEMORY_MOST = 16 * 2**30
# What entries of a list are known by: of two with one name the later wins, as in a strategic merge.
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
    """One pod that runs a model on `hardware` as a `kind` of work, with what the platform team set merged over it.

    `group` is the Job's name, for clusters with a gang scheduler. Raises KeyError for an accelerator that the cluster
    does not have, which `fitting` finds at load.
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
            "resources": _resources(amounts),
            "volumeMounts": mounts,
        },
        "pod_spec_config": {"volumes": volumes, **placement},
    }
    return _pod(cluster, kind, shape, hardware.disk, group)


def cpu_pod(cluster: Cluster, kind: Kind = "cpu", image: Image = "code", group: str | None = None) -> PodConfig:
    """One small pod without a model of its own: cheap work, a model behind a server, or what launches other Jobs."""
    work = cluster.settings(kind)
    amounts = {"cpu": f"{work.cpus:g}", "memory": work.memory, "ephemeral-storage": work.disk}
    shape: PodConfig = {
        "container_config": {
            "image": getattr(cluster.images, image),
            "env": [{"name": "HF_HOME", "value": f"{SCRATCH}/huggingface"}],
            "resources": _resources(amounts),
        },
    }
    return _pod(cluster, kind, shape, work.disk, group)


def pod_template(
    config: Mapping[str, Mapping[str, Any]], container: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A Pod template of a configuration: `container` (name, command, env, ports, ...) is merged over its container."""
    spec = dict(config.get("pod_spec_config", {}))
    spec.setdefault("restartPolicy", "Never")
    spec["containers"] = [merged(config.get("container_config", {}), container), *spec.pop("containers", [])]
    return {"metadata": merged(config.get("pod_template_spec_metadata", {}), metadata or {}), "spec": spec}


def merged(onto: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` merged over `onto`: mappings by key, lists of named things by name, other lists joined.

    dagster-k8s appends lists, which gives a pod two volumes or two variables of one name.
    """
    result = dict(onto)
    for key, value in over.items():
        held = result.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            result[key] = merged(held, value)
        elif isinstance(held, Sequence) and not isinstance(held, str) and isinstance(value, Sequence):
            result[key] = _joined(key, held, value)
        else:
            result[key] = value
    return result


def amount(quantity: str) -> int:
    """Bytes of an amount as Kubernetes writes it: 4Gi, 500M."""
    match = re.fullmatch(r"([0-9.]+)([kKMGTP]?i?)", quantity)
    assert match is not None, quantity
    return int(float(match[1]) * _UNITS[match[2]])


def _pod(cluster: Cluster, kind: Kind, shape: PodConfig, disk: str, group: str | None) -> PodConfig:
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
            "backoffLimit": 0,  # a step is tried again by Dagster: a Pod that Kubernetes replaced would do nothing
            "activeDeadlineSeconds": round(work.deadline_hours * 3600),
        },
    }
    if work.priority_class is not None:
        base["pod_spec_config"]["priorityClassName"] = work.priority_class
    return merged(merged(base, shape), work.pod)


def _resources(amounts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _joined(key: str, held: Sequence[Any], value: Sequence[Any]) -> list[Any]:
    if key in _REPLACED:
        return list(value)
    by = _NAMED_BY.get(key)
    if by is None:
        return [*held, *(entry for entry in value if entry not in held)]
    names = {entry.get(by) for entry in value}
    return [*(entry for entry in held if entry.get(by) not in names), *value]
