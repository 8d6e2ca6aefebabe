"""Read a source of a recipe whose folder is a temporary one, into frames that fit a test."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from backports import zstd
from pydantic import TypeAdapter

from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, conform
from openthoughts_dagster.recipe import Recipe, Source, load_recipe
from openthoughts_dagster.recipe.lock import Lock
from openthoughts_dagster.recipe.lock_references import apply_lock
from openthoughts_dagster.sources import ReaderContext, StagedSource, read_source

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstd.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@dataclass(frozen=True)
class Read:
    """What a source gave, in memory."""

    staged: StagedSource
    questions: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def texts(self) -> list[str]:
        """The questions' texts, in order."""
        return self.questions["question"].to_list()

    @property
    def reasons(self) -> list[str]:
        """Why rows were rejected, in order."""
        return self.rejected["reason"].to_list()

    def origins(self) -> list[dict[str, Any]]:
        """Where the questions are from."""
        return [json.loads(origin) for origin in self.questions["origin"]]


def source_of(block: dict[str, Any]) -> Source:
    """A source as a recipe would say it, with a name and a domain when it has none."""
    source: Source = TypeAdapter(Source).validate_python({"name": "mine", "domain": "math"} | block)
    return source


def recipe_in(folder: Path) -> Recipe:
    """A recipe with that folder."""
    recipe = load_recipe("quickstart", {"OPENTHOUGHTS_DATA": str(folder)})
    recipe._folder = folder
    return recipe


def read(folder: Path, block: dict[str, Any] | Source, lock: Lock | None = None, **context: Any) -> Read:
    """Everything that a source has, its rows fitting their tables."""
    source = source_of(block) if isinstance(block, dict) else block
    recipe = recipe_in(folder)
    with read_source(
        source, apply_lock(recipe, lock) if lock else recipe, ReaderContext(folder / "staging", **context)
    ) as staged:
        frames = {
            table.name: conform(table, pl.concat([pl.DataFrame(schema=table.schema), *batches()]))
            for table, batches in ((RAW_SOURCES, staged.questions), (REJECTED_QUESTIONS, staged.rejected))
        }
        assert (
            staged.kept == frames["raw_sources"].height
            and sum(staged.reasons.values()) == frames["rejected_questions"].height
        )
        return Read(staged, frames["raw_sources"], frames["rejected_questions"])


def lines(*rows: object) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
