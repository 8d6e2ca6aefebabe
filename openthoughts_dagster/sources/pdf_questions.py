"""Question-answer pairs from pages of text: a judge extracts them, refines them, and decides which are kept.

OpenThoughts (arXiv 2506.04178) made its organic chemistry questions in these three steps. Every reply is kept in the
ledger of completions, so that nothing is asked twice when the source is read again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openthoughts_dagster.generation.json_replies import read_json_replies
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.sources.contract import Row, quote
from openthoughts_dagster.sources.judging import judge_problem
from openthoughts_dagster.sources.prompts import fill_fields

_TEXT = {"type": "string"}
_PAIR = {
    "type": "object",
    "properties": {"question": _TEXT, "answer": _TEXT},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
_PAIRS = {
    "type": "object",
    "properties": {"pairs": {"type": "array", "items": _PAIR}},
    "required": ["pairs"],
    "additionalProperties": False,
}
_VERDICT = {
    "type": "object",
    "properties": {"keep": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["keep"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class PdfPrompts:
    """The texts of the prompts. A step whose prompt is None is skipped."""

    extract: str
    refine: str | None
    keep: str | None

    @property
    def texts(self) -> tuple[str | None, ...]:
        """All prompts, in the order in which they are asked."""
        return self.extract, self.refine, self.keep


@dataclass(frozen=True)
class Group:
    """The text of a group of pages."""

    text: str
    origin: dict[str, Any]


@dataclass(frozen=True)
class _Pair:
    question: str
    answer: str
    origin: dict[str, Any]

    def row(self, problem: tuple[str, str] | None = None) -> Row:
        return Row({"question": self.question, "answer": self.answer}, self.origin, problem)


def questions_in(groups: Sequence[Group], prompts: PdfPrompts, attempts: int, ask: AskModel) -> Iterator[Row]:
    """Ask a judge for the question-answer pairs in groups of pages.

    Args:
        groups: The texts.
        prompts: The prompts of the three steps.
        attempts: How often a reply that cannot be read is asked for again.
        ask: Asks the judge.

    Yields:
        A row for each pair that is kept, and a row with a problem for each pair that a step drops and for each group
        without pairs.
    """
    pairs, dropped = _extract_pairs(groups, prompts.extract, attempts, ask)
    yield from dropped
    if prompts.refine is not None:
        pairs, dropped = _refine_pairs(pairs, prompts.refine, attempts, ask)
        yield from dropped
    if prompts.keep is not None:
        pairs, dropped = _filter_pairs(pairs, prompts.keep, attempts, ask)
        yield from dropped
    yield from (pair.row() for pair in pairs)


def _extract_pairs(
    groups: Sequence[Group], template: str, attempts: int, ask: AskModel
) -> tuple[list[_Pair], list[Row]]:
    replies = read_json_replies(
        [fill_fields(template, text=group.text) for group in groups], ask, _PAIRS, _parse_pairs, attempts
    )
    pairs, dropped, found = list[_Pair](), list[Row](), set[str]()
    for group, reply in zip(groups, replies, strict=True):
        if reply.value is None:
            dropped.append(Row({}, group.origin, judge_problem(reply)))
        elif not reply.value:
            dropped.append(Row({}, group.origin, ("no_pair", f"the judge found none in: {quote(group.text)}")))
        else:
            for question, answer in reply.value:
                pair = _Pair(question, answer, group.origin)
                if question in found:  # overlapping groups share pages
                    dropped.append(pair.row(("found_twice", f"another group has the same question: {quote(question)}")))
                else:
                    found.add(question)
                    pairs.append(pair)
    return pairs, dropped


def _refine_pairs(pairs: list[_Pair], template: str, attempts: int, ask: AskModel) -> tuple[list[_Pair], list[Row]]:
    replies = read_json_replies([_fill_prompt(template, pair) for pair in pairs], ask, _PAIR, _parse_pair, attempts)
    refined, dropped = list[_Pair](), list[Row]()
    for pair, reply in zip(pairs, replies, strict=True):
        if reply.value is None:
            dropped.append(pair.row(judge_problem(reply, "refining: ")))
        else:
            refined.append(replace(pair, question=reply.value["question"], answer=reply.value["answer"]))
    return refined, dropped


def _filter_pairs(pairs: list[_Pair], template: str, attempts: int, ask: AskModel) -> tuple[list[_Pair], list[Row]]:
    replies = read_json_replies(
        [_fill_prompt(template, pair) for pair in pairs], ask, _VERDICT, _parse_verdict, attempts
    )
    kept, dropped = list[_Pair](), list[Row]()
    for pair, reply in zip(pairs, replies, strict=True):
        if reply.value is None:
            dropped.append(pair.row(judge_problem(reply, "filtering: ")))
        elif reply.value:
            kept.append(pair)
        else:
            dropped.append(pair.row(("judged_unfit", f"the judge says no to: {quote(pair.question)}")))
    return kept, dropped


def _fill_prompt(template: str, pair: _Pair) -> str:
    return fill_fields(template, question=pair.question, answer=pair.answer)


def _parse_pairs(value: Any) -> list[tuple[str, str]] | None:
    entries = value.get("pairs") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return None
    pairs = [_parse_pair(entry) for entry in entries]
    return None if None in pairs else [(pair["question"], pair["answer"]) for pair in pairs if pair is not None]


def _parse_pair(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("question", "answer")):
        return None
    pair = {name: value[name].strip() for name in ("question", "answer")}
    return pair if pair["question"] else None


def _parse_verdict(value: Any) -> bool | None:
    said = value.get("keep") if isinstance(value, dict) else None
    return {"yes": True, "no": False}.get(said.strip().lower()) if isinstance(said, str) else None
