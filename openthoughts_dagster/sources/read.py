"""Reading a source with the reader that its recipe names."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from openthoughts_dagster.recipe import Recipe, Source, TableSource
from openthoughts_dagster.sources.contract import ReaderContext, Reading, SourceError
from openthoughts_dagster.sources.readers import columns_of, missing_package, reader_of
from openthoughts_dagster.sources.rewriting import WRITTEN_COLUMNS, written_from
from openthoughts_dagster.sources.staged import StagedSource, absent_metadata, check_found
from openthoughts_dagster.sources.staging import Stage
from openthoughts_dagster.storage import hold_file


@contextmanager
def read_source(source: Source, recipe: Recipe, context: ReaderContext) -> Iterator[StagedSource]:
    """Read all rows of a source, or a seeded sample of `source.limit` rows.

    Rows are staged in files below `context.staging`, which are removed when the block ends without an error. After an
    error the next attempt finds the shards that were finished.

    Args:
        source: A source of a recipe, or a source that landed.
        recipe: The recipe. It has the seed of samples, the folder that relative paths start at, and the judges.
        context: The folders of this deployment, and how judges are asked.

    Yields:
        The staged source. Its method `questions()` yields batches of raw_sources, and `rejected()` yields batches of
        rejected_questions. `kept`, `rows_in`, `reasons` and `counts` are numbers of rows.

    Raises:
        SourceError: The source cannot be read completely, none of its rows has a question, its reader's package is not
            installed, or another process is reading it. The message says which setting to change.

    Example:
        >>> with read_source(recipe.source("gsm8k"), recipe, ReaderContext(Path("staging"))) as staged:
        ...     questions = pl.concat(staged.questions())
    """
    if missing := missing_package(source):
        raise SourceError(f"sources.{source.name}: {missing}")
    folder = context.staging / source.name

    def refuse() -> None:
        raise SourceError(f"sources.{source.name}: another run is reading it into {folder}; wait until it has ended")

    with hold_file(context.staging / f"{source.name}.lock", refuse):
        folder.mkdir(exist_ok=True)
        yield _staged(source, recipe, context)
        shutil.rmtree(folder)


def _staged(source: Source, recipe: Recipe, context: ReaderContext) -> StagedSource:
    seed, folder = f"{recipe.seed}:{source.name}", context.staging / source.name
    reading, columns = reader_of(source).read(source, recipe, context, seed), columns_of(source)
    where = source.where if isinstance(source, TableSource) else ()
    limit = None if reading.sampled else source.limit
    staged = _stage_shards(Stage(folder / "read", source, columns, limit, seed, where), reading, context)
    check_found(staged, columns)
    for name in absent_metadata(staged, columns):
        context.log(f"sources.{source.name}.columns.metadata: no row has {name!r}; it is null everywhere")
    if not isinstance(source, TableSource) or source.rewrite is None:
        return staged
    reading = written_from(staged, source, recipe, context)
    written = _stage_shards(Stage(folder / "written", source, WRITTEN_COLUMNS, None, seed), reading, context)
    written = replace(written, counts=staged.counts, documents=staged)
    check_found(written, WRITTEN_COLUMNS)
    return written


def _stage_shards(stage: Stage, reading: Reading, context: ReaderContext) -> StagedSource:
    stage.clear_others(reading.shards)
    for number, shard in enumerate(reading.shards, 1):
        state = "read" if stage.put(shard) else "kept from an earlier attempt"
        name = "" if shard.name.isdigit() else f": {shard.name}"  # shards of generated questions only have numbers
        context.log(f"{stage.source.name}: shard {number:,} of {len(reading.shards):,} {state}{name}")
    return StagedSource(stage, reading.shards, stage.counts(reading.shards))
