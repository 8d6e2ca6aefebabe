"""Renders and tokenizes all rows once, into files that are kept until the student is finished."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.requests import messages_for
from openthoughts_dagster.lake import value_hash
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.storage import hold_file
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.rows import read_rows
from openthoughts_dagster.training.templates import Template, choose_template, is_cut_off
from openthoughts_dagster.training.tokens import TokenFiles, token_schema

_PART = 2000  # rows of a file, which are in memory together; an interrupted preparation repeats at most one file
_BATCH = 64  # rows in one call of the tokenizer
_VERSION = 2  # version of the files and of the rendering


@dataclass(frozen=True)
class Counts:
    """Counts of rows: `cut_rows` lost their end, here or at the teacher, and `dropped_rows` are not trained on."""

    rows: int = 0
    dropped_rows: int = 0
    cut_rows: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.rows + other.rows, self.dropped_rows + other.dropped_rows, self.cut_rows + other.cut_rows)


@dataclass(frozen=True)
class Prepared:
    """A student's tokenized rows, their counts, the chat template that rendered them, and its end of a turn."""

    tokens: TokenFiles
    counts: Counts
    template: str
    end_token: int


def prepare_rows(
    student: Student, base: Model, rows: Path, folder: Path, log: Callable[[str], None], part_rows: int = _PART
) -> Prepared:
    """Tokenize the rows of a file into Arrow files in `folder`, unless they exist.

    Rows are read and written a part at a time, on all cores. The first of several processes of a machine does it, and
    the others wait. An interrupted preparation continues after its last whole part.

    Args:
        student: The settings, with the longest row, what happens to longer ones, and the system prompt.
        base: The model whose tokenizer and chat template are used.
        rows: A parquet file with the columns question and text, and maybe ended.
        folder: The folder of the token files.
        log: Takes lines of progress.
        part_rows: The number of rows in one file.

    Raises:
        EngineError: The chat template writes today's date, and the recipe does not set `template_date`.
        TrainingError: The chat template is not usable for training, or no row is left to train on.
    """
    tokenizer = load_tokenizer(base.address, base.reference.revision, base.identity.revision)
    if tokenizer.is_fast:  # what its file says of the longest text is not what a student says
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    probe = messages_for(student, "The question of this probe.")
    base.render(probe)  # it is refused here if the student's answers would be refused for their date
    template = choose_template(tokenizer, probe, base.pin_date)
    with hold_file(folder.with_name(f".{folder.name}.lock")):
        key = _key(student, base, template, part_rows)
        if not (folder / key).exists():
            shutil.rmtree(folder, ignore_errors=True)  # it is not there, or was prepared otherwise
            folder.mkdir(parents=True)
            (folder / key).touch()
        counts = _prepare_missing(student, template, rows, folder, log, part_rows)
    if not counts.rows:
        raise TrainingError(
            f"student: no row to train on: {counts.dropped_rows:,} answers, all of them longer "
            f"than max_length {student.settings().max_length:,} tokens. Look at teacher_answers and rejected_answers "
            "of this partition, or raise student.training.max_length"
        )
    return Prepared(TokenFiles(sorted(folder.glob("*.arrow"))), counts, template.kind, template.end_token)


def _key(student: Student, base: Model, template: Template, part_rows: int) -> str:
    made_from = [base.identity.partition, template.source, student.system_prompt]
    limits = [student.settings().max_length, student.too_long, part_rows]
    return f"{value_hash([_VERSION, *made_from, *limits])}.key"


def _prepare_missing(
    student: Student, template: Template, rows: Path, folder: Path, log: Callable[[str], None], part_rows: int
) -> Counts:
    """Write the missing parts, and return the counts of all parts."""
    counts, done = Counts(), 0
    while (report := folder / f"{done:09}.json").exists():
        content = json.loads(report.read_text())
        counts += Counts(**content["counts"])
        done += content["rows_in"]
    pending: list[pl.DataFrame] = []
    height, said = 0, done
    for frame in read_rows(rows, done):
        pending.append(frame)
        height += frame.height
        while height >= part_rows:
            waiting = pl.concat(pending)
            counts += _write_part(student, template, waiting.head(part_rows), done, folder)
            done, height, pending = done + part_rows, height - part_rows, [waiting.slice(part_rows)]
            if done - said >= 100_000:
                said = done
                log(f"student: {done:,} rows tokenized")
    if height:
        counts += _write_part(student, template, pl.concat(pending), done, folder)
    return counts


