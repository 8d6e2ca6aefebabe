"""Questions that reasoning_gym generates."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from openthoughts_dagster.recipe import Columns, ProceduralSource
from openthoughts_dagster.recipe.suggestions import did_you_mean
from openthoughts_dagster.sources.contract import Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.sampling import sample_positions

PROCEDURAL_COLUMNS = Columns(question="question", answer="answer")
_SHARD = 10_000


def read_procedural(source: ProceduralSource, seed: str) -> Reading:
    """`source.size` questions of a family, or a sample, the same for the same seed and version of reasoning_gym.

    Raises SourceError for an unknown family or options that it does not take.
    """
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    library = version("reasoning-gym")
    if source.family not in DATASETS:
        hint = did_you_mean(source.family, DATASETS, most=3) or f"the first are {', '.join(sorted(DATASETS)[:5])}."
        raise SourceError(
            f"sources.{source.name}.family: reasoning_gym {library} has no family {source.family!r}; "
            f"{hint} It has {len(DATASETS)}"
        )
    try:
        dataset = reasoning_gym.create_dataset(source.family, size=source.size, seed=source.seed, **source.options)
    except (TypeError, ValueError, AssertionError) as error:
        raise SourceError(f"sources.{source.name}.options: {source.family} does not take them: {error}") from error
    indexes = sample_positions(source.size, source.limit or source.size, seed)
    starts = range(0, len(indexes), _SHARD)
    return Reading(
        [Shard(str(start), library, _generator(source, dataset, indexes[start : start + _SHARD])) for start in starts],
        sampled=True,
    )


def _generator(source: ProceduralSource, dataset: Any, indexes: list[int]) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        origin = {"family": source.family, "seed": source.seed, "reasoning_gym": version("reasoning-gym")}
        for index in indexes:
            entry = dataset[index]
            values = {"question": entry["question"], "answer": entry["answer"], "metadata": entry["metadata"]}
            yield Row(values, origin | {"index": index})

    return rows
