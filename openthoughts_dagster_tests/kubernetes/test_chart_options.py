"""What platform teams set: each file of `ci/` is a release of its own, and each option reaches the pods it is for."""

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
from helm_python import HelmError, package

from openthoughts_dagster.cluster import load_cluster
from openthoughts_dagster.defs.kubernetes.pod_config import over_launcher
from openthoughts_dagster_tests.kubernetes.chart_readme import README, readme
from openthoughts_dagster_tests.kubernetes.rendering import (
    CHART,
    VALUE_SETS,
    Manifest,
    find,
    instance_settings,
    pod_specs,
    rendered,
    whole_chart,
)
from openthoughts_dagster_tests.kubernetes.test_chart import OTHERS

pytestmark = pytest.mark.kubernetes

CI = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
SERVED = {"small": {"model": "m/s", "count": 1, "cpus": 4, "memory": "16Gi", "disk": "20Gi"}}
LOGIN = {"enabled": True, "issuer": "https://login.example.com", "emailDomains": ["example.com"]}


@pytest.mark.parametrize("values", CI)
def test_every_ci_file_renders_what_kubernetes_takes(values: str) -> None:
    manifests = rendered([CI[values]])
    for manifest in [*manifests, *rendered([CI[values]], hooks=True)]:
        if manifest["kind"] not in OTHERS:
            kubernetes_validate.validate(manifest, "1.36", strict=True)


def containers(manifests: list[Manifest]) -> dict[str, Any]:
    """Every container, by its workload and name."""
    return {
        f"{name}/{each['name']}": each
        for name, pod in pod_specs(manifests).items()
        for each in [*pod.get("initContainers", []), *pod["containers"]]
    }


def run_context(manifests: list[Manifest]) -> dict[str, Any]:
    """What dagster-k8s gives runs and steps."""
    code = containers(manifests)["Deployment/openthoughts-code/code-location"]
    text = next(each["value"] for each in code["env"] if each["name"].endswith("CONTAINER_CONTEXT"))
    context: dict[str, Any] = json.loads(text)["k8s"]
    return context


def test_the_database_is_waited_for_with_an_image_that_there_is() -> None:
    image = containers(rendered())["Deployment/dagster-daemon/check-db-ready"]["image"]
    assert image == "docker.io/library/postgres:17.6"
    wrong = {"dagster": {"postgresql": {"image": {"repository": "docker.io/library/postgres"}}}}
    with pytest.raises(HelmError, match=re.escape("belongs into dagster.postgresql.image.registry")):
        rendered(overrides=wrong)


def test_a_mirror_and_digests_are_taken_for_every_image() -> None:
    manifests = rendered([CI["mirror"]])
    images = {each["image"] for each in containers(manifests).values()}
    assert all(image.startswith("mirror.example.com/") for image in images), images
    assert {image.partition("@")[2][:10] for image in images if "@" in image} == {"sha256:111", "sha256:333"}
    for name, pod in pod_specs(manifests).items():
        assert pod["imagePullSecrets"] == [{"name": "mirror"}], name
    code = containers(manifests)["Deployment/openthoughts-code/code-location"]
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": code["image"]} in code["env"]  # runs take the same


def test_every_file_system_is_read_only_but_for_volumes() -> None:
    login = LOGIN | {"trustedProxies": ["10.0.0.0/8"]}
    manifests = rendered(overrides={"servedTeachers": SERVED, "loginProxy": login})
    for name, container in containers(manifests).items():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
    launcher = instance_settings(manifests)["run_launcher"]["config"]
    assert launcher["security_context"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in run_context(manifests)["volume_mounts"]} >= {"/tmp", "/scratch"}


def test_openshift_chooses_users_and_groups() -> None:
    manifests = rendered([CI["openshift"]])
    contexts = [pod["securityContext"] for pod in pod_specs(manifests).values()]
    contexts.append(
        instance_settings(manifests)["run_launcher"]["config"]["run_k8s_config"]["pod_spec_config"]["securityContext"]
    )
    for context in contexts:
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & {key for key, value in context.items() if value is not None}
        assert context["runAsNonRoot"] is True


