"""A lake with the answers of one teacher to two small sources, as the assets before a release leave it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REJECTED_ANSWERS,
    SCORED_QUESTIONS,
    TEACHER_ANSWERS,
    Lake,
    text_hash,
)
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster_tests.answers.rows import completion_rows

TEACHER, SUMS, SHOP = "worked", "two-digit-sums", "shop-sums"
RELEASE: dict[str, Any] = {"name": "sums", "title": "Sums", "licence": "Apache-2.0", "sources": [SUMS, SHOP]}
Answers = Mapping[str, Sequence[tuple[str | None, str] | None]]
"""Questions with their answers, each a reasoning and an answer; None for one that was rejected."""


def small_recipe(folder: Path, **release: Any) -> Recipe:
    """The quickstart's recipe with a release of two sources, and these settings of it changed."""
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    document |= {"release": RELEASE | release, "studies": []}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for name in ("benchmarks", "prompts", "shop_sums.jsonl"):
        if not (folder / name).exists():
            (folder / name).symlink_to(SHIPPED / "quickstart" / name)
    return load_recipe(str(folder), {"OPENTHOUGHTS_DATA": str(folder)})


def sums(first: int, count: int, samples: int = 2) -> dict[str, list[tuple[str | None, str] | None]]:
    """Questions about sums with right answers."""
    return {
        f"What is {n} + {n + 1}?": [
            (f"\nI add {n} and {n + 1} (try {k}).\n", f"\n\n{2 * n + 1}") for k in range(samples)
        ]
        for n in range(first, first + count)
    }


def fill_source(lake: Lake, source: str, answers: Answers, licence: str = "Apache-2.0", teacher: str = TEACHER) -> None:
    """Write the questions of a source and the teacher's answers to them."""
    ids = [text_hash(question) for question in answers]
    questions = pl.DataFrame(
        {
            "source": source,
            "question_id": ids,
            "domain": "math",
            "question": list(answers),
            "reference_answer": None,
            "licence": licence,
            "origin": [json.dumps({"row": row}) for row in range(len(ids))],
            "metadata": "{}",
            "scores": [json.dumps({"difficulty": 1 + row % 10}) for row in range(len(ids))],
        },
        schema=DEDUPED_QUESTIONS.schema,
    )
    lake.replace(RAW_SOURCES, questions.drop("scores"), source=source)
    lake.replace(SCORED_QUESTIONS, questions, source=source)
    lake.replace(DEDUPED_QUESTIONS, questions, source=source)
    rows = [(question, k, given) for question, own in answers.items() for k, given in enumerate(own)]
    kept = [(text_hash(question), k, *given) for question, k, given in rows if given is not None]
    lost = [(text_hash(question), k) for question, k, given in rows if given is None]
    names = [f"{teacher}-{source}-{text_hash(i, str(k), str(r), a)[:12]}" for i, k, r, a in kept]
    contents = [text_hash(reasoning or "", answer) for _, _, reasoning, answer in kept]
    completions = completion_rows("model@1", names, [a for *_, a in kept], [r for _, _, r, _ in kept]).with_columns(
        sample_index=pl.Series([k for _, k, *_ in kept], dtype=pl.Int32),
        content=pl.Series(contents, dtype=pl.String),
        completion_tokens=pl.lit(20, dtype=pl.Int32),
        source=pl.lit(source),
    )
    there = lake.scan(COMPLETIONS).select("completion_id").collect()["completion_id"].implode()
    lake.append(COMPLETIONS, completions.filter(~pl.col("completion_id").is_in(there)))
    cell = {"source": source, "teacher": teacher}
    published = pl.DataFrame(
        {
            "question_id": [i for i, *_ in kept],
            "sample_index": [k for _, k, *_ in kept],
            "model": "model@1",
            "key": names,
            "completion_id": names,
            "content": contents,
        },
        schema={name: kind for name, kind in TEACHER_ANSWERS.schema.items() if name not in cell},
    )
    rejected = pl.DataFrame(
        {
            "question_id": [i for i, _ in lost],
            "sample_index": [k for _, k in lost],
            "key": "k",
            "reason": "error",
            "evidence": "the server said no",
        },
        schema={name: kind for name, kind in REJECTED_ANSWERS.schema.items() if name not in cell},
    )
    labels = [pl.lit(value).alias(name) for name, value in cell.items()]
    lake.replace(TEACHER_ANSWERS, published.with_columns(labels), **cell)
    lake.replace(REJECTED_ANSWERS, rejected.with_columns(labels), **cell)


def small_lake(folder: Path, count: int = 30, samples: int = 2) -> Lake:
    """A lake with `count` questions of each of the two sources, `samples` answers each; they share no question."""
    lake = Lake(folder)
    fill_source(lake, SUMS, sums(1000, count, samples))
    fill_source(lake, SHOP, sums(5000, count, samples))
    return lake
