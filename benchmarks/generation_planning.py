"""Benchmarks of what happens around the engines: planning, publishing again, and one percent more questions.

Each measurement runs in a process of its own, so that its memory is its own.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from openthoughts_dagster.answers import answer_shard, cell_answers, plan_answers, publish_answers
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.rendering import render_all
from openthoughts_dagster.generation.requests import completion_keys
from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, Lake, text_hash
from openthoughts_dagster.recipe import KeepAllAnswers, Sampling, Teacher

SOURCE = "questions"
SAMPLES = 16


def teacher(folder: str) -> Model:
    """The tiny model in `folder` as a teacher."""
    sampling = Sampling(max_tokens=32)
    return locate(
        Teacher(name="teacher", model=folder, engine="transformers", dtype="float32", sampling=sampling), Path()
    )


def write_questions(lake: Lake, count: int) -> None:
    """A source of `count` different word problems of about 200 characters."""
    numbers = range(count)
    texts = [
        f"Train {n} leaves at {n % 24} o'clock with {n % 97 + 3} people on board. At each of its {n % 13 + 2} stops "
        f"{n % 7 + 1} people get on and {n % 5 + 1} get off. How many people are on train {n} when it arrives?"
        for n in numbers
    ]
    rows = pl.DataFrame({"question": texts}).with_columns(
        source=pl.lit(SOURCE),
        question_id=pl.Series([text_hash(text) for text in texts]),
        domain=pl.lit("math"),
        reference_answer=pl.lit(None, dtype=pl.String),
        licence=pl.lit("Apache-2.0"),
        origin=pl.lit("{}"),
        metadata=pl.lit("{}"),
        scores=pl.lit("{}"),
    )
    lake.replace(DEDUPED_QUESTIONS, rows, source=SOURCE)


def write_ledger(lake: Lake, model: Model, share: float) -> int:
    """Commit that share of all samples in twenty commits, in random order, as shards leave them. Returns the rows."""
    rng, rows = np.random.default_rng(0), 0
    questions = lake.scan(DEDUPED_QUESTIONS, source=SOURCE).select("question").collect()["question"]
    samples = pl.DataFrame({"sample_index": pl.int_range(SAMPLES, dtype=pl.Int32, eager=True)})
    for part in range(20):
        texts = questions.gather_every(20, part).to_list()
        keys = completion_keys(model.identity, render_all(model, texts), model.reference.sampling)
        wanted = pl.DataFrame({"key": keys}).join(samples, how="cross")
        done = wanted.filter(pl.Series(rng.random(wanted.height) < share)).sample(fraction=1, shuffle=True, seed=part)
        lake.append(COMPLETIONS, _completions(model, done, part))
        rows += done.height
    return rows


def _completions(model: Model, done: pl.DataFrame, part: int) -> pl.DataFrame:
    constants: dict[str, Any] = {
        "model": model.identity.partition,
        "outcome": "answered",
        "prompt": "...",
        "reasoning": "...",
        "answer": "...",
        "finish_reason": "stop",
        "permanent": False,
        "retries": 0,
        "prompt_tokens": 60,
        "completion_tokens": 200,
        "cached_tokens": 0,
        "seconds": 2.0,
        "engine_seconds": 0.01,
        "cost": 0.0,
        "currency": "USD",
        "asset": "teacher_answers",
        "source": SOURCE,
        "asked_as": "teacher",
        "model_id": model.identity.model_id,
        "revision": model.identity.revision,
        "engine": "{}",
        "sampling": model.reference.sampling.model_dump_json(exclude_none=True),
        "created_at": datetime.now(UTC),
    }
    number = pl.int_range(pl.len()).cast(pl.String)
    return done.with_columns(
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        error=pl.lit(None, dtype=pl.String),
        completion_id=pl.format("{}-{}", pl.lit(part), number),
        content=pl.format("{}{}", "key", number).str.head(32),
    )


def measure_plan(root: str, folder: str) -> dict[str, float]:
    """Plan a partition of which nine tenths are committed: seconds and gigabytes."""
    start = time.monotonic()
    lake = Lake(root)
    planned = plan_answers(lake, teacher(folder), cell_answers(lake, SOURCE, "teacher", SAMPLES))
    return {"seconds": time.monotonic() - start, "completions": planned.estimate.completions, "gigabytes": _peak()}


def measure_plain_plan(root: str, folder: str) -> dict[str, float]:
    """The same by the loop that a script would have: a set of what is there, and a look-up for each sample."""
    start, model, lake = time.monotonic(), teacher(folder), Lake(root)
    rows = lake.scan(COMPLETIONS).select("key", "sample_index").collect()
    done = set(rows.iter_rows())
    missing = []
    for question in lake.scan(DEDUPED_QUESTIONS, source=SOURCE).select("question").collect()["question"]:
        prompt = model.render([{"role": "user", "content": question}])
        [key] = completion_keys(model.identity, [prompt], model.reference.sampling)
        missing += [(key, index) for index in range(SAMPLES) if (key, index) not in done]
    return {"seconds": time.monotonic() - start, "completions": len(missing), "gigabytes": _peak()}


def measure_noop(root: str, folder: str) -> dict[str, float]:
    """Publish a finished partition, then plan and publish it again as a re-materialization does: seconds of that."""
    lake, model = Lake(root), teacher(folder)
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        answers = cell_answers(lake, SOURCE, "teacher", SAMPLES)
        planned = plan_answers(lake, model, answers)
        answers.replace(lake, answers.plans, planned.rows)
        published = publish_answers(lake, model, answers, KeepAllAnswers(), 0.01)
        seconds.append(time.monotonic() - start)
    return {"seconds": seconds[1], "first": seconds[0], "answers": published.answers.height, "gigabytes": _peak()}


def measure_increment(root: str, folder: str) -> dict[str, float]:
    """Answer 400 questions with a real model, add four, and count what the second run generates."""
    lake, model, pool = Lake(root), teacher(folder), EnginePool()
    generated = []
    for count in (400, 404):
        write_questions(lake, count)
        answers = cell_answers(lake, SOURCE, "teacher", 2)
        planned = plan_answers(lake, model, answers)
        answers.replace(lake, answers.plans, planned.rows)
        spent = [answer_shard(lake, pool, model, answers, n, lambda _: None) for n in range(planned.shards)]
        publish_answers(lake, model, answers, KeepAllAnswers(), 0.0)
        generated.append(sum(s.generated for s in spent))
    pool.close()
    return {"first": generated[0], "generated": generated[1], "needed": 4 * 2}


def _peak() -> float:
    """Most memory of this process, in GB. (getrusage would count the process that started it as well.)"""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    print(json.dumps(globals()[f"measure_{sys.argv[1]}"](*sys.argv[2:])))
