"""Benchmark of making a release, beside a bare Polars sink and beside `to_parquet` of the package datasets.

    .venv/bin/python benchmarks/release.py [--rows 1200000] [--json FILE]

A lake is filled with answers of 4 kB, 16 of each question, in the order in which shards leave them. Our side chooses
the rows, shuffles them, joins their texts from the ledger, and writes every config. The peers get the same rows in
their final order, already joined, in one Parquet file for each config, and write them once more: what is left is the
writing. Each measurement runs in a process of its own, so that its memory is its own. The goals are for 1.2 million
rows on 2 cores: at least 0.7 of the rows a second of the bare sink, and at most 4 GB.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SAMPLES, CHARACTERS, PART = 16, 4000, 20_000
SOURCES, TEACHER, MODEL = ("sums-a", "sums-b"), "teacher", "model@1"
NOTHING = pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String, "split": pl.String})


def write_lake(root: str, rows: str) -> dict[str, float]:
    """Fill a lake with so many answers to questions of two sources."""
    from openthoughts_dagster.lake import (
        COMPLETIONS,
        DEDUPED_QUESTIONS,
        SCORED_QUESTIONS,
        TEACHER_ANSWERS,
        Lake,
        text_hash,
    )

    lake, count = Lake(root), int(rows) // SAMPLES
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), size)) for size in rng.integers(2, 9, 5000)])
    texts = [f"Question {n} is about {n * 7919 % 10007} and {n % 97} things. What is their sum?" for n in range(count)]
    questions = pl.DataFrame(
        {
            "source": [SOURCES[n % 2] for n in range(count)],
            "question_id": [text_hash(text) for text in texts],
            "domain": "math",
            "question": texts,
            "reference_answer": None,
            "licence": "Apache-2.0",
            "origin": "{}",
            "metadata": "{}",
            "scores": '{"difficulty": 5}',
        },
        schema=DEDUPED_QUESTIONS.schema,
    )
    for source in SOURCES:
        for table in (SCORED_QUESTIONS, DEDUPED_QUESTIONS):
            lake.replace(table, questions.filter(source=source), source=source)
    order = rng.permutation(count * SAMPLES)
    filled: dict[str, Any] = {name: "" if kind == pl.String else 0 for name, kind in COMPLETIONS.schema.items()}
    filled |= {"model": MODEL, "outcome": "answered", "finish_reason": "stop", "error": None, "permanent": False}
    filled |= {"created_at": datetime.now(UTC), "completion_tokens": CHARACTERS // 4}
    for start in range(0, len(order), PART):
        part = order[start : start + PART]
        drawn = rng.choice(words, (len(part), CHARACTERS // 6))
        thoughts = [" ".join(row)[: CHARACTERS - 20] for row in drawn]
        own = pl.DataFrame({"at": part, "reasoning": thoughts}).with_columns(
            completion_id=pl.format("c{}", "at"),
            key=pl.format("k{}", pl.col("at") // SAMPLES),
            sample_index=(pl.col("at") % SAMPLES).cast(pl.Int32),
            content=pl.format("h{}", "at"),
            answer=pl.format("\n\nIt is {}.", "at"),
        )
        rest = [pl.lit(value).alias(name) for name, value in filled.items() if name not in own.columns]
        lake.append(COMPLETIONS, own.drop("at").with_columns(rest).select(list(COMPLETIONS.columns)))
    lake.compact(COMPLETIONS, model=MODEL)
    answers = pl.DataFrame({"at": np.arange(count * SAMPLES)}).with_columns(
        questions["question_id"].gather(np.arange(count * SAMPLES) // SAMPLES),
        questions["source"].gather(np.arange(count * SAMPLES) // SAMPLES),
        sample_index=(pl.col("at") % SAMPLES).cast(pl.Int32),
        teacher=pl.lit(TEACHER),
        model=pl.lit(MODEL),
        key=pl.format("k{}", pl.col("at") // SAMPLES),
        completion_id=pl.format("c{}", "at"),
        content=pl.format("h{}", "at"),
    )
    for source in SOURCES:
        own = answers.filter(source=source).select(list(TEACHER_ANSWERS.columns))
        lake.replace(TEACHER_ANSWERS, own, source=source, teacher=TEACHER)
    return {"rows": count * SAMPLES}


def measure_release(root: str, folder: str) -> dict[str, float]:
    """Make the release: seconds of choosing and of the files, and the most memory."""
    from openthoughts_dagster.lake import Lake
    from openthoughts_dagster.recipe import Recipe
    from openthoughts_dagster.release import choose_rows
    from openthoughts_dagster.release.files import write_files

    source = {"domain": "math", "reader": "files", "path": "none.jsonl", "licence": "Apache-2.0"}
    recipe = Recipe.model_validate(
        {
            "name": "benchmark",
            "description": "None.",
            "sources": [source | {"name": name} for name in SOURCES],
            "teachers": [{"name": TEACHER, "model": "model"}],
            "student": {"name": "student", "model": "model", "preset": "tiny"},
            "evaluation": {"benchmarks": [{"name": "b", "kind": "file", "path": "none.jsonl"}]},
            "release": {"name": "r", "title": "R", "licence": "Apache-2.0", "sources": list(SOURCES)},
        }
    )
    lake, start = Lake(root), time.monotonic()
    chosen = choose_rows(lake, recipe, TEACHER, NOTHING)
    choosing = time.monotonic() - start
    Path(folder).mkdir()
    assert recipe.release is not None
    sizes = write_files(
        lake, chosen.rows, chosen.rejected, Path(folder), recipe.release.shard_size, Path(folder) / "scratch"
    )
    seconds = time.monotonic() - start
    return {
        "rows": sizes["default"].rows,
        "seconds": seconds,
        "choosing": choosing,
        "bytes": sum(size.file_bytes for size in sizes.values()),
        "gigabytes": _peak(),
    }


def join_files(folder: str, target: str) -> dict[str, float]:
    """Put the files of each config into one, for the peers."""
    from openthoughts_dagster.release.columns import CONFIGS

    for name, config in CONFIGS.items():
        if (Path(folder) / config.folder).is_dir():
            pl.scan_parquet(f"{folder}/{config.folder}/*.parquet").sink_parquet(
                f"{target}/{name}.parquet", compression="lz4", row_group_size=5000
            )
    return {}


def measure_polars_sink(folder: str, target: str) -> dict[str, float]:
    """Write the joined files of all configs with a bare sink, compressed as ours are."""
    start, size = time.monotonic(), 0
    for path in sorted(Path(folder).glob("*.parquet")):
        pl.scan_parquet(path).sink_parquet(f"{target}-{path.name}", compression="zstd", compression_level=1)
        size += Path(f"{target}-{path.name}").stat().st_size
    return {"seconds": time.monotonic() - start, "bytes": size, "gigabytes": _peak()}


def measure_datasets(folder: str, target: str) -> dict[str, float]:
    """Write the same with `Dataset.to_parquet`; loading them into its cache is not counted."""
    from datasets import load_dataset

    seconds, size = 0.0, 0
    for path in sorted(Path(folder).glob("*.parquet")):
        rows = load_dataset("parquet", data_files=str(path), split="train", cache_dir=f"{target}-cache")
        start = time.monotonic()
        size += rows.to_parquet(f"{target}-{path.name}")
        seconds += time.monotonic() - start
    return {"seconds": seconds, "bytes": size, "gigabytes": _peak()}


def _measure(name: str, *arguments: str) -> dict[str, float]:
    run = [sys.executable, __file__, "--run", name, *arguments]
    done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _peak() -> float:
    """Most memory of this process, in GB."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


