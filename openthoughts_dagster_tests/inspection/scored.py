"""Students whose answers to a small benchmark are in the ledger, as an evaluation leaves them."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation import evaluate
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.lake import COMPLETIONS, Lake, Table
from openthoughts_dagster.recipe import Evaluation
from openthoughts_dagster_tests.answers.rows import completion_rows
from openthoughts_dagster_tests.evaluation.helpers import Reply


class Recorded:
    """A model that says what `reply(question, sample index)` returns, and whose answers are in the ledger."""

    def __init__(self, lake: Lake, model: str, reply: Reply) -> None:
        self._lake, self._model, self._reply = lake, model, reply

    def __call__(self, prompts: Sequence[Prompt]) -> list[list[Answer]]:
        answers, ledger = [], []
        for number, prompt in enumerate(prompts):
            own = []
            for index in range(prompt.samples):
                said = self._reply(prompt.user, index)
                failed = isinstance(said, Exception)
                text, name = "" if failed else str(said), f"{self._model}-{number}-{index}"
                reason, error = ("error", str(said)) if failed else ("stop", None)
                own.append(Answer("key", index, "thought", text, reason, error, 3, 4, name, self._model))
                row = completion_rows(self._model, [name], [text], ["thought"])
                ledger.append(
                    row.with_columns(
                        prompt=pl.lit(f"<user>{prompt.user}"),
                        error=pl.lit(error, dtype=pl.String),
                        finish_reason=pl.lit(reason),
                        sample_index=pl.lit(index, dtype=pl.Int32),
                        completion_tokens=pl.lit(4, dtype=pl.Int32),
                        asset=pl.lit("benchmark_scores"),
                    )
                )
            answers.append(own)
        self._lake.append(COMPLETIONS, pl.concat(ledger))
        return answers


def score(lake: Lake, table: Table, evaluation: Evaluation, reply: Reply, output: Any, **labels: str) -> pl.DataFrame:
    """Score a model that says what `reply` returns, and write its rows as the asset does."""
    model = "m@" + "-".join(labels.values())
    items = evaluate(evaluation, str, Recorded(lake, model, reply), output / model, model).items
    rows = items.with_columns(pl.lit(value).alias(name) for name, value in labels.items())
    if "untrained_score" in table.columns:
        rows = rows.with_columns(untrained_score=pl.lit(0.0))
    rows = rows.select(list(table.columns))
    lake.replace(table, rows, **labels)
    return rows
