"""Question-answer pairs out of pages of text: a judge extracts, refines, and says yes or no.

OpenThoughts (arXiv 2506.04178) made its organic chemistry questions in these three steps. Every reply is kept in the
ledger of completions, so that reading again asks for nothing twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openthoughts_dagster.generation.json_replies import read_json_replies
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.sources.contract import Row, quoted
from openthoughts_dagster.sources.judging import judge_problem
from openthoughts_dagster.sources.prompts import filled

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
    """The texts of the prompts; a step without one is left out."""

    extract: str
    refine: str | None
    keep: str | None

    @property
    def texts(self) -> tuple[str | None, ...]:
        """All of them, in the order of asking."""
        return self.extract, self.refine, self.keep


@dataclass(frozen=True)
class Group:
    """The text of some pages."""

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
    """The pairs of the groups; as rows with a problem those that a step drops, and groups that have none."""
    pairs, dropped = _extracted(groups, prompts.extract, attempts, ask)
    yield from dropped
    if prompts.refine is not None:
        pairs, dropped = _refined(pairs, prompts.refine, attempts, ask)
        yield from dropped
    if prompts.keep is not None:
        pairs, dropped = _kept(pairs, prompts.keep, attempts, ask)
        yield from dropped
    yield from (pair.row() for pair in pairs)


def _extracted(groups: Sequence[Group], template: str, attempts: int, ask: AskModel) -> tuple[list[_Pair], list[Row]]:
    replies = read_json_replies(
        [filled(template, text=group.text) for group in groups], ask, _PAIRS, _pairs_of, attempts
    )
    pairs, dropped, found = list[_Pair](), list[Row](), set[str]()
    for group, reply in zip(groups, replies, strict=True):
        if reply.value is None:
            dropped.append(Row({}, group.origin, judge_problem(reply)))
        elif not reply.value:
            dropped.append(Row({}, group.origin, ("no_pair", f"the judge found none in: {quoted(group.text)}")))
        else:
            for question, answer in reply.value:
                pair = _Pair(question, answer, group.origin)
                if question in found:  # pages are read twice where groups overlap
                    dropped.append(
                        pair.row(("found_twice", f"another group has the same question: {quoted(question)}"))
                    )
                else:
                    found.add(question)
                    pairs.append(pair)
    return pairs, dropped


def _refined(pairs: list[_Pair], template: str, attempts: int, ask: AskModel) -> tuple[list[_Pair], list[Row]]:
    replies = read_json_replies([_filled(template, pair) for pair in pairs], ask, _PAIR, _pair_of, attempts)
    refined, dropped = list[_Pair](), list[Row]()
    for pair, reply in zip(pairs, replies, strict=True):
        if reply.value is None:
            dropped.append(pair.row(judge_problem(reply, "refining: ")))
        else:
            refined.append(replace(pair, question=reply.value["question"], answer=reply.value["answer"]))
    return refined, dropped


def _kept(pairs: list[_Pair], template: str, attempts: int, ask: AskModel) -> tuple[list[_Pair], list[Row]]:
    replies = read_json_replies([_filled(template, pair) for pair in pairs], ask, _VERDICT, _verdict_of, attempts)
    kept, dropped = list[_Pair](), list[Row]()
    for pair, reply in zip(pairs, replies, strict=True):
        if reply.value is None:
            dropped.append(pair.row(judge_problem(reply, "filtering: ")))
        elif reply.value:
            kept.append(pair)
        else:
            dropped.append(pair.row(("judged_unfit", f"the judge says no to: {quoted(pair.question)}")))
    return kept, dropped


def _filled(template: str, pair: _Pair) -> str:
    return filled(template, question=pair.question, answer=pair.answer)


def _pairs_of(value: Any) -> list[tuple[str, str]] | None:
    entries = value.get("pairs") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return None
    pairs = [_pair_of(entry) for entry in entries]
    return None if None in pairs else [(pair["question"], pair["answer"]) for pair in pairs if pair is not None]


def _pair_of(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("question", "answer")):
        return None
    pair = {name: value[name].strip() for name in ("question", "answer")}
    return pair if pair["question"] else None


def _verdict_of(value: Any) -> bool | None:
    said = value.get("keep") if isinstance(value, dict) else None
    return {"yes": True, "no": False}.get(said.strip().lower()) if isinstance(said, str) else None
