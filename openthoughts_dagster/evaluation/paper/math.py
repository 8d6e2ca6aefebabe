"""AIME24, AIME25, AMC23, HMMT 02/25 and MATH500: an answer in a box.

The paper compares the last box with the reference as texts, normalized as the MATH data set's authors do. For HMMT it
has MathArena's parser; here math-verify compares, which reads the same expressions.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from openthoughts_dagster.evaluation.paper.rows import PaperRows, Row, text_of
from openthoughts_dagster.evaluation.reading import Verdict, judge_all
from openthoughts_dagster.evaluation.reading.final import last_box, last_boxes_of_a_line
from openthoughts_dagster.evaluation.task_context import TaskContext
from openthoughts_dagster.recipe import PaperBenchmark

_INSTRUCTION = "Mark your solution with \\boxed"
_HMMT = "Please reason step by step, and put your final answer within \\boxed{}."
# The numbers change with the rules, so that rankings never mix scores of different rules.
_BOXED, _EXPRESSIONS = "boxed-2", "math-2"
_INTEGERS = ("aime24", "aime25", "amc23")  # all of their answers
_BARE_BOX = re.compile(r"\\boxed +([^\s{$][^$\n]*)")


def columns(_: PaperBenchmark) -> tuple[str, ...]:
    """Columns beside the question."""
    return ("answer",)


def counts(_: PaperBenchmark) -> Callable[[Row], bool]:
    """All rows are items."""
    return lambda row: True


def ask(benchmark: PaperBenchmark, data: PaperRows, _: TaskContext) -> tuple[list[Row], str, Any]:
    """Questions with their references, the name of the scoring, and the judge."""
    prompt = _lighteval_prompt(benchmark.task) if benchmark.prompt == "lighteval" else _paper_prompt(benchmark.task)
    reference = integer_of if benchmark.task in _INTEGERS else text_of
    asked = [{"question": prompt(row["question"]), "answer": reference(row["answer"])} for row in data.rows]
    if benchmark.prompt == "lighteval":
        return asked, "math", judge_expressions
    if benchmark.task == "hmmt-2025-02":
        return asked, _EXPRESSIONS, judge_lists
    return asked, _BOXED, judge_boxed


def integer_of(value: Any) -> str:
    """Return a reference as the paper has it: 73 where a copy of AIME on the hub has 073."""
    text = text_of(value).strip()
    return str(int(text)) if text.isdecimal() else text


def judge_expressions(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """Verdicts of math-verify."""
    return judge_all("math", [(doc.get_golds()[0], text) for doc, text in asked])


def judge_lists(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """Verdicts of math-verify, where several boxes of one line are a list if the reference is one."""
    return judge_expressions([(doc, _one_box(doc.get_golds()[0], text)) for doc, text in asked])


def _one_box(gold: str, text: str) -> str:
    boxes = last_boxes_of_a_line(text) if "," in gold else []
    return f"\\boxed{{{', '.join(boxes)}}}" if len(boxes) > 1 else text


def judge_boxed(asked: Sequence[tuple[Any, str]]) -> list[Verdict]:
    """Whether the last box is the reference, both normalized. A last box that is cut off is no answer."""
    verdicts = []
    for doc, text in asked:
        box = last_boxed(text)
        right = box is not None and _normalized(box) == _normalized(doc.get_golds()[0])
        verdicts.append(Verdict(right, box))
    return verdicts


def last_boxed(text: str) -> str | None:
    """What stands in the very last box, None where that box is not closed.

    As in the paper, a box without braces goes on to the next dollar sign.
    """
    start = text.rfind("\\boxed")
    start = text.rfind("\\fbox") if start < 0 else start
    bare = _BARE_BOX.match(text, start) if start >= 0 else None
    if bare is not None:
        return bare[1].strip()
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
