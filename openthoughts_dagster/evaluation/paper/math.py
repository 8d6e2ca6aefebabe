"""AIME24, AIME25, AMC23, HMMT 02/25 and MATH500: an answer in a box.

The paper compares the last box with the reference as texts, normalized as the MATH data set's authors do. For HMMT it
has MathArena's parser; here math-verify compares, which reads the same expressions.
"""

from collections.abc import Callable, Sequence
from typing import Any

from openthoughts_dagster.evaluation.paper.rows import PaperRows, Row, text_of
from openthoughts_dagster.evaluation.reading import Verdict, judge_all
from openthoughts_dagster.evaluation.reading.final import last_box
from openthoughts_dagster.evaluation.task_context import TaskContext
from openthoughts_dagster.recipe import PaperBenchmark

_INSTRUCTION = "Mark your solution with \\boxed"
_HMMT = "Please reason step by step, and put your final answer within \\boxed{}."


def columns(_: PaperBenchmark) -> tuple[str, ...]:
    """Columns beside the question."""
    return ("answer",)


def counts(_: PaperBenchmark) -> Callable[[Row], bool]:
    """All rows are items."""
    return lambda row: True


def ask(benchmark: PaperBenchmark, data: PaperRows, _: TaskContext) -> tuple[list[Row], str, Any]:
    """Questions with their references, the name of the scoring, and the judge."""
    prompt = _lighteval_prompt(benchmark.task) if benchmark.prompt == "lighteval" else _paper_prompt(benchmark.task)
    asked = [{"question": prompt(row["question"]), "answer": text_of(row["answer"])} for row in data.rows]
    if benchmark.prompt == "lighteval" or benchmark.task == "hmmt-2025-02":
        return asked, "math", judge_expressions
    return asked, "boxed", judge_boxed


def judge_expressions(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """Verdicts of math-verify."""
    return judge_all("math", [(doc.get_golds()[0], text) for doc, text in asked])


def judge_boxed(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """Whether the last box is the reference, both normalized. A last box that is cut off is no answer."""
    verdicts = []
    for doc, text in asked:
        box = last_boxed(text)
        right = box is not None and _normalized(box) == _normalized(doc.get_golds()[0])
        verdicts.append(Verdict(right, box))
    return verdicts


def last_boxed(text: str) -> str | None:
    """What stands in the very last box, None where that box is not closed."""
    start = text.rfind("\\boxed")
    start = text.rfind("\\fbox") if start < 0 else start
    return None if start < 0 else last_box(text[start:])


def _normalized(answer: str) -> str:
    from lighteval.metrics.normalizations import math_normalizer

    try:
        return str(math_normalizer(f"\\boxed{{{answer}}}"))
    except (AssertionError, IndexError, ValueError):  # on broken LaTeX, as "\frac" alone: then the text itself counts
        return answer


def _paper_prompt(task: str) -> Callable[[str], str]:
    instruction = _HMMT if task == "hmmt-2025-02" else _INSTRUCTION
    return lambda problem: f"Problem: {problem}\n{instruction}\nAnswer:"


def _lighteval_prompt(task: str) -> Callable[[str], str]:
    if task == "math500":
        from lighteval.tasks.tasks.math_500 import MATH_QUERY_TEMPLATE as TEMPLATE
    else:
        from lighteval.tasks.tasks.aime import MATH_PROMPT_TEMPLATE as TEMPLATE
    return lambda problem: str(TEMPLATE.format(prompt=problem))
