"""The chart as the cluster gets it: rendered by Helm's own engine, with a stand-in for the official Dagster chart.

The official chart is fetched from the network, so that tests put `stand_in/` in its place: it reads the same values.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

Manifest = dict[str, Any]
CHART = Path(__file__).parents[2] / "helm" / "openthoughts"
STAND_IN = Path(__file__).parent / "stand_in"
VALUE_SETS = {name: CHART / f"values-{name}.yaml" for name in ("kind", "gpu-node", "production")}
RELEASE = "openthoughts"

# What others need first, as `helm install` sorts it; anything else comes last.
_FIRST = (
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PriorityClass",
    "PersistentVolumeClaim",
    "Role",
    "RoleBinding",
    "Service",
)


def rendered(
    values_files: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    namespace: str = "openthoughts",
    official: bool = True,
) -> list[Manifest]:
    """Every manifest of a release, in the order in which to apply them, each with its namespace where it has one.

    `overrides` are merged over the files, as `helm -f a.yaml -f b.yaml` does. Without `official`, only our own
    templates. Raises helm_python.HelmError with Helm's message.
    """
    manifests = [each for text in _texts(values_files, overrides, namespace, official) for each in _documents(text)]
    for manifest in manifests:
        if manifest["kind"] not in ("Namespace", "PriorityClass"):
            manifest["metadata"].setdefault("namespace", namespace)
    return sorted(manifests, key=lambda each: _FIRST.index(each["kind"]) if each["kind"] in _FIRST else len(_FIRST))


def find(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """The one manifest of that kind and name. Raises LookupError."""
    found = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} manifests are {kind} {name}")
    return found[0]


def pod_specs(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The Pod spec of every workload, by its kind and name."""
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
        for each in manifests
        if each["kind"] in ("Deployment", "Job", "StatefulSet", "DaemonSet")
    }


def instance_settings(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """dagster.yaml of webserver, daemon, runs and steps."""
    settings: dict[str, Any] = yaml.safe_load(find(manifests, "ConfigMap", "dagster-instance")["data"]["dagster.yaml"])
    return settings


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Helm merges them: mappings by key, everything else replaced by the later one."""
    result: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            held = result.get(key)
            result[key] = merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return result


def whole_chart(folder: Path) -> Path:
    """A copy of the chart in `folder` with the stand-in where `helm dependency build` puts the official chart."""
    copy = folder / "openthoughts"
    shutil.copytree(CHART, copy)
    shutil.copytree(STAND_IN, copy / "charts" / "dagster")
    return copy


def notes(values_files: Sequence[Path] = (), overrides: Mapping[str, Any] | None = None) -> str:
    """What `helm install` prints."""
    return _render(values_files, overrides, "openthoughts", True)["openthoughts/templates/NOTES.txt"]


def _texts(
    values_files: Sequence[Path], overrides: Mapping[str, Any] | None, namespace: str, official: bool
) -> list[str]:
    files = _render(values_files, overrides, namespace, official)
    return [text for path, text in sorted(files.items()) if not path.endswith(".txt")]


def _render(
    values_files: Sequence[Path], overrides: Mapping[str, Any] | None, namespace: str, official: bool
) -> dict[str, str]:
    from helm_python import Chart

    values = merged(*(yaml.safe_load(path.read_text()) for path in values_files), overrides or {})
    with TemporaryDirectory() as folder:
        path = whole_chart(Path(folder)) if official else CHART
        with Chart.load(path) as chart:
            chart.validate_schema(values)
            return chart.render(values, name=RELEASE, namespace=namespace)


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]
