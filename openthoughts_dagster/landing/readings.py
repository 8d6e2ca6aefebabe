"""What the rows of raw_sources were read with. The lake says it, so that a new instance or a new recipe can compare."""

import json

import polars as pl

from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, SOURCE_READINGS, Lake
from openthoughts_dagster.landing.versions import definition_of, settings_of
from openthoughts_dagster.recipe import Source
from openthoughts_dagster.sources import StagedSource


def write_rows(lake: Lake, source: Source, read: StagedSource) -> None:
    """Replace the rows of a source in raw_sources and rejected_questions, and record the settings they were read with.

    Nothing is recorded while rows of other settings are being replaced, so that a run which ends in the middle leaves a
    partition that is known to be out of date.

    Args:
        lake: The tables.
        source: The source.
        read: Its rows.

    Raises:
        LakeError: A table cannot be written.
    """
    name, settings = source.name, settings_of(source)
    if settings_read_with(lake, name).get(name, settings) != settings:
        lake.replace(SOURCE_READINGS, SOURCE_READINGS.schema.to_frame(), source=name)
    lake.replace_batches(REJECTED_QUESTIONS, read.rejected, source=name, stage=RAW_SOURCES.name)
    lake.replace_batches(RAW_SOURCES, read.questions, source=name)
    definition = json.dumps(definition_of(source), sort_keys=True, ensure_ascii=False, default=str)
    row = {"source": name, "settings": settings, "definition": definition, "rows": read.kept}
    lake.replace(SOURCE_READINGS, pl.DataFrame([row], schema=SOURCE_READINGS.schema), source=name)


def settings_read_with(lake: Lake, name: str | None = None) -> dict[str, str]:
    """Return the hash of the settings that the present rows of each source were read with, by the source's name.

    Sources that an older version of this program read are not in it.

    Args:
        lake: The tables.
        name: Only this source; all when None.

    Raises:
        LakeError: The table cannot be read.
    """
    rows = lake.scan(SOURCE_READINGS, **({} if name is None else {"source": name}))
    return dict(rows.select("source", "settings").collect().iter_rows())


def sources_read_otherwise(lake: Lake, sources: list[Source]) -> list[str]:
    """List the sources whose rows in the lake were read with other settings than they have now.

    Raises:
        LakeError: The table cannot be read.
    """
    recorded = settings_read_with(lake)
    return [each.name for each in sources if recorded.get(each.name, settings_of(each)) != settings_of(each)]
