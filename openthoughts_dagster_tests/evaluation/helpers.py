"""A model that says what a test wants, and files."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Answer, Prompt

Reply = Callable[[str, int], str | Exception]


class Asked(list[Prompt]):
    """An `AskModel` whose model says what `reply(question, sample index)` returns; an exception is a failed request."""

    def __init__(self, reply: Reply, finish_reason: str = "stop") -> None:
        super().__init__()
        self.reply, self.finish_reason, self.calls = reply, finish_reason, 0

    def __call__(self, prompts: Sequence[Prompt]) -> list[list[Answer]]:
        self.calls += 1
        self.extend(prompts)
        return [[self._answer(prompt.user, index) for index in range(prompt.samples)] for prompt in prompts]

    def _answer(self, question: str, index: int) -> Answer:
        said = self.reply(question, index)
        if isinstance(said, Exception):
            return Answer("key", index, None, "", "error", str(said), 0, 0)
        parts = split_reasoning(said)
        return Answer("key", index, parts.reasoning, parts.answer, self.finish_reason, None, 1, 1)


def asking(reply: Reply, finish_reason: str = "stop") -> Asked:
    return Asked(reply, finish_reason)


def json_lines(path: Path, rows: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
