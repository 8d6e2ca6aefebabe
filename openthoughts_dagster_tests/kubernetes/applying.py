"""Manifests on their way to an API server, as `kubectl apply --server-side` sends them."""

from collections.abc import Sequence
from functools import cache
from typing import Any


def apply(client: Any, manifests: Sequence[dict[str, Any]], namespace: str | None = None) -> None:
    """Apply manifests in order with an ApiClient; those without a namespace of their own go to `namespace`."""
    resources = _dynamic(client).resources
    for manifest in manifests:
        resource = resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        where = manifest["metadata"].get("namespace", namespace) if resource.namespaced else None
        name, options = manifest["metadata"]["name"], {"field_manager": "tests", "force_conflicts": True}
        resource.server_side_apply(body=manifest, name=name, namespace=where, **options)


@cache
def _dynamic(client: Any) -> Any:
    from kubernetes import dynamic

    return dynamic.DynamicClient(client)
