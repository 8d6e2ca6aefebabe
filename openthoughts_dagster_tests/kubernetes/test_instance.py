"""The instance that the chart describes is one that Dagster takes, and its runs are what we want in a cluster."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job

from openthoughts_dagster_tests.kubernetes.rendering import (
    VALUE_SETS,
    Manifest,
    find,
    instance_settings,
    rendered,
)

pytestmark = pytest.mark.kubernetes


@pytest.fixture(params=VALUE_SETS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered([VALUE_SETS[request.param]])


@pytest.fixture
def instance(manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DagsterInstance:
    """An instance as Dagster makes it of the chart's dagster.yaml; only PostgreSQL is left out, which would connect."""
    from dagster._core.instance.ref import InstanceRef

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "secret")
    for name, value in {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    settings = instance_settings(manifests)
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        del settings[storage]
    # A kubeconfig in place of the pod's own ServiceAccount, which only a pod has.
    settings["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(_kubeconfig(tmp_path)),
    }
    ref = InstanceRef.from_dir(str(tmp_path), overrides=settings)
    return DagsterInstance.from_ref(ref)


def test_the_instance_of_every_value_set_loads(instance: DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, K8sRunLauncher)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert isinstance(instance.compute_log_manager, S3ComputeLogManager)
    assert instance.run_monitoring_enabled and instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2
    assert not instance.run_retries_retry_on_asset_or_op_failure
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
    assert instance.run_monitoring_max_resume_run_attempts > 0
    assert not instance.telemetry_enabled


def test_postgresql_is_told_its_password_by_a_variable_only(manifests: list[Manifest]) -> None:
    settings = instance_settings(manifests)
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        assert settings[storage]["config"]["postgres_db"]["password"] == {"env": "DAGSTER_PG_PASSWORD"}


def test_postgresql_storage_settings_are_valid(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_postgres.run_storage import PostgresRunStorage

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "secret")
    config = instance_settings(manifests)["run_storage"]["config"]
    result = process_config(resolve_to_config_type(PostgresRunStorage.config_type()), config)
    assert result.success, result.errors


def test_two_runs_of_one_partition_do_not_run_at_once(instance: DagsterInstance) -> None:
    limits = instance.get_concurrency_config().run_queue_config.tag_concurrency_limits  # type: ignore[union-attr]
    by_key = {limit["key"]: limit for limit in limits}
    assert by_key["dagster/partition"]["limit"] == 1
    assert by_key["dagster/partition"]["value"] == {"applyLimitPerUniqueValue": True}


def test_webserver_and_daemon_find_the_code_location(manifests: list[Manifest]) -> None:
    import yaml

    workspace = yaml.safe_load(find(manifests, "ConfigMap", "dagster-workspace-yaml")["data"]["workspace.yaml"])
    (server,) = (entry["grpc_server"] for entry in workspace["load_from"])
    service = find(manifests, "Service", server["host"])
    assert [port["port"] for port in service["spec"]["ports"]] == [server["port"]]
    assert server["location_name"] == "openthoughts"


def test_runs_get_what_the_code_location_has_and_meet_the_restricted_standard(
    manifests: list[Manifest], instance: DagsterInstance
) -> None:
    code = find(manifests, "Deployment", "openthoughts-code")["spec"]["template"]["spec"]["containers"][0]
    job = run_job(instance, code)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == code["image"]
    variables = [next(iter(each.values()))["name"] for each in container["envFrom"]]
    assert variables == [next(iter(each.values()))["name"] for each in code["envFrom"]]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    # A run is told its instance in its arguments.
    assert {mount["mountPath"] for mount in code["volumeMounts"] if mount["name"] != "instance"} <= mounted
    assert pod["serviceAccountName"] == "openthoughts-run"
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == restricted | {"readOnlyRootFilesystem": True}
    assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() >= {"cpu", "memory"}
    assert job["spec"]["backoffLimit"] == 0
    names = [volume["name"] for volume in pod["volumes"]]
    assert len(names) == len(set(names))


def run_job(instance: DagsterInstance, code: Mapping[str, Any]) -> dict[str, Any]:
    """The Job of a run as dagster-k8s makes it of the launcher's settings and the code location's."""
    from kubernetes.client import ApiClient

    launcher = instance.run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    given = {each["name"]: each.get("value") for each in code["env"]}
    repository = RepositoryPythonOrigin(
        executable_path="python",
        code_pointer=ModuleCodePointer("openthoughts_dagster.definitions", "defs"),
        container_image=given["DAGSTER_CURRENT_IMAGE"],
        container_context=json.loads(given["DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT"]),
    )
    run = DagsterRun(job_name="job", job_code_origin=JobPythonOrigin("job", repository))
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
    config = context.get_k8s_job_config(given["DAGSTER_CURRENT_IMAGE"], launcher)
    job = construct_dagster_k8s_job(
        config, args=["dagster"], job_name="run", component="run_worker", user_defined_k8s_config=context.run_k8s_config
    )
    manifest: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return manifest


def _kubeconfig(folder: Path) -> Path:
    import yaml

    path = folder / "kubeconfig"
    user, cluster = {"name": "nobody", "user": {}}, {"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "none", "context": {"cluster": "none", "user": "nobody"}}
    path.write_text(
        yaml.safe_dump(
            {"current-context": "none", "contexts": [context], "clusters": [cluster], "users": [user]},
        )
    )
    return path
