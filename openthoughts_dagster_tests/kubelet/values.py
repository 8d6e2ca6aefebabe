"""What a container's environment and files are made of: fields of its pod, config maps, secrets, quantities."""

import base64
import re
from collections.abc import Callable
from typing import Any

from openthoughts_dagster_tests.kubelet.api import Api, ApiError, Json

_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class NotThere(Exception):
    """A config map, secret or key that a pod needs does not exist (yet)."""


def quantity(text: str | int) -> float:
    """The number that a quantity such as 1500m or 2Gi stands for."""
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)", str(text))
    if not found or found[2] not in _UNITS:
        raise ValueError(f"{text} is not a quantity")
    return float(found[1]) * _UNITS[found[2]]


def field(pod: Json, path: str) -> str:
    """What a fieldRef points at."""
    subscript = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if subscript:
        return str(pod["metadata"].get(subscript[1], {}).get(subscript[2], ""))
    fixed = {"status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1", "status.podIPs": "127.0.0.1"}
    if path in fixed:
        return fixed[path]
    if path in ("metadata.labels", "metadata.annotations"):
        return "\n".join(f'{k}="{v}"' for k, v in sorted(pod["metadata"].get(path[9:], {}).items()))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, "")
    return str(found)


def resource(pod: Json, container: Json, reference: Json) -> str:
    """What a resourceFieldRef points at, in whole units of its divisor."""
    kind, _, name = reference["resource"].partition(".")
    chosen = next((c for c in pod["spec"]["containers"] if c["name"] == reference.get("containerName")), container)
    amount = quantity(chosen.get("resources", {}).get(kind, {}).get(name, "0"))
    return str(-int(-amount // (quantity(reference.get("divisor") or "1") or 1)))


class Objects:
    """Config maps and secrets of one namespace, as bytes by key."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._path = api, f"/api/v1/namespaces/{namespace}"

    def data(self, kind: str, name: str, optional: bool = False) -> dict[str, bytes]:
        """The data of `configmaps` or `secrets` `name`; empty if it is absent and optional."""
        try:
            found = self._api.get(f"{self._path}/{kind}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            if optional:
                return {}
            raise NotThere(f'{kind[:-1].replace("map", "map")} "{name}" not found') from None
        if kind == "secrets":
            return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}

    def key(self, kind: str, reference: Json) -> str | None:
        """One key of an object; None if it is absent and optional."""
        optional = bool(reference.get("optional"))
        found = self.data(kind, reference["name"], optional)
        if reference["key"] in found:
            return found[reference["key"]].decode()
        if optional:
            return None
        raise NotThere(f"couldn't find key {reference['key']} in {kind[:-1]} {reference['name']}")


def environment(pod: Json, container: Json, objects: Objects) -> dict[str, str]:
    """The environment of a container, with $(NAME) expanded."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for kind, reference in (("configmaps", source.get("configMapRef")), ("secrets", source.get("secretRef"))):
            if reference:
                data = objects.data(kind, reference["name"], bool(reference.get("optional")))
                found |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    readers: dict[str, Callable[[Json], str | None]] = {
        "fieldRef": lambda reference: field(pod, reference["fieldPath"]),
        "resourceFieldRef": lambda reference: resource(pod, container, reference),
        "configMapKeyRef": lambda reference: objects.key("configmaps", reference),
        "secretKeyRef": lambda reference: objects.key("secrets", reference),
    }
    for entry in container.get("env", []):
        if "valueFrom" in entry:
            [(kind, reference)] = entry["valueFrom"].items()
            value = readers[kind](reference)
            if value is not None:
                found[entry["name"]] = value
        else:
            found[entry["name"]] = expand(entry.get("value", ""), found)
    return found


def expand(text: str, variables: dict[str, str]) -> str:
    """$(NAME) as Kubernetes expands it in commands, arguments and values; $$ is a dollar."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, text)
