"""The kubelets of the tests: they register and report nodes, run their pods, and lose them as a test asks."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubelet.api import Api, ApiError, Json, now
from openthoughts_dagster_tests.kubelet.images import Image
from openthoughts_dagster_tests.kubelet.logs import LogServer
from openthoughts_dagster_tests.kubelet.nodes import Node
from openthoughts_dagster_tests.kubelet.pod import PodWorker
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane


class Kubelets:
    """Nodes and what runs on them. Use as a context manager: at the end every process of every pod is gone."""

    evicted = "Evicted"

    def __init__(self, plane: ControlPlane, folder: Path, images: Mapping[str, Image]) -> None:
        self.api = Api(plane.address, plane.certificate, plane.token)
        self.images: dict[str, Image] = dict(images)
        self._folder, self.claims = folder.resolve(), folder.resolve() / "claims"
        self._server_port = plane.port
        self._logs = LogServer(plane.certificate, plane.key, self._find_log)
        self._nodes: dict[str, Node] = {}
        self._absent: set[str] = set()
        self._pods: dict[str, PodWorker] = {}
        self._lock, self._closing = threading.RLock(), threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch_pods, self._heartbeat)]

    def __enter__(self) -> "Kubelets":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for pod in list(self._pods.values()):
            pod.vanish()
        for pod in list(self._pods.values()):
            pod.join(30)
        for thread in self._threads:
            thread.join(60)
        self._logs.close()

    @property
    def environment(self) -> dict[str, str]:
        """Where a pod finds the API server."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self._server_port)}

    def join(self, *nodes: Node) -> None:
        """Nodes join the cluster; returns when pods can be scheduled on them."""
        for node in nodes:
            node.register(self.api)
            node.report(self.api, self._logs.port)
            node.renew(self.api)
            self._absent.discard(node.name)
            self._nodes[node.name] = node
        for node in nodes:
            wait_for(lambda node=node: node.schedulable(self.api), 60, f"node {node.name}")  # type: ignore[misc]

    def vanish(self, name: str) -> None:
        """A machine dies: its processes are gone at once, and nothing is heard of it any more."""
        self._absent.add(name)
        for pod in self._pods_on(name):
            pod.vanish()
        for pod in self._pods_on(name):
            pod.join(20)

    def come_back(self, name: str) -> None:
        """The machine has been replaced under its old name; what ran there before is over."""
        self.join(self._nodes[name])
        for pod in self._list_pods()["items"]:
            if pod["spec"]["nodeName"] == name:
                self._sync_pod(pod)

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """The node is short of something and gets rid of a pod."""
        thread = self.pod(namespace, pod)
        self.event(thread.pod, "Warning", "Evicted", message)
        thread.evict("Evicted", message)

    def oom_kill(self, namespace: str, pod: str) -> None:
        """The kernel kills a pod's processes for their memory."""
        self.pod(namespace, pod).kill_for("OOMKilled")

    def pod(self, namespace: str, pod: str) -> PodWorker:
        """What looks after a pod."""
        with self._lock:
            return next(t for t in self._pods.values() if (t.namespace, t.pod_name) == (namespace, pod))

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        """What a container wrote, also of a pod that is gone; without a name the pod's first."""
        folder = next(iter(sorted(self._folder.glob(f"pods/{namespace}_{pod}_*"))), None)
        logs = sorted(folder.glob(f"{container or '*'}.log")) if folder else []
        return logs[0].read_text(errors="replace") if logs else ""

    def event(self, pod: Json, kind: str, reason: str, message: str) -> None:
        """Record an event about a pod, as the kubelet does."""
        meta = pod["metadata"]
        about = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "namespace": meta["namespace"]}
        body = {
            "metadata": {"generateName": f"{meta['name'][:200]}.", "namespace": meta["namespace"]},
            "involvedObject": about | {"uid": meta["uid"]},
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": pod["spec"].get("nodeName", "")},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        with suppress(ApiError):  # as with a kubelet: events are told when they can be
            self.api.post(f"/api/v1/namespaces/{meta['namespace']}/events", body)

    def _heartbeat(self) -> None:
        ticks = 0
        while not self._closing.wait(2):
            ticks += 1
            for node in list(self._nodes.values()):
                if node.name not in self._absent:
                    with suppress(ApiError):
                        node.renew(self.api)
                        if ticks % 5 == 0:
                            node.report(self.api, self._logs.port)

    def _list_pods(self) -> Json:
        return self.api.get("/api/v1/pods?fieldSelector=spec.nodeName!=")

    def _watch_pods(self) -> None:
        """List, then watch, for ever: a server that is down is asked again every second."""
        while not self._closing.is_set():
            try:
                listed = self._list_pods()
                there = {pod["metadata"]["uid"] for pod in listed["items"]}
                for gone in [uid for uid in self._pods if uid not in there]:
                    self._remove_pod(gone)
                for pod in listed["items"]:
                    self._sync_pod(pod)
                version = listed["metadata"]["resourceVersion"]
                for event in self.api.watch("/api/v1/pods?fieldSelector=spec.nodeName!=", version, 20):
                    if self._closing.is_set():
                        return
                    if event["type"] == "DELETED":
                        self._remove_pod(event["object"]["metadata"]["uid"])
                    elif event["type"] != "BOOKMARK":
                        self._sync_pod(event["object"])
            except ApiError:
                self._closing.wait(1)

    def _sync_pod(self, pod: Json) -> None:
        """Start a pod that is new here, or end one that is to go."""
        meta, node = pod["metadata"], pod["spec"].get("nodeName")
        if node not in self._nodes or node in self._absent or self._closing.is_set():
            return
        with self._lock:
            thread = self._pods.get(meta["uid"])
            if thread is None and pod["status"].get("phase") in ("Succeeded", "Failed"):
                if "deletionTimestamp" in meta:
                    self._delete_object(pod)
                return
            if thread is None and (pod["status"].get("phase") == "Running" or "deletionTimestamp" in meta):
                self._fail_lost_pod(pod)
                return
            if thread is None:
                folder = self._folder / "pods" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"
                thread = self._pods[meta["uid"]] = PodWorker(self, pod, folder)
                thread.start()
            if "deletionTimestamp" in meta:
                thread.delete(meta.get("deletionGracePeriodSeconds", 30))

    def _fail_lost_pod(self, pod: Json) -> None:
        """A pod from before its node vanished: nobody knows how it ended."""
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        ended = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "finishedAt": now()}}
        lost = [
            {"name": c["name"], "image": c["image"], "imageID": "", "ready": False, "restartCount": 0, "state": ended}
            for c in pod["spec"]["containers"]
        ]
        with suppress(ApiError):
            status = {"phase": "Failed", "containerStatuses": lost}
            self.api.patch(f"{path}/status", {"metadata": {"uid": meta["uid"]}, "status": status})
        if "deletionTimestamp" in meta:
            self._delete_object(pod)

    def _delete_object(self, pod: Json) -> None:
        meta = pod["metadata"]
        with suppress(ApiError):
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
            self.api.delete(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", body)

    def _remove_pod(self, uid: str) -> None:
        """The object is gone: so is the pod, without a word."""
        with self._lock:
            thread = self._pods.get(uid)
        if thread:
            thread.vanish()

    def pod_ended(self, thread: PodWorker) -> None:
        """Nothing is left of it."""
        with self._lock:
            self._pods.pop(thread.uid, None)

    def _pods_on(self, node: str) -> list[PodWorker]:
        with self._lock:
            return [thread for thread in self._pods.values() if thread.pod["spec"]["nodeName"] == node]

    def _find_log(self, namespace: str, pod: str, container: str) -> tuple[Path, Callable[[], bool]] | None:
        with self._lock:
            threads = [t for t in self._pods.values() if (t.namespace, t.pod_name) == (namespace, pod)]
        for thread in threads:
            path = thread.folder / f"{container}.log"
            if path.exists():
                return path, partial(thread.runs, container)
        return None
