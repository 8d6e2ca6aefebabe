"""Questions that a judge writes from the rows of a source, such as documents, code or formulas."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from openthoughts_dagster.generation.json_replies import read_json_replies
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import text_hash, value_hash
from openthoughts_dagster.recipe import Columns, Recipe, TableSource, identity_of
from openthoughts_dagster.sources.contract import ReaderContext, Reading, Row, Shard, SourceError, quote
from openthoughts_dagster.sources.judging import judge_problem
from openthoughts_dagster.sources.prompts import fill_fields, read_prompt
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
    """Ask a judge to write a question from each document.

    Args:
        documents: The rows that the source's filters and limit left. Only these are paid for.
        source: The source, which has `rewrite`.
        recipe: The recipe, which has the judge.
        context: Opens the judge.

    Returns:
        One shard for each thousand documents. Its rows are the questions.

    Raises:
        SourceError: The prompt is missing, or no judge can be asked.
    """
    assert source.rewrite is not None
    where, rewrite = f"sources.{source.name}.rewrite", source.rewrite
    prompt = read_prompt(rewrite.prompt, ("text",), recipe.path, f"{where}.prompt")
    if context.ask is None:
        raise SourceError(
            f"{where}: the judge {rewrite.judge!r} cannot be asked here; materialize raw_sources, or pass "
            "`ask` in the context"
        )
    ask, judge = context.ask(rewrite.judge), value_hash(identity_of(recipe.judge(rewrite.judge)))
    noted = {"judge": rewrite.judge, "prompt": rewrite.prompt}

    def opened(start: int) -> Callable[[], Iterator[Row]]:
        return lambda: _write_questions(_slice_documents(documents, start), prompt, rewrite.attempts, ask, noted)

    shards = []
    for start in range(0, documents.kept, _ASKED_AT_ONCE):
        ids = _slice_documents(documents, start)["question_id"]
        shards.append(Shard(f"{start:09}", text_hash(judge, prompt, *ids), opened(start)))
    return Reading(shards, sampled=True)


def _slice_documents(documents: StagedSource, start: int) -> pl.DataFrame:
    """Return the documents from position `start` on, as many as are asked about at once."""
    wanted, position = list[pl.DataFrame](), 0
    for batch in documents.questions():
        first, last = max(start - position, 0), min(start + _ASKED_AT_ONCE - position, batch.height)
        if first < last:
            wanted.append(batch[first:last])
        position += batch.height
        if position >= start + _ASKED_AT_ONCE:
            break
    return pl.concat(wanted)


def _write_questions(
    documents: pl.DataFrame, prompt: str, attempts: int, ask: AskModel, noted: dict[str, Any]
) -> Iterator[Row]:
    prompts = [fill_fields(prompt, text=text) for text in documents["question"]]
    replies = read_json_replies(prompts, ask, _QUESTION, _parse_question, attempts)
    for document, reply in zip(documents.iter_rows(named=True), replies, strict=True):
        origin = json.loads(document["origin"]) | {"document": document["question_id"], **noted}
        if reply.value is None:
            yield Row({}, origin, judge_problem(reply))
        elif not reply.value:
            yield Row({}, origin, ("nothing_written", f"the judge found no question in: {quote(document['question'])}"))
        else:
            yield Row(_kept_columns(json.loads(document["metadata"])) | {"question": reply.value}, origin)


def _kept_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a document. A column called `question` is renamed, to make room for the written one."""
    return {"document_question" if name == "question" else name: value for name, value in columns.items()}


def _parse_question(value: Any) -> str | None:
    said = value.get("question") if isinstance(value, dict) else None
    return said.strip() if isinstance(said, str) else None
