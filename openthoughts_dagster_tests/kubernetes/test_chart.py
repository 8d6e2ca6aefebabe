"""The chart as a whole: Helm and Kubernetes take it, it says no to mistakes, and all of it is documented."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import HelmError, lint
from pydantic import BaseModel

from openthoughts_dagster.cluster import check_fits, load_cluster
from openthoughts_dagster.cluster.settings import Accelerator, Cluster, ProgramPods, WorkSettings
from openthoughts_dagster.recipe import Hardware, load_recipe
from openthoughts_dagster_tests.kubernetes.rendering import (
    CHART,
    STAND_IN,
    VALUE_SETS,
    Manifest,
    find,
    merged,
    notes,
    rendered,
    whole_chart,
)

pytestmark = pytest.mark.kubernetes

# Objects of what is installed beside Kubernetes: no schema comes with it.
OTHERS = {"ScaledObject", "ServiceMonitor", "CiliumNetworkPolicy"}
SERVED = {"model": "Qwen/QwQ-32B", "count": 1, "cpus": 8, "memory": "64Gi", "disk": "50Gi"}
PROGRAMS = {"programPods": {"enabled": True}, "cluster": {"programs": {"runtime_class": "gvisor"}}}
DOCS = CHART.parents[1] / "docs" / "kubernetes.md"


@pytest.fixture(params=VALUE_SETS)
def values(request: pytest.FixtureRequest) -> Path:
    return VALUE_SETS[request.param]


def test_helm_lint_has_nothing_to_say(values: Path, tmp_path: Path) -> None:
    report = lint(whole_chart(tmp_path), yaml.safe_load(values.read_text()), strict=True, kube_version="v1.36.0")
    assert [each for each in report["messages"] if each["severity"] > 1] == []
    assert report["errors"] == []


def test_without_the_official_chart_lint_only_says_that_it_has_to_be_fetched() -> None:
    (warning,) = (each for each in lint(CHART)["messages"] if each["severity"] > 1)
    assert warning["error"] == "chart directory is missing these dependencies: dagster"


def test_every_manifest_is_valid(values: Path) -> None:
    manifests = [each for each in rendered([values]) if each["kind"] not in OTHERS]
    manifests += [each for each in yaml.safe_load_all((CHART / "kind" / "services.yaml").read_text()) if each]
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.36", strict=True)


def test_the_defaults_alone_render() -> None:
    assert find(rendered(), "Deployment", "openthoughts-code")


def test_objects_have_one_name_each(values: Path) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered([values])]
    assert sorted(names) == sorted(set(names))


def test_the_stand_in_reads_every_value_that_we_set_of_the_official_chart(values: Path) -> None:
    """Values that it ignores would be untested; these are of parts that it does not have."""
    ours = merged(yaml.safe_load((CHART / "values.yaml").read_text()), yaml.safe_load(values.read_text()))["dagster"]
    without = {"enabled", "migrate", "ingress", "rabbitmq", "redis", "flower"}
    without |= {"generatePostgresqlPasswordSecret", "generateCeleryConfigSecret"}
    known = yaml.safe_load((STAND_IN / "values.yaml").read_text())
    assert set(ours) - without <= set(known)
    for part in ("dagsterWebserver", "dagsterDaemon", "dagster-user-deployments", "concurrency", "postgresql"):
        assert set(ours[part]) <= set(known[part]), part
    launcher = ("runLauncher", "config")
    assert set(_at(ours, launcher)) <= set(_at(known, launcher))


def test_the_official_chart_has_the_version_of_the_dagster_that_is_pinned() -> None:
    (dependency,) = yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'"dagster=={dependency["version"]}"' in project
    assert yaml.safe_load((STAND_IN / "Chart.yaml").read_text())["version"] == dependency["version"]


def test_the_cluster_that_the_chart_writes_loads(values: Path, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(find(rendered([values]), "ConfigMap", "openthoughts-cluster")["data"]["cluster.yaml"])
    cluster = load_cluster(path)
    assert cluster.images.code.endswith("openthoughts-code:0.1.0")
    assert cluster.work.teacher.priority_class == "openthoughts-generation"
    if values == VALUE_SETS["production"]:
        assert cluster.model_cache_claim == "openthoughts-models"
        assert cluster.accelerators["h100"].per_node == 8


@pytest.mark.parametrize(
    ("value_set", "recipe"), [("kind", "quickstart"), ("gpu-node", "openthoughts3"), ("production", "openthoughts3")]
)
def test_a_shipped_recipe_fits_the_cluster_of_a_value_set(value_set: str, recipe: str, tmp_path: Path) -> None:
    manifests = rendered([VALUE_SETS[value_set]])
    (tmp_path / "cluster.yaml").write_text(_data(manifests, "openthoughts-cluster")["cluster.yaml"])
    cluster = load_cluster(tmp_path / "cluster.yaml")
    check_fits(load_recipe(recipe, _data(manifests, "openthoughts-environment"), cluster.shapes), cluster)


def test_the_schema_of_the_cluster_is_that_of_the_code() -> None:
    import json

    schema = json.loads((CHART / "values.schema.json").read_text())
    cluster = set(schema["properties"]["cluster"]["properties"]) | {"images"}
    assert cluster == set(Cluster.model_fields)
    models: dict[str, type[BaseModel]] = {"work": WorkSettings, "accelerator": Accelerator, "hardware": Hardware}
    for name, model in models.items():
        assert set(schema["$defs"][name]["properties"]) == set(model.model_fields)
    programs = schema["properties"]["cluster"]["properties"]["programs"]["properties"]
    assert set(programs) == set(ProgramPods.model_fields)


def test_a_recipe_in_the_values_is_what_runs_and_steps_read(tmp_path: Path) -> None:
    shipped = CHART.parents[1] / "openthoughts_dagster" / "recipes" / "quickstart"
    text = (shipped / "recipe.yaml").read_text().replace("prompts/difficulty.md", "difficulty.md")
    files = {"recipe.yaml": text, "difficulty.md": (shipped / "prompts" / "difficulty.md").read_text()}
    files["shop_sums.jsonl"] = (shipped / "shop_sums.jsonl").read_text()
    manifests = rendered(overrides={"recipe": {"files": files}})
    for name, content in find(manifests, "ConfigMap", "openthoughts-recipe")["data"].items():
        (tmp_path / name).write_text(content)
    variables = find(manifests, "ConfigMap", "openthoughts-environment")["data"]
    assert load_recipe(str(tmp_path / Path(variables["OPENTHOUGHTS_RECIPE"]).name), variables).name == "quickstart"
    spec = find(manifests, "Deployment", "openthoughts-code")["spec"]["template"]["spec"]
    assert {"name": "recipe", "configMap": {"name": "openthoughts-recipe"}} in spec["volumes"]
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["recipe"] == str(Path(variables["OPENTHOUGHTS_RECIPE"]).parent)


def test_a_changed_recipe_or_cluster_restarts_the_code_location() -> None:
    def annotations(overrides: dict[str, Any]) -> dict[str, str]:
        deployment = find(rendered(overrides=overrides), "Deployment", "openthoughts-code")
        found: dict[str, str] = deployment["spec"]["template"]["metadata"]["annotations"]
        return found

    before = annotations({})
    assert annotations({"recipe": {"files": {"recipe.yaml": "name: other"}}}) != before
    assert annotations({"cluster": {"queue": "other"}}) != before
    assert annotations({"storage": {"lake": "s3://other/lake"}}) != before
    assert annotations({}) == before


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"recipes": {}}, "recipes"),
        ({"cluster": {"accelerator": {}}}, "accelerator"),
        ({"cluster": {"accelerators": {"h100": {"resources": "nvidia.com/gpu"}}}}, "resources"),
        ({"cluster": {"work": {"teachers": {}}}}, "teachers"),
        ({"images": {"code": {"tag": "latest"}}}, "tag"),
        ({"storage": {"lake": "/data/lake"}}, "lake"),
        ({"recipe": {"files": {"prompts/a.md": ""}}}, "prompts/a.md"),
        ({"environment": {"HF_TOKEN": 5}}, "HF_TOKEN"),
        ({"runs": {"resources": {"requests": {"cpu": "1 core"}}}}, "cpu"),
        ({"servedTeachers": {"qwq": {"model": "Qwen/QwQ-32B", "count": 1}}}, "memory"),
        ({"ingress": {"enabled": True, "host": "a.example.com"}}, "Dagster has no login"),
        ({"dagster": {"ingress": {"enabled": True}}}, "goes past the login"),
        ({"dagster": {"rbacEnabled": True}}, "templates/role.yaml"),
        ({"dagster": {"global": {"serviceAccountName": "default"}}}, "openthoughts-launcher"),
        ({"loginProxy": {"enabled": True, "issuer": "https://a.example.com"}}, "emailDomains"),
        ({"recipe": {"files": {"other.yaml": ""}}}, "has no recipe.yaml"),
        ({"cluster": {"work": {"judge": {"priority_class": "openthoughts-judging"}}}}, "openthoughts-judging"),
        ({"servedTeachers": {"a": SERVED | {"accelerator": "h100"}}}, "servedTeachers.a.accelerator"),
        ({"programPods": {"enabled": True}}, "programPods.enabled without cluster.programs"),
        ({"programPods": {"enabled": True}, "cluster": {"programs": {"pods": 2}}}, "runtime_class"),
        ({"cluster": {"programs": {"runtime_class": "gvisor"}}}, "cluster.programs without programPods.enabled"),
        ({"networkPolicy": {"enabled": False}, **PROGRAMS}, "programPods.enabled without networkPolicy.enabled"),
    ],
)
def test_a_mistake_in_the_values_is_refused_by_name(mistake: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=re.escape(said)):
        rendered(overrides=mistake)


def test_what_keda_and_prometheus_are_told_fits_what_they_look_at() -> None:
    """No schema of theirs is here: the fields by their documentation, and what they refer to by the other objects."""
    manifests = rendered([VALUE_SETS["production"]])
    scaled = find(manifests, "ScaledObject", "openthoughts-teacher-qwq-32b")["spec"]
    deployment = find(manifests, "Deployment", scaled["scaleTargetRef"]["name"])
    assert "replicas" not in deployment["spec"]  # or every upgrade would undo the scaling
    assert scaled["minReplicaCount"] == 0 < scaled["maxReplicaCount"]
    triggers = {each["type"]: each["metadata"] for each in scaled["triggers"]}
    assert all(isinstance(value, str) for metadata in triggers.values() for value in metadata.values())
    assert set(triggers["prometheus"]) == {"serverAddress", "query", "threshold"}
    assert 'service="openthoughts-teacher-qwq-32b"' in triggers["prometheus"]["query"]
    assert set(triggers["kubernetes-workload"]) == {"podSelector", "value", "activationValue"}
    for name in ("openthoughts-teachers", "openthoughts-login"):
        monitor = find(manifests, "ServiceMonitor", name)["spec"]
        wanted = monitor["selector"]["matchLabels"].items()
        services = [each for each in manifests if each["kind"] == "Service"]
        chosen = [each for each in services if wanted <= each["metadata"]["labels"].items()]
        ports = {port["name"] for each in chosen for port in each["spec"]["ports"]}
        assert chosen and {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports


def test_the_notes_name_what_has_to_be_there_and_where_the_ui_is() -> None:
    assert "port-forward service/openthoughts-dagster-webserver 3000:8080" in notes()
    text = notes([VALUE_SETS["production"]])
    assert "https://openthoughts.example.com" in text and "openthoughts-login" in text


def test_every_value_is_explained_beside_it() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    unexplained = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if re.match(r" *(- )?[A-Za-z_-]+:", line)
        and " # " not in line
        and not lines[number - 2].strip().startswith("#")
    ]
    assert unexplained == []


def test_every_template_and_group_of_values_is_in_the_docs() -> None:
    text = DOCS.read_text()
    templates = {path.name for path in (CHART / "templates").iterdir()} - {"_helpers.tpl"}
    values = set(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert {name for name in templates | values if f"`{name}`" not in text} == set()


def _data(manifests: list[Manifest], name: str) -> dict[str, str]:
    data: dict[str, str] = find(manifests, "ConfigMap", name)["data"]
    return data


def _at(values: Manifest, path: tuple[str, ...]) -> Manifest:
    for key in path:
        values = values[key]
    return values
