"""A judge that replies as a test says, asked through the real ledger."""

import json
from collections.abc import Callable
from pathlib import Path

from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.requests import AskModel, Completion, Request
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Judge, Sampling
from openthoughts_dagster_tests.generation.faulty import FaultyPool

SAMPLING = Sampling(max_tokens=64)


class Judges:
    """Opens a judge for a reader; `reply` gets the rendered prompt and the number of the sample, `spent` counts."""

    def __init__(self, lake: Lake, model: Path, reply: Callable[[str, int], str]) -> None:
        self.spent = Usage()
        self._lake, self._reply = lake, reply
        reference = Judge(name="judge", model=str(model), engine="transformers", sampling=SAMPLING)
        self._model = locate(reference, Path())

    def __call__(self, name: str) -> AskModel:
        assert name == "judge"
        return ledger_client(
            self._lake, FaultyPool(self._complete), self._model, SAMPLING, self.spent, Purpose(), print
        )

    def _complete(self, number: int, request: Request) -> Completion:
        text = self._reply(request.prompt, request.sample_index)
        if text.startswith("HTTP"):
            return Completion(request, "", "error", 0, 0, 0.1, error=text)
        return Completion(request, text, "stop", 3, 4, 0.1)


def pairs(*questions: str) -> str:
    """A reply of the extracting judge."""
    return json.dumps({"pairs": [{"question": text, "answer": f"answer to {text}"} for text in questions]})
