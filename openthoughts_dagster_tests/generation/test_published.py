"""Answers that somebody published, through the ledger."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.published import PublishedIndex
from openthoughts_dagster.generation.requests import Prompt
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import RecipeError, Teacher, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.serving import PublishedAnswers

CHAT = [{"from": "human", "value": "What is 1 + 1?"}, {"from": "gpt", "value": "<think>one and one</think>2"}]
A1 = {"instruction_seed": "Name a prime.", "reasoning": "2 is one", "deepseek_solution": "2", "source": "s"}
SHAPES: list[tuple[dict[str, Any], dict[str, str], tuple[str, str]]] = [
    ({"conversations": CHAT, "difficulty": 3}, {}, ("What is 1 + 1?", "<think>one and one</think>2")),
    ({"conversations": json.dumps(CHAT)}, {}, ("What is 1 + 1?", "<think>one and one</think>2")),
    (
        {"messages": [{"role": role, "content": role[0].upper()} for role in ("system", "user", "assistant")]},
        {},
        ("U", "A"),
    ),
    (A1, {}, ("Name a prime.", "<think>2 is one</think>2")),
    (A1 | {"conversations": CHAT}, {}, ("Name a prime.", "<think>one and one</think>2")),
    ({"problem": "Q", "solution": "A"}, {}, ("Q", "A")),
    ({"ask": "Q", "tell": "A", "why": "R"}, {"question": "ask", "answer": "tell", "reasoning": "why"},
     ("Q", "<think>R</think>A")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "columns", "pair"), SHAPES)
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_every_usual_shape_of_a_data_set_is_read(
    row: dict[str, Any], columns: dict[str, str], pair: tuple[str, str], ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"train.{ending}"
    pl.DataFrame([row]).write_parquet(file) if ending == "parquet" else file.write_text(json.dumps(row))
    index = PublishedIndex(tmp_path, PublishedAnswers.model_validate(columns), "p")
    assert index.answer(pair[0], 0) == pair[1]
    index.close()


def _asked(lake: Lake, model: Model, prompts: list[Prompt]) -> tuple[list[list[Any]], Usage]:
    pool, usage = EnginePool(), Usage()
    ask = ledger_client(lake, pool, model, model.reference.sampling, usage, Purpose("a", "s"), print)
    answers = ask(prompts)
    pool.close()
    return answers, usage


def test_the_answers_of_a_question_are_its_samples_and_cost_nothing(lake: Lake, tmp_path: Path) -> None:
    rows = [
        {"question": "What is  1 + 1?", "answer": "<think>easy</think>2"},
        {"question": "other", "answer": "x"},
        {"question": " What is 1 + 1?\n", "answer": "<think>never ends"},
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teacher = Teacher(name="p", model="./answers.jsonl", engine="published")
    model = locate(teacher, tmp_path, weights=False)
    prompts = [Prompt("What is 1 + 1?", samples=3), Prompt("unknown")]
    (known, unknown), usage = _asked(lake, model, prompts)

    assert [(a.reasoning, a.answer, a.finish_reason) for a in known[:2]] == [
        ("easy", "2", "stop"),
        ("never ends", "", "length"),
    ]
    assert known[2].error == "the data set ./answers.jsonl has 2 answers to this question"
    assert "has 0 answers to this question" in str(unknown[0].error)
    assert (usage.generated, usage.failed, sum(usage.costs.values())) == (2, 2, 0.0)
    ledger = lake.scan(COMPLETIONS).collect()
    assert ledger["cost"].sum() == 0 and ledger.filter(pl.col("error").is_not_null())["permanent"].all()
    assert _asked(lake, model, prompts)[1].generated == 0  # neither those that are there nor those that never will be


def test_other_columns_are_other_answers_and_moved_files_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "q", "answer": "a", "solution": "s"}\n')
    (tmp_path / "b.jsonl").write_text((tmp_path / "a.jsonl").read_text())
    one, moved, other = (
        locate(Teacher.model_validate({"name": "p", "engine": "published"} | settings), tmp_path).identity
        for settings in (
            {"model": "./a.jsonl"},
            {"model": "./b.jsonl"},
            {"model": "./a.jsonl", "published": {"answer": "solution"}},
        )
    )
    assert one.partition == moved.partition == other.partition
    assert one.asked_with == moved.asked_with != other.asked_with


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([{"text": "t"}], {}, "has no row with a question and an answer"),
        ([{"question": "q", "answer": "a"}], {"answer": "reply"}, "has no column 'reply'; it has question, answer"),
        ([], {}, r"has no file that fits '\*\*/\*'"),
    ],
)
def test_a_data_set_without_answers_says_what_it_has(
    rows: list[dict[str, str]], columns: dict[str, str], message: str, tmp_path: Path
) -> None:
    if rows:
        pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(EngineError, match=message):
        PublishedIndex(tmp_path, PublishedAnswers.model_validate(columns), "p")


def test_a_data_set_that_nobody_has_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no .*nowhere: correct the `model`"):
        locate(Teacher(name="p", model="./nowhere", engine="published"), tmp_path)


def test_only_a_teacher_may_be_published_and_a_copy_comes_before_the_hub(tmp_path: Path) -> None:
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    document["teachers"] = [{"name": "p", "model": "owner/answers", "engine": "published"}]
    document["studies"] = []
    path, copies = tmp_path / "recipe.yaml", tmp_path / "copies"
    path.write_text(yaml.safe_dump(document))
    (copies / "owner" / "answers").mkdir(parents=True)
    recipe = load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(tmp_path)})
    assert recipe.teacher("p").model == "owner/answers" and "p" not in recipe.references()
    assert recipe.with_copies(copies).teacher("p").model == str(copies / "owner" / "answers")

    document["student"]["engine"] = "published"
    document["teachers"][0]["published"] = {"files": "../*"}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(tmp_path)})
    assert "student.engine: is published, and only a teacher's answers" in str(caught.value)
    assert "published.files: must stay inside the data set" in str(caught.value)
