"""How fast confined programs run beside lighteval's own unconfined runner, and HumanEval's solutions in confinement.

    .venv/bin/python benchmarks/evaluation.py [--programs 2000] [--peer-programs 200] [--humaneval FILE] [--json FILE]

Each program reads a number and prints a sum. Both runners get the same programs, tests and processes at once. The rate
of lighteval's is measured on fewer programs, because it starts two processes for each. `--humaneval` names the file
HumanEval.jsonl.gz: all canonical solutions have to pass, and all of them with a changed result have to fail.
"""

import argparse
import gzip
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openthoughts_dagster.evaluation.confined import Limits, ProgramPool
from openthoughts_dagster.evaluation.program_tests import check_test, stdin_test

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
    figures = [
        {"name": "confined_programs", "value": ours, "unit": "1/s", "goal": None},
        {"name": "lighteval_programs", "value": peer, "unit": "1/s", "goal": None},
        {"name": "confined_over_lighteval", "value": ours / peer, "unit": "", "goal": 0.8},
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
