"""Who may talk to whom by the chart's NetworkPolicies: every flow that is used is open at both ends, others are not.

The rules of NetworkPolicy are applied here, as a network plugin does it: a pod that any policy chooses may do what some
policy allows, in each direction for itself.
"""

import ipaddress
from typing import Any

import pytest

from openthoughts_dagster.evaluation.confined.pod_manifests import WORK_LABEL
from openthoughts_dagster_tests.kubernetes.rendering import VALUE_SETS, Manifest, rendered

pytestmark = pytest.mark.kubernetes

# A pod by its labels, or an address outside; `@namespace` is another namespace's pod.
Peer = dict[str, str] | str
DAGSTER, OURS = {"app.kubernetes.io/name": "dagster"}, {"app.kubernetes.io/name": "openthoughts"}
WEBSERVER = DAGSTER | {"component": "dagster-webserver"}
DAEMON = DAGSTER | {"component": "dagster-daemon"}
RUN = DAGSTER | {"app.kubernetes.io/component": "run_worker"}
STEP = DAGSTER | {"app.kubernetes.io/component": "step_worker", "openthoughts/work": "teacher"}
TRAINING = {"openthoughts/work": "student", "batch.kubernetes.io/job-name": "training"}
CODE = OURS | {"app.kubernetes.io/component": "code-location"}
TEACHER = OURS | {"app.kubernetes.io/component": "teacher"}
LOGIN = OURS | {"app.kubernetes.io/component": "login"}
DNS = {"@namespace": "kube-system", "k8s-app": "kube-dns"}
INGRESS = {"@namespace": "ingress-nginx", "app": "controller"}
STRANGER = {"@namespace": "default", "app": "shell"}
API, DATABASE, INTERNET, METADATA = "10.0.0.1", "10.0.32.7", "52.216.1.1", "169.254.169.254"


@pytest.mark.parametrize("values", VALUE_SETS)
@pytest.mark.parametrize(
    ("who", "whom", "port"),
    [
        *((who, CODE, 3030) for who in (WEBSERVER, DAEMON)),
        *((who, API, 443) for who in (WEBSERVER, DAEMON, RUN, STEP)),
        *((who, DATABASE, 5432) for who in (WEBSERVER, DAEMON, RUN, STEP, CODE)),
        *((who, INTERNET, 443) for who in (WEBSERVER, DAEMON, RUN, STEP, CODE, TRAINING)),
        *((who, DNS, 53) for who in (WEBSERVER, DAEMON, RUN, STEP, CODE, TRAINING)),
        (TRAINING, TRAINING, 29500),
    ],
)
def test_what_is_used_is_open(values: str, who: Peer, whom: Peer, port: int) -> None:
    assert allowed(_policies(values), who, whom, port)


@pytest.mark.parametrize("values", VALUE_SETS)
@pytest.mark.parametrize(
    ("who", "whom", "port"),
    [
        *((STRANGER, whom, port) for whom, port in ((WEBSERVER, 8080), (CODE, 3030), (TEACHER, 8000), (LOGIN, 4180))),
        *((STEP, whom, port) for whom, port in ((WEBSERVER, 8080), (RUN, 22), (TRAINING, 29500), (LOGIN, 4180))),
        *((who, METADATA, 80) for who in (WEBSERVER, RUN, STEP, CODE, TRAINING, TEACHER)),
        *((who, METADATA, 443) for who in (STEP, TRAINING)),
        (STEP, INTERNET, 80),
        (TRAINING, DATABASE, 5432),
        (CODE, TEACHER, 8000),
        (INGRESS, WEBSERVER, 8080),
    ],
)
def test_what_is_not_used_is_closed(values: str, who: Peer, whom: Peer, port: int) -> None:
    assert not allowed(_policies(values), who, whom, port)


def test_people_come_in_through_the_login_and_steps_reach_served_teachers() -> None:
    policies = _policies("production")
    assert allowed(policies, INGRESS, LOGIN, 4180) and allowed(policies, LOGIN, WEBSERVER, 8080)
    assert allowed(policies, STEP, TEACHER, 8000)
    assert not allowed(policies, LOGIN, CODE, 3030) and not allowed(policies, LOGIN, DATABASE, 5432)


def test_programs_that_models_write_reach_nobody_and_nobody_reaches_them() -> None:
    values = {"programPods": {"enabled": True}, "cluster": {"programs": {"runtime_class": "gvisor"}}}
    policies = [
        each for each in rendered([VALUE_SETS["production"]], overrides=values) if each["kind"] == "NetworkPolicy"
    ]
    programs = {**WORK_LABEL, "batch.kubernetes.io/job-name": "programs-1"}
    for other, port in ((DNS, 53), (INTERNET, 443), (API, 443), (DATABASE, 5432), (METADATA, 80), (CODE, 3030)):
        assert not allowed(policies, programs, other, port)
        assert not allowed(policies, other, programs, port) or isinstance(other, str)
    assert not allowed(policies, programs, programs, 8000) and not allowed(policies, STEP, programs, 22)
    assert allowed(policies, STEP, INTERNET, 443) and allowed(policies, CODE, DNS, 53)  # others lose nothing


def allowed(policies: list[Manifest], who: Peer, whom: Peer, port: int) -> bool:
    """Whether a connection from `who` to `whom` is let out there and in here."""
    return _passes(policies, who, whom, port, "Egress") and _passes(policies, whom, who, port, "Ingress")


def _passes(policies: list[Manifest], subject: Peer, other: Peer, port: int, direction: str) -> bool:
    if isinstance(subject, str) or "@namespace" in subject:
        return True  # not of this namespace: others' policies decide
    chosen = [
        each["spec"]
        for each in policies
        if direction in each["spec"]["policyTypes"] and _matches(each["spec"]["podSelector"], subject)
    ]
    rules = [rule for spec in chosen for rule in spec.get(direction.lower(), [])]
    every = [{"port": port}]
    side = "to" if direction == "Egress" else "from"
    return not chosen or any(
        any(_is(peer, other) for peer in rule[side]) and port in [each.get("port") for each in rule.get("ports", every)]
        for rule in rules
    )


def _is(peer: dict[str, Any], other: Peer) -> bool:
    if "ipBlock" in peer:
        if not isinstance(other, str):
            return False  # pods have addresses too, which nothing here allows by range but the API server's
        address = ipaddress.ip_address(other)
        excluded = any(address in ipaddress.ip_network(cidr) for cidr in peer["ipBlock"].get("except", []))
        return address in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and not excluded
    if isinstance(other, str):
        return False
    namespace = other.get("@namespace")
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": namespace or "openthoughts"}
        return _matches(peer["namespaceSelector"], named) and _matches(peer.get("podSelector", {}), other)
    return namespace is None and _matches(peer["podSelector"], other)


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "NotIn", "not understood here"
        if labels.get(each["key"]) in each["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def _policies(values: str) -> list[Manifest]:
    return [each for each in _rendered(values) if each["kind"] == "NetworkPolicy"]


def _rendered(values: str) -> list[Manifest]:
    if values not in _known:
        _known[values] = rendered([VALUE_SETS[values]])
    return _known[values]


_known: dict[str, list[Manifest]] = {}
