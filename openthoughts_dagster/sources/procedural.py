"""Questions that reasoning_gym generates."""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import version

from openthoughts_dagster.recipe import Columns, ProceduralSource
from openthoughts_dagster.sources.normalize import Row, SourceError


def procedural_columns() -> Columns:
    """How reasoning_gym names its columns."""
    return Columns(question="question", answer="answer")


def read_procedural(source: ProceduralSource) -> Iterator[Row]:
    """`source.size` questions of a family, the same for the same seed and version of reasoning_gym.

    Raises SourceError for an unknown family or options that it does not take.
    """
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if source.family not in DATASETS:
        close = get_close_matches(source.family, DATASETS, n=3) or sorted(DATASETS)[:5]
        raise SourceError(
            f"sources.{source.name}.family: reasoning_gym {version('reasoning-gym')} has no family {source.family!r}; "
            f"did you mean {' or '.join(close)}? It has {len(DATASETS)}"
        )
    try:
        dataset = reasoning_gym.create_dataset(source.family, size=source.size, seed=source.seed, **source.options)
    except (TypeError, ValueError, AssertionError) as error:
        raise SourceError(f"sources.{source.name}.options: {source.family} does not take them: {error}") from error
    for index in range(source.size):
        entry = dataset[index]
        origin = {
            "family": source.family,
            "seed": source.seed,
            "index": index,
            "reasoning_gym": version("reasoning-gym"),
        }
        yield Row({"question": entry["question"], "answer": entry["answer"], "metadata": entry["metadata"]}, origin)
