"""The reader of procedural families. reasoning_gym generates the questions in a process that always makes the same."""

import json
import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from openthoughts_dagster.recipe import Columns, ProceduralSource, Recipe
from openthoughts_dagster.recipe.suggestions import did_you_mean
from openthoughts_dagster.sources.contract import Reader, ReaderContext, Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.sampling import sample_positions

_SHARD = 10_000
# Families whose questions differ between runs even with fixed seeds: their solvers depend on time or on what was asked
# before. All 106 families of reasoning-gym 0.1.25 were compared, in several processes and in two orders; composite
# mixes others, and was compared with three of them.
UNSTABLE = ("knight_swap",)


def read_procedural(source: ProceduralSource, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    """Generate questions of a family. The same seed and version of reasoning_gym give the same questions.

    Args:
        source: The source: its family, options, size and limit.
        recipe: Not used by this reader.
        context: Not used by this reader.
        seed: The seed of the sample, when the source has a limit.

    Returns:
        One shard for each 10,000 questions.

    Raises:
        SourceError: The family is not the same in every run. Reading a shard raises it for an unknown family, and for
            options that the family does not take.
    """
    library = version("reasoning-gym")
    for family in (source.family, *_families_in(source.options)):
        if family in UNSTABLE:
            raise SourceError(
                f"sources.{source.name}.family: {family} of reasoning_gym gives other questions at every run, with the "
                "same seed too; choose another family"
            )
    indexes = sample_positions(source.size, source.limit or source.size, seed)
    starts = range(0, len(indexes), _SHARD)
    return Reading(
        [Shard(str(start), library, _make_reader(source, indexes[start : start + _SHARD])) for start in starts],
        sampled=True,
    )


READER = Reader(
    ProceduralSource,
    read_procedural,
    package="reasoning_gym",
    columns=Columns(question="question", answer="answer"),
)


def _families_in(options: Any) -> Iterator[str]:
    """Find the names of families in the options, which the family `composite` has."""
    if isinstance(options, Mapping):
        for value in options.values():
            yield from [value] if isinstance(value, str) else _families_in(value)
    elif isinstance(options, list):
        for value in options:
            yield from _families_in(value)


def _make_reader(source: ProceduralSource, indexes: list[int]) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        origin = {"family": source.family, "seed": source.seed, "reasoning_gym": version("reasoning-gym")}
        entries = _generate_entries(source, indexes)
        for index, entry in zip(indexes, entries, strict=True):
            yield Row(entry, origin | {"index": index})

    return rows


def _generate_entries(source: ProceduralSource, indexes: list[int]) -> Iterator[dict[str, Any]]:
    settings = source.model_dump(include={"family", "size", "seed", "options"})
    process = subprocess.Popen(
        [sys.executable, "-m", "openthoughts_dagster.sources.procedural_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(settings | {"indexes": indexes}).encode())
        process.stdin.close()
        for index in indexes:
            try:
                entry = marshal.load(process.stdout)
            except (EOFError, ValueError, TypeError) as error:
                raise _limit_error(source, index, process) from error
            if "error" in entry:
                raise _family_error(source, entry["error"], entry["says"])
            yield entry
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _limit_error(source: ProceduralSource, index: int, process: subprocess.Popen[bytes]) -> SourceError:
    return SourceError(
        f"sources.{source.name}.options: {source.family} made no question {index}: it took longer or more memory than "
        f"one question may (exit status {process.wait()}). Ask for smaller problems in `options`"
    )


def _family_error(source: ProceduralSource, error: str, says: Any) -> SourceError:
    where = f"sources.{source.name}"
    if error == "family":
        hint = did_you_mean(source.family, says, most=3) or f"the first are {', '.join(says[:5])}."
        return SourceError(
            f"{where}.family: reasoning_gym {version('reasoning-gym')} has no family {source.family!r}; "
            f"{hint} It has {len(says)}"
        )
    if error == "options":
        return SourceError(f"{where}.options: {source.family} does not take them: {says}")
    return SourceError(f"{where}: {source.family} failed: {says}. Change its options, or choose another family")
