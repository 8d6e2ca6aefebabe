"""What a security team would look for in what the chart renders, for every value set."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from openthoughts_dagster_tests.kubernetes.rendering import CHART, VALUE_SETS, Manifest, find, pod_specs, rendered

pytestmark = pytest.mark.kubernetes


@pytest.fixture(params=VALUE_SETS, scope="module")
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    """With what is tried out on kind as well."""
    services = [each for each in yaml.safe_load_all((CHART / "kind" / "services.yaml").read_text()) if each]
    return rendered([VALUE_SETS[request.param]]) + (services if request.param == "kind" else [])


def test_nothing_runs_as_root_or_can_become_it(manifests: list[Manifest]) -> None:
    for name, pod in pod_specs(manifests).items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in _containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert not own.get("privileged") and own.get("runAsUser", 1) > 0, name


def test_nothing_reaches_into_its_node(manifests: list[Manifest]) -> None:
    for name, pod in pod_specs(manifests).items():
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.keys(), name
        kinds = {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected"}, name
        assert not [port for c in _containers(pod) for port in c.get("ports", []) if "hostPort" in port], name


def test_every_container_has_requests_and_limits(manifests: list[Manifest]) -> None:
    for name, pod in pod_specs(manifests).items():
        for container in _containers(pod):
            for side in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][side].keys(), name


def test_every_image_is_pinned(manifests: list[Manifest]) -> None:
    for name, pod in pod_specs(manifests).items():
        for container in _containers(pod):
            assert re.search(r":v?\d+\.\d+[.\d]*$", container["image"]), f"{name}: {container['image']}"
            hosts = [part for part in container["image"].split("/")[:-1] if "." in part or ":" in part]
            assert len(hosts) <= 1, f"{name}: two registries in {container['image']}"


def test_no_secret_is_written_into_a_manifest(manifests: list[Manifest]) -> None:
    ours = [each for each in manifests if each["metadata"].get("labels", {}).get("app.kubernetes.io/name")]
    assert [each for each in ours if each["kind"] == "Secret"] == []
    for name, pod in pod_specs(manifests).items():
        for container in _containers(pod):
            for variable in container.get("env", []):
                if re.search(r"PASSWORD|TOKEN|SECRET|KEY|CREDENTIAL", variable["name"]):
                    assert "secretKeyRef" in variable.get("valueFrom", {}), f"{name}: {variable['name']}"
    for config in (each for each in ours if each["kind"] == "ConfigMap"):
        assert not re.search(r"(PASSWORD|TOKEN|SECRET|API_KEY)\w*: *['\"]?\w", yaml.safe_dump(config["data"]))


def test_no_right_is_wider_than_its_use(manifests: list[Manifest]) -> None:
    kinds = {each["kind"] for each in manifests}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    for role in (each for each in manifests if each["kind"] == "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"secrets", "configmaps", "pods/exec", "pods/attach", "roles"} & set(rule["resources"])
            assert not {"update", "patch", "deletecollection", "impersonate", "bind", "escalate"} & set(rule["verbs"])


def test_only_what_launches_has_rights_or_a_token(manifests: list[Manifest]) -> None:
    bindings = [each for each in manifests if each["kind"] == "RoleBinding"]
    entitled = {subject["name"] for each in bindings for subject in each["subjects"]}
    assert entitled == {"openthoughts-launcher", "openthoughts-run"}
    accounts = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "ServiceAccount"}
    for name, pod in pod_specs(manifests).items():
        account = accounts.get(pod.get("serviceAccountName", ""), {"automountServiceAccountToken": False})
        token = pod.get("automountServiceAccountToken", account["automountServiceAccountToken"])
        # the code location's is worth nothing: its account has no role
        assert token is (pod.get("serviceAccountName") in ("openthoughts-launcher", "openthoughts-code")), name


def test_traffic_is_denied_unless_it_is_named(manifests: list[Manifest]) -> None:
    deny = find(manifests, "NetworkPolicy", "openthoughts-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in (each for each in manifests if each["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            assert rule["from"], policy["metadata"]["name"]  # an empty list means everybody
        for rule in policy["spec"].get("egress", []):
            assert rule["to"], policy["metadata"]["name"]


def test_the_metadata_of_clouds_is_out_of_reach(manifests: list[Manifest]) -> None:
    outside = find(manifests, "NetworkPolicy", "openthoughts-outside")["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in outside for to in rule["to"] if "ipBlock" in to]
    everywhere = [block for block in blocks if block["cidr"] == "0.0.0.0/0"]
    assert everywhere and all("169.254.0.0/16" in block["except"] for block in everywhere)


def test_policies_choose_pods_that_there_are(manifests: list[Manifest]) -> None:
    """A selector that nothing matches denies silently. Pods of runs and steps are labelled by dagster-k8s and us."""
    dagster = {"app.kubernetes.io/name": "dagster"}
    launched = [
        dagster | {"app.kubernetes.io/component": "run_worker"},
        dagster | {"app.kubernetes.io/component": "step_worker", "openthoughts/work": "student"},
    ]
    pods = launched + [
        each["spec"]["template"]["metadata"]["labels"] for each in manifests if each["kind"] == "Deployment"
    ]
    pods += [each["metadata"]["labels"] for each in rendered(hooks=True)]  # of `helm test`
    for policy in (each for each in manifests if each["kind"] == "NetworkPolicy"):
        rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
        peers = [peer for rule in rules for peer in [*rule.get("from", []), *rule.get("to", [])]]
        selectors = [policy["spec"]["podSelector"]]
        selectors += [
            peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer
        ]
        for selector in selectors:
            wanted = selector.get("matchLabels", {}).items()
            assert any(wanted <= labels.items() for labels in pods), f"{policy['metadata']['name']}: {selector}"


def test_the_webserver_is_reached_through_the_login_only() -> None:
    manifests = rendered([VALUE_SETS["production"]])
    (ingress,) = (each for each in manifests if each["kind"] == "Ingress")
    backends = [
        path["backend"]["service"]["name"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]
    ]
    assert backends == ["openthoughts-login"]
    policy = find(manifests, "NetworkPolicy", "openthoughts-webserver")["spec"]["ingress"]
    (peer,) = policy[0]["from"]
    login = find(manifests, "Deployment", "openthoughts-login")["spec"]["template"]
    assert peer["podSelector"]["matchLabels"].items() <= login["metadata"]["labels"].items()
    upstream = next(arg for arg in login["spec"]["containers"][0]["args"] if arg.startswith("--upstream="))
    host, port = upstream.removeprefix("--upstream=http://").split(":")
    assert [each["port"] for each in find(manifests, "Service", host)["spec"]["ports"]] == [int(port)]


def test_priorities_let_training_take_the_place_of_generation_and_never_the_other_way_round() -> None:
    classes = {each["metadata"]["name"]: each for each in rendered() if each["kind"] == "PriorityClass"}
    generation, training = classes["openthoughts-generation"], classes["openthoughts-training"]
    assert generation["value"] < training["value"]
    assert generation["preemptionPolicy"] == "Never"
    assert not any(each["globalDefault"] for each in classes.values())


def _containers(pod: Manifest) -> Iterator[dict[str, Any]]:
    yield from pod.get("initContainers", [])
    yield from pod["containers"]
