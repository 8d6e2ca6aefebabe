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
    dagster: Path = STAND_IN,
    hooks: bool = False,
) -> list[Manifest]:
    """Every manifest of a release, in the order in which to apply them, each with its namespace where it has one.

    `overrides` are merged over the files, as `helm -f a.yaml -f b.yaml` does. `dagster` is Dagster's chart, a folder or
    an archive; without `official`, only our own templates. With `hooks`, only what `helm test` applies.

    Raises helm_python.HelmError with Helm's message.
    """
    files = _render(values_files, overrides, namespace, dagster if official else None)
    texts = [text for path, text in sorted(files.items()) if not path.endswith(".txt")]
    manifests = [each for text in texts for each in yaml.safe_load_all(text) if each]
    manifests = [each for each in manifests if bool(_hook(each)) == hooks]
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


def whole_chart(folder: Path, dagster: Path | None = STAND_IN) -> Path:
    """A copy of the chart in `folder`, with Dagster's, if any, where `helm dependency build` puts it."""
    copy = folder / "openthoughts"
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    if dagster is None:
        return copy
    if dagster.is_dir():
        shutil.copytree(dagster, copy / "charts" / "dagster")
    else:
        (copy / "charts").mkdir()
        shutil.copy(dagster, copy / "charts")
    return copy


def fetched_dagster(folder: Path) -> Path:
    """The archive of the official chart, into `folder`. Raises helm_python.HelmError where it cannot be fetched."""
    from helm_python import dependency_update

    copy = folder / "fetched"
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    dependency_update(copy)
    return next((copy / "charts").glob("dagster-*.tgz"))


def _hook(manifest: Manifest) -> str:
    """When Helm applies it, if not with the release."""
    return str(manifest["metadata"].get("annotations", {}).get("helm.sh/hook", ""))


def notes(values_files: Sequence[Path] = (), overrides: Mapping[str, Any] | None = None) -> str:
    """What `helm install` prints."""
    return _render(values_files, overrides, "openthoughts", STAND_IN)["openthoughts/templates/NOTES.txt"]


def _render(
    values_files: Sequence[Path], overrides: Mapping[str, Any] | None, namespace: str, dagster: Path | None
) -> dict[str, str]:
    from helm_python import Chart

    values = merged(*(yaml.safe_load(path.read_text()) for path in values_files), overrides or {})
    with TemporaryDirectory() as folder, Chart.load(whole_chart(Path(folder), dagster)) as chart:
        chart.validate_schema(values)
        return chart.render(values, name=RELEASE, namespace=namespace)
