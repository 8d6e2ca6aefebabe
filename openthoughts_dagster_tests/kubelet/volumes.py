"""A pod's volumes as folders of this machine."""

import shutil
import tempfile
from pathlib import Path

from openthoughts_dagster_tests.kubelet.api import Api, Json
from openthoughts_dagster_tests.kubelet.sandbox import Mount
from openthoughts_dagster_tests.kubelet.values import NotThere, Objects, field, resource


class Volumes:
    """The volumes of one pod below `folder`; claims are folders below `claims`, which all nodes share."""

    def __init__(self, api: Api, pod: Json, folder: Path, claims: Path) -> None:
        self._api, self._pod, self._folder, self._claims = api, pod, folder, claims
        self._namespace = pod["metadata"]["namespace"]
        self._objects = Objects(api, self._namespace)
        self._memory: list[Path] = []
        self.paths: dict[str, Path] = {}

    def make(self) -> None:
        """Make all of them. Raises NotThere for a config map, secret or claim that does not exist."""
        for volume in self._pod["spec"].get("volumes", []):
            if volume["name"] not in self.paths:
                self.paths[volume["name"]] = self._made(volume)

    def mounts(self, container: Json) -> list[Mount]:
        """Where a container wants them."""
        found = []
        for mount in container.get("volumeMounts", []):
            source = self.paths[mount["name"]]
            if "subPath" in mount:
                source = source / mount["subPath"]
                if not source.exists():
                    source.mkdir(parents=True)
            found.append(Mount(source, mount["mountPath"].rstrip("/"), bool(mount.get("readOnly"))))
        return found

    def remove(self) -> None:
        """Remove what was in memory; the rest goes with the pod's folder."""
        for folder in self._memory:
            shutil.rmtree(folder, ignore_errors=True)

    def _made(self, volume: Json) -> Path:
        folder = self._folder / volume["name"]
        if "emptyDir" in volume:
            if volume["emptyDir"].get("medium") == "Memory":
                folder = Path(tempfile.mkdtemp(prefix="openthoughts-pod-", dir="/dev/shm"))
                self._memory.append(folder)
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        if "persistentVolumeClaim" in volume:
            return self._claimed(volume["persistentVolumeClaim"]["claimName"])
        sources = volume["projected"].get("sources", []) if "projected" in volume else [volume]
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            for path, content in self._files(source).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        return folder

    def _files(self, source: Json) -> dict[str, bytes]:
        if "serviceAccountToken" in source:
            return {source["serviceAccountToken"]["path"]: self._token(source["serviceAccountToken"]).encode()}
        if "downwardAPI" in source:
            return {item["path"]: self._item(item).encode() for item in source["downwardAPI"].get("items", [])}
        for name, kind, key in (("configMap", "configmaps", "name"), ("secret", "secrets", "secretName")):
            if name in source:
                about = source[name]
                data = self._objects.data(kind, about.get(key) or about["name"], bool(about.get("optional")))
                if "items" in about:
                    absent = [item["key"] for item in about["items"] if item["key"] not in data]
                    if absent and not about.get("optional"):
                        raise NotThere(f"references non-existent {kind[:-1]} key: {absent[0]}")
                    return {item["path"]: data[item["key"]] for item in about["items"] if item["key"] in data}
                return data
        raise NotThere(f"the kubelet of the tests has no volumes of {[key for key in source if key != 'name']}")

    def _item(self, item: Json) -> str:
        if "fieldRef" in item:
            return field(self._pod, item["fieldRef"]["fieldPath"])
        return resource(self._pod, self._pod["spec"]["containers"][0], item["resourceFieldRef"])

    def _token(self, about: Json) -> str:
        """A token of the pod's service account that is worth nothing once the pod is gone."""
        account = self._pod["spec"].get("serviceAccountName", "default")
        meta = self._pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        spec = {"expirationSeconds": about.get("expirationSeconds", 3600), "boundObjectRef": bound}
        spec["audiences"] = [about["audience"]] if about.get("audience") else []
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        reply = self._api.post(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        return str(reply["status"]["token"])

    def _claimed(self, claim: str) -> Path:
        found = self._api.get(f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims/{claim}")
        folder = self._claims / found["spec"]["volumeName"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder
