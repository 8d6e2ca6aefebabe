"""Rights are those that are used: by the audit log of all tests before, and by taking them away one by one."""

from typing import Any

import pytest

from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.installing import Installed
from openthoughts_dagster_tests.kubernetes.quickstart_release import MADE
from openthoughts_dagster_tests.kubernetes.release import since_now
from openthoughts_dagster_tests.kubernetes.rendering import find

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

ACCOUNTS = {"launcher": ["openthoughts-launcher"], "run": ["openthoughts-run", "openthoughts-several-nodes"]}
Right = tuple[str, str]  # a verb, and a resource with its subresource


def granted(release: Installed, who: str) -> set[Right]:
    """What the chart's Roles of an account allow."""
    rules = [rule for name in ACCOUNTS[who] for rule in find(release.manifests, "Role", name)["rules"]]
    return {(verb, what) for rule in rules for what in rule["resources"] for verb in rule["verbs"]}


def asked(release: Installed, who: str) -> list[dict[str, Any]]:
    """What the account asked of the API server, but for what every client asks about itself."""
    user = f"system:serviceaccount:{release.namespace}:openthoughts-{who}"
    return [entry for entry in release.plane.audited() if entry["user"] == user and entry["resource"]]


@pytest.mark.parametrize("who", ACCOUNTS)
def test_nothing_is_asked_that_is_not_granted(release: Installed, who: str) -> None:
    refused = [entry for entry in asked(release, who) if entry["code"] == 403]
    assert not refused
    assert {entry["namespace"] for entry in asked(release, who)} == {release.namespace}


def test_the_launcher_can_explain_a_run_that_did_not_start_in_time(release: Installed) -> None:
    """Dagster asks for this after minutes that are not waited for here: of a pod, and of a Job that never got one."""
    from dagster_k8s.client import DagsterKubernetesClient
    from kubernetes import client

    create = release.core.create_namespaced_service_account_token
    token = create("openthoughts-launcher", release.namespace, {"spec": {}}).status.token
    launcher = release.plane.client(token)
    ask = DagsterKubernetesClient.production_client(client.BatchV1Api(launcher), client.CoreV1Api(launcher))
    pod = release.core.list_namespaced_pod(release.namespace, label_selector="dagster/run-id,!dagster/op").items[0]

    assert "Last 25 log lines" in ask.get_pod_debug_info(pod.metadata.name, release.namespace)
    assert "start_time" in ask.get_job_debug_info(pod.metadata.labels["job-name"], release.namespace)


@pytest.mark.parametrize("who", ACCOUNTS)
def test_everything_that_is_granted_was_used(release: Installed, request: pytest.FixtureRequest, who: str) -> None:
    ran = {item.path.name for item in request.session.items}
    if not {"test_end_to_end.py", "test_losses.py", "test_outages.py"} <= ran:
        pytest.skip("the tests that use all rights are not part of this session")
    used = {
        (entry["verb"], "/".join(filter(None, (entry["resource"], entry["subresource"]))))
        for entry in asked(release, who)
        if (entry["code"] or 500) < 300
    }
    assert used == granted(release, who)


@pytest.mark.parametrize("who", ACCOUNTS)
def test_without_any_one_right_the_authorizer_refuses(release: Installed, who: str) -> None:
    assert _may(release, who) == granted(release, who)
    for right in sorted(granted(release, who)):
        with _without(release, who, right):
            assert _may(release, who) == granted(release, who) - {right}


@pytest.mark.parametrize("who", ("launcher", "run", "code", "serving"))
def test_nothing_outside_the_namespace_and_no_secret_can_be_read(release: Installed, who: str) -> None:
    for namespace in ("kube-system", "default", ""):
        assert not any(_allowed(release, who, verb, what, namespace) for verb, what in granted(release, "run"))
    for what in ("secrets", "configmaps", "nodes", "namespaces", "pods/exec"):
        for verb in ("get", "list", "create"):
            assert not _allowed(release, who, verb, what, release.namespace)


def test_a_run_that_may_not_make_jobs_fails_and_says_so(release: Installed) -> None:
    since = since_now()
    with _without(release, "run", ("create", "jobs")):
        run = release.launch("backfill_teacher", MADE, "slow")
        release.wait(run, 180, "FAILURE")
    assert "forbidden" in release.wait_for_reason(run, "cannot create resource", since, 180).text


class _without:
    """The Roles of `who` without one right, for a while."""

    def __init__(self, release: Installed, who: str, right: Right) -> None:
        self._release, self._who, self._right = release, who, right

    def __enter__(self) -> None:
        less = []
        for role in self._roles():
            rules = [rule | {"verbs": self._rest(rule)} for rule in role["rules"]]
            less.append(role | {"rules": [rule for rule in rules if rule["verbs"]]})
        self._apply(less, allowed=False)

    def __exit__(self, *_: object) -> None:
        self._apply(self._roles(), allowed=True)

    def _roles(self) -> list[dict[str, Any]]:
        return [find(self._release.manifests, "Role", name) for name in ACCOUNTS[self._who]]

    def _rest(self, rule: dict[str, Any]) -> list[str]:
        return [verb for verb in rule["verbs"] if verb != self._right[0] or self._right[1] not in rule["resources"]]

    def _apply(self, roles: list[dict[str, Any]], allowed: bool) -> None:
        self._release.apply(*roles)
        verb, what = self._right
        where = self._release.namespace
        wait_for(
            lambda: _allowed(self._release, self._who, verb, what, where) is allowed, 20, "the authorizer's knowledge"
        )


def _may(release: Installed, who: str) -> set[Right]:
    """Which of all rights in question the account has in its namespace."""
    questions = granted(release, "launcher") | granted(release, "run")
    questions |= {("update", "jobs"), ("patch", "jobs"), ("get", "jobs"), ("watch", "pods"), ("create", "pods")}
    return {(verb, what) for verb, what in questions if _allowed(release, who, verb, what, release.namespace)}


def _allowed(release: Installed, who: str, verb: str, what: str, namespace: str) -> bool:
    from kubernetes import client

    resource, _, subresource = what.partition("/")
    group = "batch" if resource == "jobs" else ""
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
    }
    user = f"system:serviceaccount:{release.namespace}:openthoughts-{who}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{release.namespace}", "system:authenticated"]
    spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
    api = client.AuthorizationV1Api(release.client)
    return bool(api.create_subject_access_review({"spec": spec}).status.allowed)
