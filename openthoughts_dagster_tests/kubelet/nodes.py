"""A node as the API knows it: capacity, labels, taints, conditions and the lease that says it lives."""

from dataclasses import dataclass, field

from openthoughts_dagster_tests.kubelet.api import Api, ApiError, Json, now, now_micro

GPU = "nvidia.com/gpu"


@dataclass
class Node:
    """A machine of a pool. Labels and taints as clouds set them on pools of accelerators."""

    name: str
    cpus: int = 16
    memory: str = "64Gi"
    disk: str = "200Gi"
    pods: int = 50
    gpus: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[Json] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/api/v1/nodes/{self.name}"

    @property
    def lease(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.name}"

    def register(self, api: Api) -> None:
        """Make the node and its lease; a node that comes back finds its own."""
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels | self.labels},
            "spec": {"taints": self.taints},
        }
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 8, "renewTime": now_micro()},
        }
        for path, what in ((self.path, body), (self.lease, lease)):
            try:
                api.post(path.rpartition("/")[0], what)
            except ApiError as error:
                if error.status != 409:
                    raise

    def report(self, api: Api, port: int) -> None:
        """Patch the status: what the node has, that it is well, and where its logs are served."""
        resources: Json = {
            "cpu": str(self.cpus),
            "memory": self.memory,
            "ephemeral-storage": self.disk,
            "pods": str(self.pods),
        } | ({GPU: str(self.gpus)} if self.gpus else {})
        well = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
        conditions = [
            {"type": kind, "status": status, "reason": "KubeletReady", "lastHeartbeatTime": now()}
            for kind, status in well.items()
        ]
        status = {
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        api.patch(f"{self.path}/status", {"status": status})

    def renew(self, api: Api) -> None:
        """Renew the lease."""
        api.patch(self.lease, {"spec": {"renewTime": now_micro()}})

    def schedulable(self, api: Api) -> bool:
        """Whether the taints of a node that is not ready are gone."""
        taints = api.get(self.path)["spec"].get("taints", [])
        return not any(taint["key"].startswith("node.kubernetes.io/") for taint in taints)