def test_a_private_authority_is_trusted_by_every_pod() -> None:
    values = {"servedTeachers": SERVED, "loginProxy": LOGIN}
    manifests = rendered([CI["private-authority"]], values)
    file = "/etc/openthoughts/authorities/ca.crt"
    data = find(manifests, "ConfigMap", "openthoughts-environment")["data"]
    assert {data[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")} == {file}
    for name, container in containers(manifests).items():
        if name.endswith("check-db-ready"):
            continue
        assert file.rpartition("/")[0] in {mount["mountPath"] for mount in container["volumeMounts"]}, name
        own = {each["name"]: each.get("value") for each in container.get("env", [])}
        shared = {"configMapRef": {"name": "openthoughts-environment"}} in container.get("envFrom", [])
        assert shared or own["SSL_CERT_FILE"] == file, name
    assert "/etc/openthoughts/authorities" in {each["mountPath"] for each in run_context(manifests)["volume_mounts"]}


def test_a_private_authority_that_the_webserver_would_not_find_is_refused() -> None:
    with pytest.raises(HelmError, match=re.escape("dagster.dagsterWebserver.volumes and volumeMounts")):
        rendered(overrides={"trustedAuthorities": {"configMap": "company"}})


def test_what_a_platform_team_adds_reaches_the_code_location_and_runs() -> None:
    manifests = rendered([CI["platform"]])
    template = find(manifests, "Deployment", "openthoughts-code")["spec"]["template"]
    pod, code = template["spec"], template["spec"]["containers"][0]
    assert template["metadata"]["labels"]["cost-centre"] == "42"
    assert pod["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone"
    assert pod["affinity"]["nodeAffinity"] and code["livenessProbe"]["grpc"] == {"port": 3030}
    context = run_context(manifests)
    for variables, volumes, mounts in (
        (code["env"], pod["volumes"], code["volumeMounts"]),
        (context["env"], context["volumes"], context["volume_mounts"]),
    ):
        assert "TEAM_KEY" in {each["name"] for each in variables}
        assert {"name": "team", "configMap": {"name": "team"}} in volumes
        assert {"name": "team", "mountPath": "/etc/team"} in mounts
    teacher = containers(manifests)["Deployment/openthoughts-teacher-small/vllm"]
    assert {"name": "VLLM_LOGGING_LEVEL", "value": "WARNING"} in teacher["env"]


def test_dagster_k8s_takes_what_runs_are_given() -> None:
    from dagster_k8s.container_context import K8sContainerContext

    context = K8sContainerContext.create_from_config({"k8s": run_context(rendered([CI["platform"]]))})
    assert context.run_k8s_config.container_config["env"][-1]["name"] == "TEAM_KEY"
    assert context.run_k8s_config.pod_template_spec_metadata["labels"] == {"cost-centre": "42"}


def test_runs_and_steps_without_accelerators_go_where_the_values_say() -> None:
    from dagster_k8s.container_context import K8sContainerContext

    given = K8sContainerContext.create_from_config({"k8s": run_context(rendered([CI["platform"]]))}).run_k8s_config
    places = {"node_selector", "tolerations", "affinity", "topology_spread_constraints"}
    assert given.pod_spec_config["node_selector"] == {"pool": "plain"} and places <= given.pod_spec_config.keys()
    cpu = over_launcher(given, {"pod_spec_config": {"tolerations": [{"key": "more"}]}}).pod_spec_config
    assert places <= cpu.keys() and [each["key"] for each in cpu["tolerations"]] == ["plain", "more"]
    accelerated = over_launcher(given, {"pod_spec_config": {"node_selector": {"gpu": "h100"}}}).pod_spec_config
    assert accelerated["node_selector"] == {"gpu": "h100"}
    assert not {"affinity", "topology_spread_constraints"} & accelerated.keys()
    config = DagsterK8sJobConfig(job_image="code:1", dagster_home="/opt/dagster")
    job = construct_dagster_k8s_job(config, [], "run", given)  # the client's models refuse unknown names
    assert job.spec.template.spec.affinity.pod_anti_affinity is not None
    assert job.spec.template.spec.topology_spread_constraints[0].max_skew == 5


@pytest.mark.parametrize("runtime_class", ("gvisor", None))
def test_programs_in_pods_are_described_to_steps_which_get_the_rights_for_them(
    runtime_class: str | None, tmp_path: Path
) -> None:
    given = yaml.safe_load(CI["program-pods"].read_text())
    given["cluster"]["programs"]["runtime_class"] = runtime_class
    manifests = rendered(overrides=given)
    (tmp_path / "cluster.yaml").write_text(find(manifests, "ConfigMap", "openthoughts-cluster")["data"]["cluster.yaml"])
    programs = load_cluster(tmp_path / "cluster.yaml").programs
    assert programs is not None and programs.model_dump() == given["cluster"]["programs"]
    rules = find(manifests, "Role", "openthoughts-program-pods")["rules"]
    granted = {(what, verb) for rule in rules for what in rule["resources"] for verb in rule["verbs"]}
    assert granted == {("configmaps", "create"), ("configmaps", "delete"), ("pods", "get"), ("pods/log", "get")}
    (account,) = find(manifests, "RoleBinding", "openthoughts-program-pods")["subjects"]
    assert account["name"] == "openthoughts-run"
    assert not [each for each in rendered() if each["metadata"]["name"] == "openthoughts-program-pods"]


def test_accounts_that_are_there_already_get_the_rights_and_are_not_made() -> None:
    manifests = rendered([CI["platform"]])
    assert not [each for each in manifests if each["kind"] == "ServiceAccount"]
    entitled = {s["name"] for each in manifests if each["kind"] == "RoleBinding" for s in each["subjects"]}
    assert entitled == {"team-launcher", "team-run"}
    assert {pod["serviceAccountName"] for pod in pod_specs(manifests).values()} == {
        "team-launcher",
        "team-code",
        "team-serving",
    }
    assert run_context(manifests)["service_account_name"] == "team-run"
    with pytest.raises(HelmError, match=re.escape("dagster.global.serviceAccountName must be team-launcher")):
        rendered(overrides={"serviceAccounts": {"launcher": {"name": "team-launcher"}}})
    with pytest.raises(HelmError, match=re.escape("service_account_name")):
        rendered(overrides={"serviceAccounts": {"run": {"name": "team-run"}}})


def test_another_revision_of_an_existing_recipe_restarts_the_code_location() -> None:
    def annotations(revision: str) -> Any:
        manifests = rendered(overrides={"recipe": {"existing": True, "revision": revision}})
        return find(manifests, "Deployment", "openthoughts-code")["spec"]["template"]["metadata"]["annotations"]

    assert annotations("a") == annotations("a") != annotations("b")


def test_cilium_is_told_of_the_api_server_by_name() -> None:
    policy = find(rendered([CI["platform"]]), "CiliumNetworkPolicy", "openthoughts-api-server")["spec"]
    assert policy["egress"][0]["toEntities"] == ["kube-apiserver"]
    assert [each["port"] for each in policy["egress"][0]["toPorts"][0]["ports"]] == ["443", "6443"]


def test_several_webservers_and_proxies_are_not_drained_at_once() -> None:
    names = {each["metadata"]["name"] for each in rendered() if each["kind"] == "PodDisruptionBudget"}
    assert names == {"openthoughts-runs"}
    manifests = rendered([VALUE_SETS["production"]])
    for name, workload in (("webserver", "openthoughts-dagster-webserver"), ("login", "openthoughts-login")):
        budget = find(manifests, "PodDisruptionBudget", f"openthoughts-{name}")["spec"]
        labels = find(manifests, "Deployment", workload)["spec"]["template"]["metadata"]["labels"]
        assert budget["minAvailable"] == 1 and budget["selector"]["matchLabels"].items() <= labels.items()


def test_the_login_trusts_headers_of_named_proxies_only() -> None:
    login = find(rendered([VALUE_SETS["production"]]), "Deployment", "openthoughts-login")["spec"]["template"]["spec"]
    assert "--trusted-proxy-ip=10.244.0.0/16" in login["containers"][0]["args"]
    assert login["imagePullSecrets"] == [{"name": "registry"}]
    version = re.search(r":v(\d+)\.(\d+)\.(\d+)", login["containers"][0]["image"])
    assert version and tuple(map(int, version.groups())) >= (7, 15, 2)
    with pytest.raises(HelmError, match=re.escape("loginProxy.trustedProxies")):
        rendered(overrides={"loginProxy": LOGIN, "ingress": {"enabled": True, "host": "a.example.com"}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dagster": {"dagsterWebServer": {}}}, "dagsterWebServer"),
        ({"dagster": {"fullnameOverride": "other"}}, "the official chart reads the one below global"),
        ({"dagster": {"migrate": {"enabled": True}}}, "dagster instance migrate"),
        ({"images": {"code": {"digest": "sha256:1"}}}, "digest"),
    ],
)
def test_what_would_not_work_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=re.escape(said)):
        rendered(overrides=values)


def test_another_name_for_dagsters_objects_is_used_everywhere() -> None:
    launcher = {"config": {"customRunLauncher": {"config": {"instance_config_map": "other-instance"}}}}
    names = {"fullnameOverride": "other", "global": {"fullnameOverride": "other"}, "runLauncher": launcher}
    manifests = rendered(overrides={"dagster": names})
    assert find(manifests, "ConfigMap", "other-instance")
    volumes = pod_specs(manifests)["Deployment/openthoughts-code"]["volumes"]
    assert {"name": "instance", "configMap": {"name": "other-instance", "optional": True}} in volumes


def test_helm_test_runs_doctor_as_the_code_location_would() -> None:
    (pod,) = rendered(hooks=True)
    code = containers(rendered())["Deployment/openthoughts-code/code-location"]
    (doctor,) = pod["spec"]["containers"]
    assert doctor["args"] == ["openthoughts", "doctor"]
    assert doctor["image"] == code["image"] and doctor["envFrom"] == code["envFrom"]
    assert doctor["volumeMounts"] == code["volumeMounts"]
    service = find(rendered(), "Service", "openthoughts-code")["spec"]["selector"]
    assert not service.items() <= pod["metadata"]["labels"].items()  # nobody is sent to it


def test_the_readme_of_the_chart_has_every_value() -> None:
    assert README.read_text() == readme(), "python -m openthoughts_dagster_tests.kubernetes.chart_readme writes it"


def test_the_package_has_the_value_sets_and_the_readme(tmp_path: Path) -> None:
    import tarfile

    package(whole_chart(tmp_path / "chart"), destination=tmp_path)
    with tarfile.open(next(tmp_path.glob("openthoughts-*.tgz"))) as archive:
        names = {name.removeprefix("openthoughts/") for name in archive.getnames()}
    assert {path.name for path in VALUE_SETS.values()} | {"README.md", "values.schema.json"} <= names
    assert not {name for name in names if name.startswith(("ci/", "kind/"))}


def test_the_images_to_mirror_are_listed() -> None:
    text = README.read_text()
    for values in VALUE_SETS.values():
        for container in containers(rendered([values])).values():
            name = container["image"].rpartition(":")[0].rpartition("/")[2]
            assert f"`{name}" in text or f"/{name}" in text, container["image"]


def test_annotations_of_the_chart_say_where_it_is_at_home() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert chart["annotations"]["artifacthub.io/license"] == "Apache-2.0"
