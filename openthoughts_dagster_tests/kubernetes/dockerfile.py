"""The Dockerfile as stages of instructions, and its install steps run without a container engine.

    python -m openthoughts_dagster_tests.kubernetes.dockerfile TARGET FOLDER

runs the pip steps of an image in FOLDER, in environments of their own and on no more files than are copied into the
image, and checks what comes out: it loads, the image `code` has no torch and the image `gpu` has vLLM, and its health
check finds its server well. `code` takes 4 minutes; `gpu` downloads 6 GB and needs python3.12.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LOADS = (
    "import openthoughts_dagster.definitions as code; assert 'site-packages' in code.__file__, code.__file__; "
    "import dagster_aws.s3, dagster_k8s, dagster_postgres, dagster_webserver, fasttext; "
    "from transformers import AutoTokenizer; from importlib.util import find_spec; "
)
_HAS = {
    "code": "assert find_spec('torch') is None, 'the image code has torch'",
    "gpu": "import torch, vllm, trl, lighteval; assert torch.version.cuda, 'a torch without CUDA'",
}


@dataclass
class Stage:
    """One FROM with what follows: (instruction, arguments) without comments and with lines joined."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, instruction: str) -> list[str]:
        """Of every instruction of that name."""
        return [arguments for name, arguments in self.steps if name == instruction]


def stages(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile by name."""
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in _instructions(text):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            base, _, alias = arguments.partition(" AS ")
            stage = found.setdefault(alias, Stage(alias, base))
        elif stage is not None:
            stage.steps.append((name, arguments.strip()))
    return found


def install(stage: Stage, folder: Path) -> None:
    """Copy and run what installs with pip, with /opt, /src and /wheels below `folder`. Raises CalledProcessError."""
    for name, arguments in stage.steps:
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            for source in sources:
                _copied(ROOT / source, folder / "src" / target, into=target.endswith("/"))
        elif name == "RUN":
            commands = re.sub(r"--mount=\S+\s+", "", arguments).split(" && ")
            command = " && ".join(each for each in commands if re.match(r"(pip|python)", each.strip()))
            command = re.sub(r"(?<![\w.])/(opt|src|wheels)\b", rf"{folder}/\1", command)
            if not command:
                continue  # what makes users and folders, or installs with apt
            print(f"{stage.name}: {command}", flush=True)
            path = f"{folder}/opt/venv/bin:{os.environ['PATH']}"
            variables = {"PATH": path, "HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
            subprocess.run(["bash", "-ec", command], cwd=folder / "src", check=True, env=variables)


def _instructions(text: str) -> Iterator[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return iter(re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines())


def _copied(source: Path, target: Path, into: bool) -> None:
    target = target / source.name if into else target
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _check(target: str, folder: Path, health: list[str]) -> None:
    variables = {"PATH": f"{folder}/opt/venv/bin:/usr/bin:/bin", "HOME": str(folder), "DAGSTER_HOME": str(folder)}
    variables |= {"OPENTHOUGHTS_DATA": str(folder / "data"), "HF_HUB_OFFLINE": "1"}
    for command in (["python", "-c", _LOADS + _HAS[target]], ["openthoughts", "doctor"]):
        subprocess.run(command, cwd=folder, env=variables, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = ["dagster", "api", "grpc", "--host", "127.0.0.1", "--port", port]
    process = subprocess.Popen(
        [*server, "--module-name", "openthoughts_dagster.definitions"], cwd=folder, env=variables
    )
    try:
        until = time.monotonic() + 120
        while subprocess.run([*health[:-1], port], cwd=folder, env=variables).returncode:
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit("the code server did not become well")
            time.sleep(1)
    finally:
        process.terminate()
        process.wait(30)


def _main(target: str, folder: Path) -> None:
    found = stages((ROOT / "Dockerfile").read_text())
    (folder / "src").mkdir(parents=True)
    # The wheel is built in an environment of its own, as in the image.
    build = folder / "build"
    (build / "src").mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", str(build / "opt" / "venv")], check=True)
    install(found["wheel"], build)
    shutil.copytree(build / "wheels", folder / "wheels")
    if target == "code":
        install(found["code-dependencies"], folder)
    install(found[target], folder)
    shutil.rmtree(folder / "src")
    (health,) = found[target].arguments("HEALTHCHECK")
    _check(target, folder, re.findall(r'"([^"]*)"', health))
    print(f"the image {target} installs, loads, and is well")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]).resolve())
