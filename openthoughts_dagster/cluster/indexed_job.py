"""Pods that do one piece of work together: an Indexed Job, and a headless Service by which they find each other.

It needs nothing installed in the cluster, and Kueue admits such a Job as a whole. Kubernetes does not retry the Job
(backoffLimit 0): when one pod is lost, the others can only wait for it. So all pods are ended, and the `JobFollower`
that started the Job makes the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openthoughts_dagster.cluster.pods import PodConfig, merge_settings, pod_template

MASTER_PORT = 29500
"""The port at which the other pods reach the first one."""

_KEPT_SECONDS = 3600  # Kubernetes deletes the finished Job after this time when nobody else does
JOB_LABEL = "openthoughts/together"
"""The label of such Jobs and of their pods; its value is the Job's name."""

_PASSED_ON = ("AWS_", "HF_", "OPENTHOUGHTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
# A cloud sets these in each pod of the service account and mounts the token, unless the pod has them already.
_SET_BY_CLOUD = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_")


@dataclass(frozen=True)
class OwnerPod:
    """The pod that starts the Job and owns it: Kubernetes deletes the Job when this pod is deleted."""

    name: str
    uid: str
    container: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> "OwnerPod":
        """Make it from a Pod as the API returns it. The first container is the step's, where dagster-k8s puts it."""
        meta, spec = pod["metadata"], pod["spec"]
        return cls(meta["name"], meta["uid"], spec["containers"][0], spec, meta.get("labels") or {})

    def owner(self) -> list[dict[str, Any]]:
        """Return the owner reference for objects that end with this pod."""
        return [{"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid, "controller": False}]

    def environment(self) -> dict[str, Any]:
        """Return the variables of the deployment that its container has, without those of Dagster's database."""
        variables = [
            entry
            for entry in self.container.get("env") or []
            if entry["name"].startswith(_PASSED_ON) and not entry["name"].startswith(_SET_BY_CLOUD)
        ]
        return {"env": variables, "envFrom": list(self.container.get("envFrom") or [])}

    def account(self) -> dict[str, Any]:
        """Return the service account and pull secrets of its pods, which get no token for the API server."""
        kept = {key: self.spec[key] for key in ("serviceAccountName", "imagePullSecrets") if self.spec.get(key)}
        return {"automountServiceAccountToken": False, **kept}


def pod_address(name: str, index: int) -> str:
    """Return the host name of the pod with this index in the Job `name`."""
    return f"{name}-{index}.{name}"


def headless_service(name: str, parent: OwnerPod, port: int = MASTER_PORT) -> dict[str, Any]:
    """Make the Service that gives the pods of the Job `name` their host names, also before the pods are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(name, parent), "ownerReferences": parent.owner()},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {JOB_LABEL: name},
            "ports": [{"name": "master", "port": port, "targetPort": port}],
        },
    }


def indexed_job(
    name: str, pods: int, config: PodConfig, command: Sequence[str], parent: OwnerPod, port: int = MASTER_PORT
) -> dict[str, Any]:
    """Make a Job whose pods all run at the same time. It is complete when all of them have succeeded.

    Args:
        name: The name of the Job and of its Service, at most 60 characters, since the names of pods begin with it.
        pods: How many pods there are. Each has its index in the variable JOB_COMPLETION_INDEX.
        config: The configuration of one pod, as `model_pod` makes it.
        command: The command of each pod.
        parent: The pod that owns the Job.
        port: The port at which the other pods reach the first one.

    Returns:
        The manifest of the Job.
    """
    labels = _labels(name, parent)
    container = {
        "name": "together",
        "command": list(command),
        "ports": [{"containerPort": port}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    # `config` wins for variables that both have, such as those of the scratch disk and of the models.
    known = merge_settings({"container_config": parent.environment()}, config)
    template = pod_template(known, container, {"labels": labels})
    template["spec"] |= {"subdomain": name, **parent.account()}
    meta = merge_settings(config.get("job_metadata", {}), {"name": name, "labels": labels})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta | {"ownerReferences": parent.owner()},
        "spec": {
            **config.get("job_spec_config", {}),
            "backoffLimit": 0,
            "completionMode": "Indexed",
            "completions": pods,
            "parallelism": pods,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": template,
        },
    }


def _labels(name: str, parent: OwnerPod) -> dict[str, str]:
    ours = {key: value for key, value in parent.labels.items() if key == "dagster/run-id"}
    return {JOB_LABEL: name, "app.kubernetes.io/part-of": "openthoughts", **ours}
