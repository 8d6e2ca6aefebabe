"""Asks a judge whether the results of two answers are the same."""

import re
from collections import Counter
from collections.abc import Sequence

from openthoughts_dagster.generation.json_replies import ask_for_json
from openthoughts_dagster.generation.requests import AskModel

_ATTEMPTS = 3
_SHOWN = 2_000  # characters of a result; the end is kept
_SCHEMA = {
    "type": "object",
    "properties": {"same": {"type": "boolean"}},
    "required": ["same"],
    "additionalProperties": False,
}
_PROMPT = """Two people answered the same question. Do their final results mean the same? Only the results count, not
how they are written. Reply with JSON: {"same": true} or {"same": false}.

Question:
{question}

First result:
{first}

Second result:
{second}"""


_SLOTS = re.compile(r"{question}|{first}|{second}")


def judged_same(asked: Sequence[tuple[str, str, str]], ask: AskModel) -> list[bool]:
    """Ask a judge about pairs of results.

    Args:
        asked: Question, first and second result. Equal results are the same, and an empty one is no result; the judge
            is not asked about either.
        ask: Asks the judge.

    Returns:
        Whether the results of each pair are the same; False also where no reply of the judge could be read.
    """
    open_ = sorted({entry for entry in asked if entry[1] and entry[2] and entry[1] != entry[2]})
    prompts = [_prompt(*entry) for entry in open_]
    replies = ask_for_json(prompts, ask, _SCHEMA, lambda value: value.get("same"), _ATTEMPTS) if prompts else []
    said = dict(zip(open_, replies, strict=True))
    return [bool(first) and (first == second or bool(said.get((text, first, second)))) for text, first, second in asked]


def judged_majorities(questions: Sequence[str], results: Sequence[Sequence[str]], ask: AskModel) -> list[list[bool]]:
    """Find the largest group of equal results of each question, as a judge sees them.

    In each round the most frequent result that has no group yet is compared with all others without one. The rounds of
    a question end when no other group can be as large as its largest.

    Args:
        questions: The texts of the questions.
        results: The results of the answers to each; an empty one belongs to no group.
        ask: Asks the judge.

    Returns:
        For each question which results belong to its largest group; none if two groups are equally large.
    """
    left = [Counter(result for result in own if result) for own in results]
    groups: list[list[tuple[int, set[str]]]] = [[] for _ in results]
    while open_ := [n for n in range(len(left)) if left[n].total() and left[n].total() >= _largest(groups[n])]:
        firsts = {n: left[n].most_common(1)[0][0] for n in open_}
        asked = [(n, other) for n in open_ for other in left[n] if other != firsts[n]]
        same = judged_same([(questions[n], firsts[n], other) for n, other in asked], ask)
        members = {n: {first} for n, first in firsts.items()}
        for (n, other), equal in zip(asked, same, strict=True):
            if equal:
                members[n].add(other)
        for n, texts in members.items():
            groups[n].append((sum(left[n].pop(text) for text in texts), texts))
    return [_in_largest(own, found) for own, found in zip(results, groups, strict=True)]


def _largest(groups: Sequence[tuple[int, set[str]]]) -> int:
    return max((size for size, _ in groups), default=0)


def _in_largest(results: Sequence[str], groups: Sequence[tuple[int, set[str]]]) -> list[bool]:
    largest = [texts for size, texts in groups if size == _largest(groups)]
    return [len(largest) == 1 and result in largest[0] for result in results]


def _prompt(question: str, first: str, second: str) -> str:
    # One pass: a text that mentions {second} stays text.
    parts = {"{question}": question, "{first}": first[-_SHOWN:], "{second}": second[-_SHOWN:]}
    return _SLOTS.sub(lambda slot: parts[slot[0]], _PROMPT)
