"""Pods that do one piece of work together: an Indexed Job, and a headless Service by which they find each other.

Nothing has to be installed for it, and Kueue admits such a Job as a whole. The Job is not tried again by Kubernetes
(backoffLimit 0): when one pod is lost the others can only wait for it, so all of them are ended, and whoever follows
the Job (`following`) makes the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openthoughts_dagster.cluster.pods import PodConfig, merged, pod_template

MASTER_PORT = 29500
"""Where the first pod is reached by the others."""

_KEPT_SECONDS = 3600  # should nobody be left to delete it
_TOGETHER = "openthoughts/together"
_OURS = ("AWS_", "HF_", "OPENTHOUGHTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
# A cloud gives them to each pod of the service account, with the token's volume; and not to one that has them already.
_OF_THE_CLOUD = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_")


@dataclass(frozen=True)
class OwnerPod:
    """The pod that starts the Job, and with which the Job ends: Kubernetes deletes what a deleted pod owns."""

    name: str
    uid: str
    container: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> "OwnerPod":
        """From the Pod as the API gives it. Its first container is the step's: dagster-k8s puts ours there."""
        meta, spec = pod["metadata"], pod["spec"]
        return cls(meta["name"], meta["uid"], spec["containers"][0], spec, meta.get("labels") or {})

    def owner(self) -> list[dict[str, Any]]:
        """The owner reference of what ends with this pod."""
        return [{"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid, "controller": False}]

    def environment(self) -> dict[str, Any]:
        """What its own container knows of the deployment, and nothing of Dagster's database."""
        variables = [
            entry
            for entry in self.container.get("env") or []
            if entry["name"].startswith(_OURS) and not entry["name"].startswith(_OF_THE_CLOUD)
        ]
        return {"env": variables, "envFrom": list(self.container.get("envFrom") or [])}

    def account(self) -> dict[str, Any]:
        """Who its pods are to the object store and the registry. They ask nothing of the API server: no token."""
        kept = {key: self.spec[key] for key in ("serviceAccountName", "imagePullSecrets") if self.spec.get(key)}
        return {"automountServiceAccountToken": False, **kept}


def pod_address(name: str, index: int) -> str:
    """The host name of one of the pods of Job `name`."""
    return f"{name}-{index}.{name}"


def headless_service(name: str, parent: OwnerPod, port: int = MASTER_PORT) -> dict[str, Any]:
    """The Service that gives the pods of Job `name` their names, from when they exist: they wait for each other."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(name, parent), "ownerReferences": parent.owner()},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {_TOGETHER: name},
            "ports": [{"name": "master", "port": port, "targetPort": port}],
        },
    }


def indexed_job(
    name: str, pods: int, config: PodConfig, command: Sequence[str], parent: OwnerPod, port: int = MASTER_PORT
) -> dict[str, Any]:
    """A Job of `pods` pods at once, each with its index in JOB_COMPLETION_INDEX; done when all have succeeded.

    `config` is that of one pod (`model_pod`), `name` also that of the Service. At most 60 signs: pods are named by it.
    """
    labels = _labels(name, parent)
    container = {
        "name": "together",
        "command": list(command),
        "ports": [{"containerPort": port}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    # of a variable that both have, the one of pods of this kind holds: its scratch disk, its models
    known = merged({"container_config": parent.environment()}, config)
    template = pod_template(known, container, {"labels": labels})
    template["spec"] |= {"subdomain": name, **parent.account()}
    meta = merged(config.get("job_metadata", {}), {"name": name, "labels": labels})
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
    return {_TOGETHER: name, "app.kubernetes.io/part-of": "openthoughts", **ours}
