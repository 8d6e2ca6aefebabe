"""Questions that a judge writes from the rows of a source: from documents, code or formulas."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from openthoughts_dagster.generation.json_replies import read_json_replies
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import text_hash, value_hash
from openthoughts_dagster.recipe import Columns, Recipe, TableSource, identity_of
from openthoughts_dagster.sources.contract import ReaderContext, Reading, Row, Shard, SourceError, quoted
from openthoughts_dagster.sources.judging import judge_problem
from openthoughts_dagster.sources.prompts import filled, read_prompt
from openthoughts_dagster.sources.staged import StagedSource

WRITTEN_COLUMNS = Columns(question="question")
_ASKED_AT_ONCE = 1000
_QUESTION = {
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}


def written_from(documents: StagedSource, source: TableSource, recipe: Recipe, context: ReaderContext) -> Reading:
    """One shard for each thousand documents; its rows are the questions that the judge wrote from them.

    The documents are those that the source's filters and limit left, so that no other is paid for. Raises SourceError
    without the prompt or a judge.
    """
    assert source.rewrite is not None
    where, rewrite = f"sources.{source.name}.rewrite", source.rewrite
    prompt = read_prompt(rewrite.prompt, ("text",), recipe.path, f"{where}.prompt")
    if context.ask is None:
        raise SourceError(
            f"{where}: nothing here can ask the judge {rewrite.judge!r}; read the source through the asset"
        )
    ask, judge = context.ask(rewrite.judge), value_hash(identity_of(recipe.judge(rewrite.judge)))
    noted = {"judge": rewrite.judge, "prompt": rewrite.prompt}

    def opened(start: int) -> Callable[[], Iterator[Row]]:
        return lambda: _written(_slice(documents, start), prompt, rewrite.attempts, ask, noted)

    shards = []
    for start in range(0, documents.kept, _ASKED_AT_ONCE):
        ids = _slice(documents, start)["question_id"]
        shards.append(Shard(f"{start:09}", text_hash(judge, prompt, *ids), opened(start)))
    return Reading(shards, sampled=True)


def _slice(documents: StagedSource, start: int) -> pl.DataFrame:
    """The documents from `start` on, as many as are asked at once."""
    wanted, position = list[pl.DataFrame](), 0
    for batch in documents.questions():
        first, last = max(start - position, 0), min(start + _ASKED_AT_ONCE - position, batch.height)
        if first < last:
            wanted.append(batch[first:last])
        position += batch.height
        if position >= start + _ASKED_AT_ONCE:
            break
    return pl.concat(wanted)


def _written(
    documents: pl.DataFrame, prompt: str, attempts: int, ask: AskModel, noted: dict[str, Any]
) -> Iterator[Row]:
    prompts = [filled(prompt, text=text) for text in documents["question"]]
    replies = read_json_replies(prompts, ask, _QUESTION, _question_of, attempts)
    for document, reply in zip(documents.iter_rows(named=True), replies, strict=True):
        origin = json.loads(document["origin"]) | {"document": document["question_id"], **noted}
        if reply.value is None:
            yield Row({}, origin, judge_problem(reply))
        elif not reply.value:
            yield Row(
                {}, origin, ("nothing_written", f"the judge found no question in: {quoted(document['question'])}")
            )
        else:
            yield Row(_kept_columns(json.loads(document["metadata"])) | {"question": reply.value}, origin)


def _kept_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a document beside the written question: one that is called so too gets another name."""
    return {"document_question" if name == "question" else name: value for name, value in columns.items()}


def _question_of(value: Any) -> str | None:
    said = value.get("question") if isinstance(value, dict) else None
    return said.strip() if isinstance(said, str) else None
