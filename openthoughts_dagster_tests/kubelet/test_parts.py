"""Parts of the kubelet that need no control plane: quantities, variables, images, memory."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubelet import packages_without
from openthoughts_dagster_tests.kubelet.memory import tree_memory
from openthoughts_dagster_tests.kubelet.names import hostname
from openthoughts_dagster_tests.kubelet.probes import Probe
from openthoughts_dagster_tests.kubelet.values import expand, field, quantity, resource

POD: dict[str, Any] = {
    "metadata": {"name": "web-0", "labels": {"app": "web", "zone": "a"}, "annotations": {"note": "x"}},
    "spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "2Gi"}}}]},
}


@pytest.mark.parametrize(
    ("text", "number"), [("1500m", 1.5), ("2Gi", 2 * 2**30), ("5", 5), (3, 3), ("1e3", 1000), ("1M", 1e6)]
)
def test_a_quantity_is_the_number_that_kubernetes_reads(text: str | int, number: float) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "2GB", "-", "Gi"])
def test_a_text_that_is_no_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)


def test_variables_are_expanded_as_in_commands_of_containers() -> None:
    assert expand("$(A)/$(B)/$$(A)/$A", {"A": "1"}) == "1/$(B)/$(A)/$A"


def test_fields_and_resources_of_a_pod_are_found() -> None:
    assert field(POD, "metadata.labels['app']") == "web"
    assert field(POD, "metadata.labels") == 'app="web"\nzone="a"'
    assert field(POD, "metadata.name") == hostname(POD) == "web-0"
    main = POD["spec"]["containers"][0]
    assert resource(POD, main, {"resource": "limits.cpu"}) == "2"
    assert resource(POD, main, {"resource": "limits.memory", "divisor": "1Mi"}) == "2048"


def test_a_probe_decides_after_enough_results_in_a_row() -> None:
    probe = Probe({"tcpSocket": {"port": 1}, "periodSeconds": 0, "failureThreshold": 2}, {}, lambda _: pytest.fail(""))
    probe.tick()
    assert probe.passed is None
    probe.tick()
    assert probe.passed is False


def test_the_memory_of_a_process_counts_what_it_started() -> None:
    child = "x = b'1' * (60 << 20); import time; time.sleep(60)"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {child!r}])"]
    )
    try:
        wait_for(lambda: tree_memory(parent.pid) > 60 << 20, 30, "the child's memory")
    finally:
        for process in psutil.Process(parent.pid).children():
            process.kill()
        parent.kill()
        parent.wait()


def test_an_image_can_lack_a_package(tmp_path: Path) -> None:
    folder = packages_without(tmp_path / "site", ("torch",))
    names = {entry.name for entry in folder.iterdir()}
    assert "torch" not in names and not any(name.startswith("torch-") for name in names)
    assert "dagster" in names and "torchrun" not in names
