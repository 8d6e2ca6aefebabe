"""Read a source with the reader that its recipe names."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from openthoughts_dagster.recipe import (
    Columns,
    FilesSource,
    HuggingFaceSource,
    PdfSource,
    Recipe,
    Source,
    StackExchangeSource,
    TableSource,
)
from openthoughts_dagster.sources.contract import ReaderContext, Reading, SourceError
from openthoughts_dagster.sources.files import read_files
from openthoughts_dagster.sources.hugging_face import read_hugging_face
from openthoughts_dagster.sources.pdf import PDF_COLUMNS, read_pdf
from openthoughts_dagster.sources.procedural import PROCEDURAL_COLUMNS, read_procedural
from openthoughts_dagster.sources.rewriting import WRITTEN_COLUMNS, written_from
from openthoughts_dagster.sources.stack_exchange import read_stack_exchange
from openthoughts_dagster.sources.staged import StagedSource, check_found
from openthoughts_dagster.sources.staging import Stage


@contextmanager
def read_source(source: Source, recipe: Recipe, context: ReaderContext) -> Iterator[StagedSource]:
    """All questions of `source`, or a seeded sample of `source.limit` rows, and the rows that are no questions.

    Rows are staged below `context.staging`, and removed when the block ends well: an attempt that fails leaves the
    shards that it finished to the next one. Raises SourceError when the source cannot be read whole, when not one of
    its rows has a question, or when another process reads it.
    """
    folder = context.staging / source.name
    folder.mkdir(parents=True, exist_ok=True)
    with (context.staging / f"{source.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SourceError(
                f"sources.{source.name}: another run is reading it into {folder}; wait until it has ended"
            ) from error
        yield _staged(source, recipe, context)
        shutil.rmtree(folder)


def _staged(source: Source, recipe: Recipe, context: ReaderContext) -> StagedSource:
    seed, folder = f"{recipe.seed}:{source.name}", context.staging / source.name
    reading, columns = _open(source, recipe, context, seed), _columns(source)
    where = source.where if isinstance(source, TableSource) else ()
    limit = None if reading.sampled else source.limit
    staged = _put(Stage(folder / "read", source, columns, limit, seed, where), reading, context)
    check_found(staged, columns)
    if not isinstance(source, TableSource) or source.rewrite is None:
        return staged
    reading = written_from(staged, source, recipe, context)
    written = _put(Stage(folder / "written", source, WRITTEN_COLUMNS, None, seed), reading, context)
    written = replace(written, counts=staged.counts, documents=staged)
    check_found(written, WRITTEN_COLUMNS)
    return written


def _put(stage: Stage, reading: Reading, context: ReaderContext) -> StagedSource:
    stage.clear_others(reading.shards)
    for number, shard in enumerate(reading.shards, 1):
        state = "read" if stage.put(shard) else "kept from an earlier attempt"
        context.log(f"{stage.source.name}: shard {number:,} of {len(reading.shards):,} {state}: {shard.name}")
    return StagedSource(stage, reading.shards, stage.counts(reading.shards))


def _open(source: Source, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    folder = context.staging / source.name
    if isinstance(source, FilesSource):
        return read_files(source, recipe.path(source.path))
    if isinstance(source, HuggingFaceSource):
        return read_hugging_face(source, recipe.path, context.copies)
    if isinstance(source, StackExchangeSource):
        return read_stack_exchange(source, recipe.path(source.path), folder)
    if isinstance(source, PdfSource):
        return read_pdf(source, recipe, context, seed)
    return read_procedural(source, seed)


def _columns(source: Source) -> Columns:
    if isinstance(source, PdfSource):
        return PDF_COLUMNS
    return getattr(source, "columns", PROCEDURAL_COLUMNS)
