"""The names that a cluster's DNS would know, as an /etc/hosts: all of them are this machine."""

from openthoughts_dagster_tests.kubelet.api import Api, Json


def hosts_of(api: Api, pod: Json) -> str:
    """The lines of a pod's /etc/hosts: itself, the Services of its namespace, and pods that have a subdomain."""
    namespace = pod["metadata"]["namespace"]
    names = {"localhost", hostname(pod)}
    for service in api.get(f"/api/v1/namespaces/{namespace}/services")["items"]:
        names |= _qualified(service["metadata"]["name"], namespace)
    for other in api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]:
        if "subdomain" in other["spec"] and "hostname" in other["spec"]:
            names |= _qualified(f"{other['spec']['hostname']}.{other['spec']['subdomain']}", namespace)
    return "".join(f"127.0.0.1 {name}\n" for name in sorted(names))


def hostname(pod: Json) -> str:
    """The host name that a pod sees."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])


def _qualified(name: str, namespace: str) -> set[str]:
    return {
        f"{name}{suffix}" for suffix in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    }
