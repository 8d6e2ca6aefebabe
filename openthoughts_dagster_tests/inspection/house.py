"""A small deployment with every table that a row passes through, written by the functions that assets call."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from openthoughts_dagster.answers import publish_training_set, sample_rows
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.requests import AskModel, Completion, Prompt, Request
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import (
    BENCHMARK_SCORES,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REASONING_DATASET,
    REJECTED_ANSWERS,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    STUDENT_CHECKPOINTS,
    TEACHER_ANSWERS,
    Lake,
    Table,
    text_hash,
)
from openthoughts_dagster.questions import score_questions
from openthoughts_dagster.questions.scoring import ScoringContext
from openthoughts_dagster.recipe import ModelReference, Recipe, Sampling, load_recipe, read_score_prompt
from openthoughts_dagster_tests.e2e.small_recipe import served_recipe
from openthoughts_dagster_tests.generation.faulty import FaultyPool

SOURCE, TEACHER = "sums", "slow"
QUESTIONS = [f"What is {n} plus {n + 1}?" for n in range(6)]
IDS = [text_hash(question) for question in QUESTIONS]
LEAKED, TWIN = "What is 7 plus 7?", "what is 0 plus 1?"
_SERVED = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1"}


@dataclass(frozen=True)
class House:
    """The recipe and the tables."""

    recipe: Recipe
    lake: Lake

    def ask(self, model: ModelReference, sampling: Sampling, purpose: Purpose, reply: Any) -> AskModel:
        """Ask a model that says what `reply(request)` returns, through the ledger."""

        def complete(_: int, request: Request) -> Completion:
            return Completion(request, reply(request), "stop", 10, 20, 0.1)

        return ledger_client(
            self.lake, FaultyPool(complete), locate(model, Path()), sampling, Usage(), purpose, lambda _: None
        )

    def write(self, table: Table, *rows: dict[str, Any], **partition: str) -> None:
        """Replace a partition by rows whose other columns are empty, 0, or null where that is allowed."""

        def empty(name: str, kind: Any) -> Any:
            return None if name in table.nullable else "{}" if name in ("metadata", "origin", "scores") else (
                "" if kind == pl.String else 0
            )  # fmt: skip

        filled = [{name: empty(name, kind) for name, kind in table.columns.items()} | row for row in rows]
        self.lake.replace(table, pl.DataFrame(filled, schema=table.schema), **partition)


def make_house(folder: Path, **changes: Any) -> House:
    """Read, score, curate, answer, train and score six questions."""
    path = served_recipe(folder / "recipe", _SERVED["base_url"], price={"completion_million": 2.0})
    judge = {"name": "judge", "model": "judge", "price": {"completion_million": 1.0}} | _SERVED
    document = yaml.safe_load(path.read_text()) | {
        "judges": [judge],
        "scores": [{"name": "difficulty", "method": "difficulty", "judge": "judge", "prompt": "prompts/difficulty.md"}],
        "domains": {"math": {"selection": {"by": "difficulty", "count": 5}}},
    }
    path.write_text(yaml.safe_dump(document | changes))
    house = House(load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder)}), Lake(folder / "lake"))
    _questions(house)
    _answers(house)
    _student(house)
    return house


def _questions(house: House) -> None:
    about = {"source": SOURCE, "domain": "math", "licence": "MIT"}
    raw = [
        about | {"question_id": id_, "question": text, "origin": f'{{"file": "sums.jsonl", "line": {n}}}'}
        for n, (id_, text) in enumerate(zip(IDS, QUESTIONS, strict=True))
    ]
    house.write(RAW_SOURCES, *raw, source=SOURCE)
    recipe, judge = house.recipe, house.recipe.judge("judge")
    reply = house.ask(
        judge, judge.sampling, Purpose(SCORED_QUESTIONS.name, SOURCE), lambda r: f'{{"difficulty": {_digit(r)}}}'
    )
    context = ScoringContext(
        lambda _: reply, lambda score: read_score_prompt(score, recipe.path), lambda _: [], house.lake
    )
    scored = score_questions(house.lake.scan(RAW_SOURCES).collect(), recipe.scores, context).questions
    house.lake.replace(SCORED_QUESTIONS, scored, source=SOURCE)
    house.lake.replace(DEDUPED_QUESTIONS, scored.filter(pl.col("question_id") != IDS[0]), source=SOURCE)
    gone = {"source": SOURCE, "stage": DEDUPED_QUESTIONS.name}
    house.write(
        REJECTED_QUESTIONS,
        gone | {"question_id": IDS[0], "question": QUESTIONS[0], "reason": "below_cut", "evidence": '{"score": 1}'},
        gone
        | {"question_id": text_hash(TWIN), "question": TWIN, "reason": "duplicate_fuzzy"}
        | {"evidence": f'{{"of": "{IDS[1]}", "similarity": 97.0, "text": "{QUESTIONS[1]}"}}'},
        gone
        | {"question_id": text_hash(LEAKED), "question": LEAKED, "reason": "benchmark_similarity"}
        | {"evidence": f'{{"benchmark": "b", "similarity": 90.0, "text": "{QUESTIONS[2]}"}}'},
        source=SOURCE,
        stage=DEDUPED_QUESTIONS.name,
    )


def _answers(house: House) -> None:
    teacher = house.recipe.teacher(TEACHER)
    ask = house.ask(
        teacher,
        teacher.sampling,
        Purpose(TEACHER_ANSWERS.name, SOURCE, TEACHER),
        lambda r: f"<think>hm</think>{r.seed}",
    )
    cell = {"source": SOURCE, "teacher": TEACHER}
    answered = ask([Prompt(text, samples=2) for text in QUESTIONS[1:]])
    rows = [
        cell | {"question_id": id_, "sample_index": a.sample_index, "model": a.model, "key": a.key}
        | {"completion_id": a.completion_id, "content": "c"}
        for id_, own in zip(IDS[1:], answered, strict=True)
        for a in own
    ]  # fmt: skip
    house.write(TEACHER_ANSWERS, *rows[:-1], **cell)
    dropped = {name: rows[-1][name] for name in ("question_id", "sample_index", "key")}
    house.write(REJECTED_ANSWERS, cell | dropped | {"reason": "language", "evidence": "zh"}, **cell)
    published = [
        {name: row[name] for name in ("source", "question_id", "sample_index", "model", "completion_id", "content")}
        | {"teacher": TEACHER, "position": place, "domain": "math", "licence": "MIT"}
        for place, row in enumerate(rows[:-1])
    ]
    house.write(REASONING_DATASET, *published, teacher=TEACHER)


def _student(house: House) -> None:
    cell = {"source": SOURCE, "teacher": TEACHER}
    answers = house.lake.scan(TEACHER_ANSWERS).collect()
    publish_training_set(house.lake, f"{SOURCE}|{TEACHER}", sample_rows(answers, 4, 0, repeat=False))
    facts = {"path": "/students/f", "fingerprint": "f" * 32, "rows": 4, "steps": 2, "final_loss": 0.5, "losses": "[]"}
    house.write(STUDENT_CHECKPOINTS, cell | facts | {"seconds": 8.0, "train_tokens": 400}, **cell)
    items = [{"benchmark": "b", "metric": "m", "item": str(n), "score": n % 2, "repeats": 1} for n in range(4)]
    house.write(BENCHMARK_SCORES, *(cell | item for item in items), **cell)


def _digit(request: Request) -> int:
    """A difficulty that depends on the question: the number in it, and at least 1."""
    text = request.messages[-1]["content"]
    return next(max(1, n) for n, question in enumerate(QUESTIONS) if question in text)