def _write_part(student: Student, template: Template, rows: pl.DataFrame, first: int, folder: Path) -> Counts:
    """Tokenize rows into one file, then write its report; a part without a report is repeated."""
    counts, path = Counts(), folder / f"{first:09}.arrow"
    columns: dict[str, list[Any]] = {"values": [], "lengths": [], "learned_from": [], "row": []}
    batches = [rows.slice(begin, _BATCH) for begin in range(0, rows.height, _BATCH)]
    with _all_cores(), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        tokenized = threads.map(lambda batch: _tokenize_rows(student, template, batch), batches)
        number = first
        for batch in tokenized:
            for ids, prompt, ended in batch:
                counts += _add_row(student, columns, ids, prompt, ended, number)
                number += 1
    if counts.rows:
        _write_tokens(path, columns)
    report = path.with_suffix(".json")
    unfinished = report.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"rows_in": rows.height, "counts": asdict(counts)}))
    unfinished.rename(report)
    return counts


def _write_tokens(path: Path, columns: dict[str, list[Any]]) -> None:
    import pyarrow as pa

    offsets, schema = np.concatenate([[0], np.cumsum(columns["lengths"])]).astype(np.int32), token_schema()
    arrays = [
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(columns["values"]))),
        pa.array(columns["learned_from"], pa.int32()),
        pa.array(columns["row"], pa.int64()),
    ]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _add_row(
    student: Student, columns: dict[str, list[Any]], ids: "np.ndarray[Any, Any]", prompt: int, ended: bool, number: int
) -> Counts:
    longest = student.settings().max_length
    if len(ids) > longest and student.too_long == "truncate":
        ids, ended = ids[:longest], False
    if (len(ids) > longest and student.too_long == "drop") or len(ids) <= prompt:
        return Counts(dropped_rows=1)  # the prompt alone fills max_length, so that there is nothing to learn
    columns["values"].append(ids)
    columns["lengths"].append(len(ids))
    columns["learned_from"].append(prompt)
    columns["row"].append(number)
    return Counts(rows=1, cut_rows=int(not ended))


def _tokenize_rows(
    student: Student, template: Template, rows: pl.DataFrame
) -> list[tuple["np.ndarray[Any, Any]", int, bool]]:
    """Return the token ids of each row, the number of its prompt tokens, and whether its answer has an end."""
    prompts, wholes = [], []
    for question, text, ended in rows.iter_rows():
        messages = messages_for(student, question)
        prompts.append(template.prompt(messages))
        wholes.append(template.conversation(messages, text, prompts[-1], ended))
    before, whole = _encode_texts(template.tokenizer, prompts), _encode_texts(template.tokenizer, wholes)
    return [
        (np.asarray(ids, np.int32), _count_shared(start, ids), not is_cut_off(text, ended))
        for start, ids, text, ended in zip(before, whole, rows["text"], rows["ended"], strict=True)
    ]


def _encode_texts(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Return the token ids of texts. A Rust tokenizer skips the offsets of tokens, which cost as much as the ids."""
    if not tokenizer.is_fast:
        slow: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return slow
    return [row.ids for row in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _count_shared(prompt: list[int], whole: list[int]) -> int:
    """Count the tokens at the beginning that `whole` shares with the prompt; the rest is learned."""
    if whole[: len(prompt)] == prompt:
        return len(prompt)
    differing = (index for index, (one, other) in enumerate(zip(prompt, whole, strict=False)) if one != other)
    return next(differing, min(len(prompt), len(whole)))


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer use all cores, whatever the environment says."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