def _figure(name: str, value: float, unit: str, goal: float | None, peer: str, peer_value: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "goal": goal, "peer": peer, "peer_value": peer_value}


def measure_all(folder: Path, rows: int) -> list[dict[str, Any]]:
    """Fill a lake, make the release of it, and let the peers write the same rows, ours and the sink by turns."""
    lake, made, joined = (str(folder / name) for name in ("lake", "made", "joined"))
    Path(joined).mkdir()
    _measure("write_lake", lake, str(rows))
    turns = []
    for turn in range(3 if rows <= 200_000 else 1):
        ours = _measure("measure_release", lake, f"{made}{turn}")
        if turn == 0:
            _measure("join_files", f"{made}0", joined)
        bare = _measure("measure_polars_sink", joined, str(folder / "sink"))
        turns.append((ours, bare))
        shutil.rmtree(f"{made}{turn}")
    ours, bare = sorted(turns, key=lambda turn: turn[1]["seconds"] / turn[0]["seconds"])[len(turns) // 2]
    peer = _measure("measure_datasets", joined, str(folder / "datasets"))
    rate = ours["rows"] / ours["seconds"]
    files = ours["seconds"] - ours["choosing"]
    sink, hub = ours["rows"] / bare["seconds"], ours["rows"] / peer["seconds"]
    return [
        _figure("release_rows_per_second", rate, "rows/s", None, "bare Polars sink", sink),
        _figure("release_over_polars_sink", rate / sink, "", 0.7, "bare Polars sink", 1.0),
        _figure("release_files_over_polars_sink", bare["seconds"] / files, "", None, "bare Polars sink", 1.0),
        _figure("release_over_datasets", rate / hub, "", None, "Dataset.to_parquet", 1.0),
        _figure("release_gigabytes", ours["gigabytes"], "GB", 4.0, "bare Polars sink", bare["gigabytes"]),
        _figure("release_gigabytes_of_files", ours["bytes"] / 2**30, "GB", None, "sink", bare["bytes"] / 2**30),
        _figure("datasets_gigabytes", peer["gigabytes"], "GB", None, "ours", ours["gigabytes"]),
    ]


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_200_000, help="number of answers; the goals are for 1,200,000")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(globals()[options.run[0]](*options.run[1:])))
        return
    with tempfile.TemporaryDirectory() as name:
        figures = measure_all(Path(name), options.rows)
    print(f"{'figure':<36}{'ours':>12} {'unit':<10}{'goal':>6}   beside us")
    for f in figures:
        goal = "" if f["goal"] is None else f"{f['goal']:g}"
        print(f"{f['name']:<36}{f['value']:>12,.3f} {f['unit']:<10}{goal:>6}   {f['peer']}: {f['peer_value']:,.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
