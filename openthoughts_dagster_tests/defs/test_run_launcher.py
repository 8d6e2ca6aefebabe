"""Run monitoring and an API server that is away: no second pod beside the first, and a lost one is still found."""

import socket
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from openthoughts_dagster.defs.kubernetes.run_launcher import PatientRunLauncher


@pytest.fixture
def launcher(tmp_path: Path) -> PatientRunLauncher:
    """A launcher whose API server nobody is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{probe.getsockname()[1]}"
    user, cluster = {"name": "nobody", "user": {}}, {"name": "away", "cluster": {"server": address}}
    context = {"name": "away", "context": {"cluster": "away", "user": "nobody"}}
    kubeconfig = {"current-context": "away", "contexts": [context], "clusters": [cluster], "users": [user]}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    return PatientRunLauncher(
        service_account_name="none",
        instance_config_map="none",
        dagster_home="/none",
        job_image="none",
        load_incluster_config=False,
        kubeconfig_file=str(tmp_path / "kubeconfig"),
    )


def test_a_run_goes_on_while_nobody_can_say(launcher: PatientRunLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_k8s.client.time.sleep", lambda _: None)
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_whose_job_is_gone_is_lost(launcher: PatientRunLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher._api_client, "get_job_status", lambda **_: None)
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        assert launcher.check_run_worker_health(run).status is WorkerStatus.UNKNOWN
