"""GPQA-Diamond, JEEBench and HLE's multiple-choice questions without an image."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from openthoughts_dagster.evaluation.paper.math import last_boxed
from openthoughts_dagster.evaluation.paper.rows import PaperRows, Row
from openthoughts_dagster.evaluation.reading import Verdict, judge_all
from openthoughts_dagster.evaluation.task_context import TaskContext, seeded
from openthoughts_dagster.recipe import PaperBenchmark

_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_COLUMNS = {
    "gpqa-diamond": _OPTIONS,
    "jeebench": ("gold", "type"),
    "hle-multiple-choice": ("answer", "answer_type", "image"),
}
_GPQA = (
    "Return your final response within \\boxed{} and only include the letter choice (A, B, C, or D) as your final "
    "response."
)
_HLE = (
    "Your response should be in the following format:\nAnswer: {your chosen multiple choice letter}. Include only the "
    "letter, no other text."
)
_JEE_SCORING = "jee-2"  # the number changes with the rules, so that rankings never mix scores of different rules
_SOLVE = "Give a detailed solution and end the solution with the final answer."
_JEE = {
    "MCQ": f"In this problem, only one option will be correct. {_SOLVE} Mark your solution, which should be exactly "
    "one multiple-choice letter, with \\boxed\nAnswer:",
    "MCQ(multiple)": f"In this problem, multiple options can be correct. {_SOLVE} Mark your solution, which should be "
    "one or more multiple-choice letter(s), with \\boxed\nAnswer:",
    "Integer": f"In this problem, the final answer will be a non-negative integer. {_SOLVE} Mark your solution with "
    "\\boxed\nAnswer:",
    "Numeric": "In this problem, the final will be a numeric value. Give the numerical answer correct upto the 2nd "
    f"decimal digit. {_SOLVE} Mark your solution with \\boxed\nAnswer:",
}


def columns(benchmark: PaperBenchmark) -> tuple[str, ...]:
    """Columns beside the question."""
    return _COLUMNS[benchmark.task]


def counts(benchmark: PaperBenchmark) -> Callable[[Row], bool]:
    """Of HLE only multiple-choice questions without an image."""
    if benchmark.task == "hle-multiple-choice":
        return lambda row: row["answer_type"] == "multipleChoice" and not row["image"]
    return lambda row: True


def ask(benchmark: PaperBenchmark, data: PaperRows, _: TaskContext) -> tuple[list[Row], str, Any]:
    """Questions with their references, the name of the scoring, and the judge."""
    if benchmark.task == "jeebench":
        return [_jee_question(row) for row in data.rows], _JEE_SCORING, judge_jee
    if benchmark.task == "hle-multiple-choice":
        asked = [{"question": f"{_HLE}\n{row['question']}", "answer": str(row["answer"])} for row in data.rows]
    elif benchmark.prompt == "paper":
        asked = [_gpqa_question(row) for row in data.rows]
    else:
        asked = _lighteval_gpqa(data.rows)
    return asked, "choice", judge_letters


def judge_letters(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """Whether the letter that an answer chooses is the reference."""
    return judge_all("choice", [(doc.get_golds()[0], text) for doc, text in asked])


def judge_jee(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """JEEBench's own rules: a quarter for each right letter where several are right and none of them is wrong."""
    return [_jee_verdict(doc.get_golds()[0], doc.specific["type"], last_boxed(text)) for doc, text in asked]


def _jee_verdict(gold: str, kind: str, box: str | None) -> Verdict:
    if box is None:
        return Verdict(False, None)
    if kind in ("Integer", "Numeric"):
        try:
            right = abs(float(gold) - float(box)) <= 0.01
        except ValueError:
            right = False
        return Verdict(right, box)
    wanted, chosen = (frozenset(letter for letter in "ABCD" if letter in text) for text in (gold, box))
    partly = kind == "MCQ(multiple)" and chosen < wanted
    return Verdict(chosen == wanted, box, credit=0.25 * len(chosen) if partly else None)


def _jee_question(row: Row) -> Row:
    problem = str(row["question"]).replace("\n\n", "\n").strip()
    question = f"{_JEE[row['type']]}\n\nProblem: {problem}"
    return {"question": question, "answer": str(row["gold"]), "type": row["type"]}


def _gpqa_question(row: Row) -> Row:
    """Options in the paper's order, which is the same for every question: the right one is always the last."""
    options = [str(row[name]) for name in _OPTIONS]
    right = options[0]
    random.Random(42).shuffle(options)
    listed = ", ".join(f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=True))
    question = f"{_GPQA}\nProblem: {row['question']}\nOptions: {listed}\nAnswer:"
    return {"question": question, "answer": "ABCD"[options.index(right)]}


def _lighteval_gpqa(rows: Sequence[Row]) -> list[Row]:
    from lighteval.tasks.tasks.gpqa import gpqa_instruct_prompt

    with seeded():  # it shuffles with the global generator
        docs = [gpqa_instruct_prompt({**row, "Question": row["question"]}) for row in rows]
    return [{"question": doc.query, "answer": "ABCD"[doc.gold_index]} for doc in docs]
