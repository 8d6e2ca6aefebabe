"""What generation costs beyond the engine: throughput, planning, publishing again, and one percent more questions.

    .venv/bin/python benchmarks/generation.py [--json FILE] [--scale 0.01] [--no-curator]

Beside us, on the same work in the same run: the bare AsyncLLM loop, the bare AsyncOpenAI loop, bespokelabs-curator in
an environment of its own (made in a temporary folder), and a planning loop over a Python set. `--scale` makes the
partitions of planning and publishing smaller; the goals are for scale 1. Needs about 4 GB of disk and 20 minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from generation_engines import build_model
from generation_planning import SAMPLES, teacher, write_ledger, write_questions

from openthoughts_dagster.lake import Lake

HERE = Path(__file__).parent
CURATOR = "bespokelabs-curator==0.1.31"
QUESTIONS, FINISHED, CALLS, BARE, CALLS_OF_CURATOR, PROMPTS = 1_200_000, 75_000, 20_000, 4_000, 4_000, 100


def measure(script: str, *arguments: str, python: str = sys.executable) -> dict[str, float]:
    """The figures that a script of this folder prints last. Raises CalledProcessError with its output on stderr."""
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


@contextmanager
def stub_server() -> Iterator[str]:
    """The address of a server that answers at once."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "stub_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(30)


def curator_environment(folder: Path) -> str:
    """Python of a new environment with bespokelabs-curator, whose pins are not ours."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", CURATOR], check=True, stderr=subprocess.DEVNULL)
    return python


def planning(folder: Path, model: str, scale: float) -> list[dict[str, Any]]:
    """Planning a partition of which nine tenths are committed, and publishing a finished one again."""
    large, finished, small = folder / "large", folder / "finished", folder / "small"
    write_questions(Lake(large), int(QUESTIONS * scale))
    write_ledger(Lake(large), teacher(model), 0.9)
    ours, plain = (measure("generation_planning.py", what, str(large), model) for what in ("plan", "plain_plan"))
    assert ours["completions"] == plain["completions"], (ours, plain)
    write_questions(Lake(finished), int(FINISHED * scale))
    write_ledger(Lake(finished), teacher(model), 1.1)
    noop = measure("generation_planning.py", "noop", str(finished), model)
    assert noop["answers"] == int(FINISHED * scale) * SAMPLES
    more = measure("generation_planning.py", "increment", str(small), model)
    increment = more["generated"] / more["needed"]
    return [
        _figure("plan_seconds", ours["seconds"], "s", 30, "set loop", plain["seconds"]),
        _figure("plan_gigabytes", ours["gigabytes"], "GB", 4, "set loop", plain["gigabytes"]),
        _figure("noop_seconds", noop["seconds"], "s", 10, "first publish", noop["first"]),
        _figure("increment_completions_over_needed", increment, "", 1, "all again", more["first"] / more["needed"]),
    ]


def engines(folder: Path, curator: bool) -> list[dict[str, Any]]:
    """Our engines with ledger and commits beside the bare loops."""
    model = folder / "model"
    build_model(model)
    vllm = measure("generation_engines.py", "vllm", str(model), str(PROMPTS))
    with stub_server() as address:
        # by turns: what else the machine does falls on both
        turns = [
            [
                measure("generation_engines.py", what, address, str(n))
                for what, n in (("bare_openai", BARE), ("openai", CALLS))
            ]
            for _ in range(3)
        ]
        bare, ours = sorted(turns, key=lambda turn: turn[1]["rate"] / turn[0]["rate"])[1]
        figures = [
            _figure("throughput_over_raw_vllm", vllm["ratio"], "", 0.98, "raw AsyncLLM", 1.0),
            _figure("vllm_tokens_per_second", vllm["ours"], "tokens/s", None, "raw AsyncLLM", vllm["bare"]),
            _figure("openai_rate_over_bare_loop", ours["rate"] / bare["rate"], "", 0.8, "bare AsyncOpenAI", 1.0),
            _figure("openai_rate", ours["rate"], "completions/s", None, "bare AsyncOpenAI", bare["rate"]),
            _figure("openai_gigabytes", ours["gigabytes"], "GB", None, "bare AsyncOpenAI", bare["gigabytes"]),
        ]
        if curator:
            peer = measure(
                "curator_peer.py", address, str(CALLS_OF_CURATOR), python=curator_environment(folder / "curator")
            )
            figures += [
                _figure("openai_rate_over_curator", ours["rate"] / peer["rate"], "", None, "curator", 1.0),
                _figure("curator_rate", peer["rate"], "completions/s", None, "ours", ours["rate"]),
                _figure("curator_gigabytes", peer["gigabytes"], "GB", None, "ours", ours["gigabytes"]),
            ]
    return figures


def _figure(name: str, value: float, unit: str, goal: float | None, peer: str, peer_value: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "peer": peer, "peer_value": peer_value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the planning benchmarks; the goals are for 1")
    parser.add_argument("--no-curator", action="store_true", help="leave the peer that has to be installed out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = engines(folder, not options.no_curator)
        figures += planning(folder, str(folder / "model"), options.scale)
    print(f"{'figure':<36}{'ours':>12} {'unit':<15}{'goal':>6}   beside us")
    for f in figures:
        goal = "" if f["goal"] is None else f"{f['goal']:g}"
        print(f"{f['name']:<36}{f['value']:>12,.3f} {f['unit']:<15}{goal:>6}   {f['peer']}: {f['peer_value']:,.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
