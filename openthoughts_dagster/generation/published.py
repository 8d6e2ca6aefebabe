"""Reads questions with published answers from the files of a data set, and finds answers by the question's text."""

import hashlib
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.reasoning import CLOSE, join_reasoning
from openthoughts_dagster.recipe.serving import PublishedAnswers

_ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".ndjson", ".json")
_BATCH = 500  # rows whose texts are in memory at the same time
_CHATS = ("conversations", "messages")
_QUESTIONS = ("instruction_seed", "question", "problem", "prompt", "instruction")
_ANSWERS = ("answer", "response", "output", "solution", "deepseek_solution", "completion")
_REASONING = ("reasoning", "deepseek_reasoning", "reasoning_content", "final_reasoning_trace")
_USER, _REPLY = ("user", "human"), ("assistant", "gpt", "model")


class PublishedIndex:
    """The answers of a data set by question. Texts are on disk, compressed; in memory is where each one is.

    Two questions are the same if they differ in white space only.

    Args:
        path: A file, or a folder whose files are read in the order of their names.
        settings: Which files and columns are read; columns that it does not name are found by their usual names.
        name: The model's name in the recipe, for messages.

    Raises:
        EngineError: There is no such file, it cannot be read, or it has no column of questions or answers.
    """

    def __init__(self, path: Path, settings: PublishedAnswers, name: str) -> None:
        self._places: dict[bytes, list[tuple[int, int]]] = {}
        self._texts = tempfile.TemporaryFile(prefix="published-")  # noqa: SIM115  closed by close()
        end = 0
        for row in _rows(path, settings, name):
            question, answer = _pair_of(row, settings, name)
            if not question or not answer:
                continue
            text = zlib.compress(answer.encode("utf-8", "replace"), 1)
            self._texts.write(text)
            self._places.setdefault(_key(question), []).append((end, len(text)))
            end += len(text)
        if not self._places:
            raise EngineError(
                f"{name}: {path} has no row with a question and an answer: name their columns in `published`, or "
                "correct `model`"
            )

    def __len__(self) -> int:
        """The number of different questions."""
        return len(self._places)

    def count(self, question: str) -> int:
        """Return how many answers a question has."""
        return len(self._places.get(_key(question), ()))

    def answer(self, question: str, sample: int) -> str | None:
        """Return one of the answers to a question, in the order of the data set; None if there are not so many."""
        places = self._places.get(_key(question), [])
        if sample >= len(places):
            return None
        start, length = places[sample]
        self._texts.seek(start)
        return zlib.decompress(self._texts.read(length)).decode()

    def close(self) -> None:
        """Remove the texts from the disk."""
        self._texts.close()


def _key(question: str) -> bytes:
    return hashlib.blake2b(" ".join(question.split()).encode("utf-8", "replace"), digest_size=16).digest()


def _rows(path: Path, settings: PublishedAnswers, name: str) -> Iterator[Mapping[str, Any]]:
    files = [path] if path.is_file() else sorted(f for f in path.glob(settings.files) if f.name.endswith(_ENDINGS))
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if not files:
        raise EngineError(
            f"{name}: {path} has no file that fits {settings.files!r} and ends in {', '.join(_ENDINGS)}: correct "
            "`model` or `published.files`"
        )
    for file in files:
        try:
            yield from _parquet_rows(file, settings, name) if file.name.endswith(".parquet") else _json_rows(file)
        except EngineError:
            raise
        except Exception as error:  # a broken file may raise anything in its reader
            raise EngineError(f"{name}: {file} cannot be read: {type(error).__name__}: {error}") from error


def _parquet_rows(file: Path, settings: PublishedAnswers, name: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    there, named = parquet.schema_arrow.names, [settings.question, settings.answer, settings.reasoning]
    if absent := [column for column in named if column is not None and column not in there]:
        raise EngineError(f"{name}: {file} has no column {absent[0]!r}; it has {', '.join(there)}")
    names = {*_CHATS, *_QUESTIONS, *_ANSWERS, *_REASONING, *named}
    columns = [column for column in there if column in names]
    for batch in parquet.iter_batches(_BATCH, columns=columns or None):
        yield from batch.to_pylist()


def _json_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    import gzip

    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no JSON object")
                yield row


def _pair_of(row: Mapping[str, Any], settings: PublishedAnswers, name: str) -> tuple[str, str]:
    """Return the question and the whole answer, with its reasoning in tags; empty texts where the row lacks them."""
    chat = next((row[column] for column in _CHATS if row.get(column)), None)
    asked, replied = _turns(chat) if chat is not None else ("", "")
    question = _text(row, settings.question, _QUESTIONS, name) or asked
    if replied and settings.answer is None:
        return question, replied
    answer = _text(row, settings.answer, _ANSWERS, name)
    reasoning = _text(row, settings.reasoning, _REASONING, name)
    if not reasoning or CLOSE in answer:
        return question, answer
    if CLOSE in reasoning:  # a whole trace, with its answer
        return question, reasoning
    return question, join_reasoning(reasoning, answer)


def _text(row: Mapping[str, Any], named: str | None, usual: tuple[str, ...], name: str) -> str:
    if named is not None and named not in row:
        raise EngineError(f"{name}: its data set has no column {named!r}; it has {', '.join(map(str, row))}")
    found = row.get(named) if named is not None else next((row[c] for c in usual if row.get(c)), None)
    return found if isinstance(found, str) else ""


def _turns(chat: Any) -> tuple[str, str]:
    """Return the first turn of the user and the reply after it, in either of the two usual forms of a chat."""
    turns = json.loads(chat) if isinstance(chat, str) else chat
    asked = ""
    for turn in turns if isinstance(turns, list) else []:
        role, text = (turn.get("role") or turn.get("from"), turn.get("content") or turn.get("value"))
        if not asked and role in _USER and isinstance(text, str):
            asked = text
        elif asked and role in _REPLY and isinstance(text, str):
            return asked, text
    return asked, ""
