"""How fast confined programs run beside lighteval's own unconfined runner, HumanEval's solutions in confinement, and
what one benchmark more costs beside generation.

    .venv/bin/python benchmarks/evaluation.py [--programs 2000] [--peer-programs 200] [--humaneval FILE] [--json FILE]

Each program reads a number and prints a sum. Both runners get the same programs, tests and processes at once. The rate
of lighteval's is measured on fewer programs, because it starts two processes for each. `--humaneval` names the file
HumanEval.jsonl.gz: all canonical solutions have to pass, and all of them with a changed result have to fail.

`task_overhead_seconds` is the processor time by which an evaluation of three benchmarks takes longer with a fourth one,
when the model answers at once. Of four kinds of benchmark the slowest counts. Its data set is opened for the first
time, and its answers are judged; the processes that run programs and judge math stand already, for the first three.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openthoughts_dagster.evaluation import evaluate
from openthoughts_dagster.evaluation.confined import Limits, ProgramPool
from openthoughts_dagster.evaluation.program_tests import check_test, stdin_test
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.recipe import Evaluation

PROGRAM = "n = int(input())\nprint(sum(i * i for i in range(n)))\n"
LIMITS = Limits(seconds=20, cpu_seconds=10)
MUTATION = """
_right = {name}
def {name}(*a):
    v = _right(*a)
    return not v if isinstance(v, bool) else v + 1 if isinstance(v, (int, float)) else [v]
"""


def confined_rate(pool: ProgramPool, programs: int) -> float:
    """Programs per second in confinement."""
    tests = [stdin_test(PROGRAM, str(n), str(sum(i * i for i in range(n))), LIMITS) for n in range(programs)]
    pool.run([test.task for test in tests[:20]], LIMITS)
    start = time.monotonic()
    outcomes = pool.run([test.task for test in tests], LIMITS)
    seconds = time.monotonic() - start
    assert all(test.passes(outcome) for test, outcome in zip(tests, outcomes, strict=True))
    return programs / seconds


def lighteval_rate(programs: int, workers: int) -> float:
    """Programs per second with lighteval's own runner."""
    from lighteval.tasks.tasks.lcb.codegen_metrics import evaluate_generations

    samples = [
        {"input_output": json.dumps({"inputs": [str(n)], "outputs": [str(sum(i * i for i in range(n)))]})}
        for n in range(programs)
    ]
    start = time.monotonic()
    results = evaluate_generations(samples, [[PROGRAM]] * programs, num_process_evaluate=workers)
    seconds = time.monotonic() - start
    assert all(result == [[True]] for result in results.values()), results
    return programs / seconds


def humaneval(pool: ProgramPool, path: Path) -> tuple[float, float]:
    """Shares of canonical solutions that pass, and of mutated ones that fail."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]

    def passes(row: dict[str, str], mutated: bool) -> bool:
        program = row["prompt"] + row["canonical_solution"] + (MUTATION.format(name=row["entry_point"]) * mutated)
        test = check_test(row["prompt"], row["entry_point"], row["test"], program, LIMITS)
        return test.passes(pool.run_one(test.task, LIMITS))

    with ThreadPoolExecutor(pool.workers) as threads:
        right = list(threads.map(lambda row: passes(row, False), rows))
        mutants = list(threads.map(lambda row: passes(row, True), rows))
    return sum(right) / len(rows), 1 - sum(mutants) / len(rows)


def task_overheads(folder: Path, repeats: int = 5) -> dict[str, float]:
    """Seconds that one benchmark more adds to an evaluation, by kind: the fastest with it less the fastest without."""
    sums = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(100)]
    tests = [{"input": "1", "output": "1"}]
    _write_rows(folder / "sums.jsonl", sums)
    _write_rows(folder / "programs.jsonl", [{"question": "Print 1.", "tests": tests}] * 10)
    alone: list[float] = []
    kinds: dict[str, list[float]] = {}
    _seconds(folder, _THREE)  # imports lighteval
    for number in range(repeats):
        _write_rows(folder / f"sums{number}.jsonl", sums)
        _write_rows(folder / f"programs{number}.jsonl", [{"question": "Print 1.", "tests": tests}] * 10)
        for name in ("paper", "shipped"):
            problems = [{"problem": row["question"], "answer": row["answer"]} for row in sums[:30]]
            _write_rows(folder / f"{name}{number}" / "train.jsonl", problems)
        more = {
            "file": {"path": f"sums{number}.jsonl"},
            "programs": {"path": f"programs{number}.jsonl"},
            "paper": {"task": "aime24", "dataset": f"./paper{number}"},
            "lighteval": {"task": "aime24", "match": "math"},
        }
        alone.append(_seconds(folder, _THREE))
        for kind, settings in more.items():
            copies = {"HuggingFaceH4/aime_2024": f"shipped{number}"}
            four = [*_THREE, {"name": "more", "kind": kind} | settings]
            kinds.setdefault(kind, []).append(_seconds(folder, four, copies))
    return {kind: min(seconds) - min(alone) for kind, seconds in kinds.items()}


_THREE = [
    {"name": "number", "kind": "file", "path": "sums.jsonl"},
    {"name": "math", "kind": "file", "path": "sums.jsonl", "match": "math"},
    {"name": "programs", "kind": "programs", "path": "programs.jsonl"},
]


def _seconds(folder: Path, benchmarks: list[dict[str, str]], copies: dict[str, str] | None = None) -> float:
    evaluation = Evaluation.model_validate({"benchmarks": benchmarks})

    def resolve(path: str) -> str:
        return str(folder / (copies or {}).get(path, path))

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        return [[Answer("key", n, None, "print(1)", "stop", None, 1, 1) for n in range(p.samples)] for p in prompts]

    start = sum(os.times()[:4])  # processor time, also of processes that ended: other work here does not count
    evaluate(evaluation, resolve, ask, folder / "out", "instant")
    return sum(os.times()[:4]) - start


def _write_rows(path: Path, rows: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=2000, help="programs in confinement")
    parser.add_argument("--peer-programs", type=int, default=200, help="programs with lighteval's runner")
    parser.add_argument("--humaneval", type=Path, help="HumanEval.jsonl.gz")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    with ProgramPool(workers=workers) as pool:
        ours = confined_rate(pool, options.programs)
        solved = humaneval(pool, options.humaneval) if options.humaneval else None
        way = pool.way
    peer = lighteval_rate(options.peer_programs, workers)
    with tempfile.TemporaryDirectory() as folder:
        overheads = task_overheads(Path(folder))
    figures = [
        {"name": "confined_programs", "value": ours, "unit": "1/s", "goal": None},
        {"name": "lighteval_programs", "value": peer, "unit": "1/s", "goal": None},
        {"name": "confined_over_lighteval", "value": ours / peer, "unit": "", "goal": 0.8},
        *(
            {"name": f"task_overhead_{kind}", "value": seconds, "unit": "s", "goal": None}
            for kind, seconds in overheads.items()
        ),
        {"name": "task_overhead_seconds", "value": max(overheads.values()), "unit": "s", "goal": 0.3},
    ]
    if solved is not None:
        figures += [
            {"name": "humaneval_solutions_pass", "value": solved[0], "unit": "", "goal": 1.0},
            {"name": "humaneval_mutants_fail", "value": solved[1], "unit": "", "goal": 1.0},
        ]
    print(f"confined by {way}, {workers} at once")
    for figure in figures:
        print(f"{figure['name']:<28}{figure['value']:>10.2f} {figure['unit']:<5}goal {figure['goal'] or '-'}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
