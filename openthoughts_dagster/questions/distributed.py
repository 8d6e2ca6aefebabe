"""Finds similar pairs and leaks of more texts than one machine can hold, by the same loops on Daft and Ray.

`rows` are a Daft frame with the columns position (0 to n - 1, each once) and question. Texts, grams and pairs stay with
the workers. The calling machine gets only lengths, 64 bytes of MinHash keys for each text, candidate pairs as numbers,
and the results. Common grams and lengths travel to the workers as values in the plan, because a task of Daft 0.6 that
asks Ray for them waits forever. Call `connect` first; otherwise Daft runs in this process.
"""

import json
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.decisions import Decision
from openthoughts_dagster.questions.decontaminate import Leaks, find_leaks
from openthoughts_dagster.questions.matching import similar
from openthoughts_dagster.questions.matching.similar import Edges
from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.recipe import Decontamination

_CHUNK = 50_000
_SHARDS = 64

Keys = npt.NDArray[np.uint64]


class RayError(RuntimeError):
    """The Ray cluster cannot be used; the message says what to do."""


def connect(address: str) -> None:
    """Connect Daft to a Ray cluster.

    Args:
        address: auto, HOST:PORT or ray://HOST:PORT.

    Raises:
        RayError: The cluster cannot be reached, or Daft or Ray is not installed.
    """
    try:
        import daft
        import ray
    except ImportError as error:
        raise RayError(
            f"OPENTHOUGHTS_RAY needs Daft: pip install 'openthoughts-dagster[distributed]' ({error})"
        ) from None
    if not ray.is_initialized():
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            if host:
                socket.create_connection((host, int(port)), 10).close()  # Ray itself tries for two minutes
            ray.init(address=address, log_to_driver=False)
        except (OSError, ValueError) as error:
            raise RayError(
                f"OPENTHOUGHTS_RAY: no Ray cluster answers at {address}: {str(error).splitlines()[0]}. Start it, give "
                "auto, HOST:PORT or ray://HOST:PORT, or unset it"
            ) from None
    daft.context.set_runner_ray(noop_if_initialized=True)


def frame(texts: Texts, part: int = _CHUNK) -> Any:
    """Return texts of this machine as a Daft frame of rows, which goes to the cluster in parts of `part` texts."""
    import daft
    import pyarrow as pa

    positions = [np.arange(first, min(len(texts), first + part)) for first in range(0, max(1, len(texts)), part)]
    rows = [
        pa.table({"position": own, "question": pa.array(texts.as_list(own), pa.large_string())}) for own in positions
    ]
    return daft.from_arrow(rows)


def similar_pairs(rows: Any, similarity: float, chunk: int = _CHUNK) -> Edges:
    """Find the same pairs as `find_similar_pairs`, on Daft.

    Args:
        rows: A Daft frame with the columns position (0 to n - 1, each once) and question.
        similarity: The smallest Indel similarity (rapidfuzz ratio, 0-100).
        chunk: The number of texts that a worker handles at once.

    Returns:
        The pairs of positions with their ratios.
    """
    from daft import DataType, col

    chunks = rows.with_column("chunk", col("position") // chunk)
    chunks = chunks.groupby("chunk").agg(col("position").agg_list(), col("question").agg_list()).collect()
    lengths = _gathered(chunks, lambda texts, _: texts.lengths(), DataType.int64()).astype(np.int32)
    letters = np.empty((0, 64), np.uint8)
    wanted, bits = similar.grams_of(len(lengths)), similar.text_bits(len(lengths))
    common = _common(chunks, wanted)

    def entries(texts: Texts, base: int) -> Keys:
        nothing = np.empty((len(texts), 0), np.uint64)
        return similar.sample_entries(texts, wanted, common, bits, base, 0, 1 << (64 - bits), nothing)

    def bands(texts: Texts, base: int) -> Keys:
        keys = np.zeros((len(texts), similar.BANDS), np.uint64)
        similar.sample_entries(texts, wanted, common, bits, base, 0, 0, keys)
        return keys.ravel()

    def pairs(values: Keys) -> Keys:
        return similar.find_raw_pairs(values.copy(), lengths, letters, bits, similarity)

    keyed = _mapped(chunks, entries, DataType.uint64()).explode("value")
    found = np.asarray(_by_key(keyed, 1 << bits, pairs).explode("value").to_pydict()["value"] or [], dtype=object)
    known = np.array([value for value in found if value is not None], np.uint64)
    keys = _gathered(chunks, bands, DataType.uint64()).reshape(-1, similar.BANDS)
    neighbours = similar.find_band_neighbours(keys, lengths, letters, bits, similarity)
    candidates = similar.sort_distinct([known, *neighbours])
    return _verified(rows, *similar.unpack_pairs(candidates, bits), similarity)


def leaks(rows: Any, settings: Decontamination, benchmarks: pl.DataFrame, source: Texts, chunk: int = _CHUNK) -> Leaks:
    """Find the same leaks as `find_leaks`, on Daft.

    Args:
        rows: A Daft frame with the columns position (0 to n - 1, each once) and question.
        settings: The recipe's `decontamination`.
        benchmarks: Columns benchmark, question and, where it is known, split.
        source: A sample of the texts, in which instructions are counted.
        chunk: The number of texts that a worker handles at once.

    Returns:
        The decisions by position, and the instructions that were found.
    """
    from daft import DataType, col

    chunks = rows.with_column("chunk", col("position") // chunk)
    chunks = chunks.groupby("chunk").agg(col("position").agg_list(), col("question").agg_list())

    def work(texts: Texts, base: int) -> list[str]:
        found = find_leaks(texts, settings, benchmarks, source)
        return [json.dumps([base + at, why.reason, dict(why.evidence)]) for at, why in found.decisions.items()]

    lines = _mapped(chunks, work, DataType.string()).explode("value").to_pydict()["value"]
    decisions = {position: Decision(reason, why) for position, reason, why in map(json.loads, filter(None, lines))}
    nothing = source.subset(np.empty(0, np.int64))
    return Leaks(
        {position: decisions[position] for position in sorted(decisions)},
        find_leaks(nothing, settings, benchmarks, source).instructions,
    )


def _common(chunks: Any, wanted: float) -> Keys:
    """Return the grams that are common in the first texts; leaving them out does not change the result."""
    from daft import col

    first = chunks.where(col("chunk") == 0).to_pydict()
    if not first["chunk"]:
        return np.zeros(1, np.uint64)
    order = np.argsort(first["position"][0], kind="stable")
    return similar.find_common_grams(Texts.of(pl.Series(first["question"][0], dtype=pl.String).gather(order)), wanted)[
        0
    ]


def _mapped(chunks: Any, work: Callable[[Texts, int], Any], kind: Any) -> Any:
    """Apply `work` to the texts of each chunk and the position of the first; return columns chunk and value."""
    from daft import DataType, col, udf

    @udf(return_dtype=DataType.list(kind))
    def run(positions: Any, questions: Any) -> list[Any]:
        out = []
        for own, texts in zip(positions.to_pylist(), questions.to_pylist(), strict=True):
            order = np.argsort(own, kind="stable")
            out.append(work(Texts.of(pl.Series(texts, dtype=pl.String).gather(order)), int(own[order[0]])))
        return out

    return chunks.select(col("chunk"), run(col("position"), col("question")).alias("value"))


def _gathered(chunks: Any, work: Callable[[Texts, int], Any], kind: Any) -> npt.NDArray[Any]:
    """Return the results of `work` for all texts, in their order."""
    parts = sorted(_mapped(chunks, work, kind).iter_rows(), key=lambda row: row["chunk"])
    return np.concatenate([np.asarray(part["value"]) for part in parts])


def _by_key(values: Any, divisor: int, work: Callable[[Keys], Keys]) -> Any:
    """Apply `work` to the values of each shard, by the key value // divisor; return lists in a column value."""
    from daft import DataType, col, lit, udf

    @udf(return_dtype=DataType.list(DataType.uint64()))
    def run(lists: Any) -> list[Any]:
        return [work(np.asarray(list_, np.uint64)) for list_ in lists.to_pylist()]

    @udf(return_dtype=DataType.int64())
    def shard(numbers: Any) -> Any:
        keys = np.asarray(numbers.to_pylist(), np.uint64) // np.uint64(divisor)
        return ((keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)).astype(np.int64) % _SHARDS

    present = values.where(~col("value").is_null())
    sharded = present.select(col("value"), shard(col("value")).alias("shard"))
    return sharded.groupby("shard").agg(col("value").agg_list()).select(run(col("value")).alias("value"), lit(0))


def _verified(rows: Any, ones: npt.NDArray[np.int64], others: npt.NDArray[np.int64], similarity: float) -> Edges:
    import daft
    from daft import DataType, col, udf

    @udf(return_dtype=DataType.float64())
    def ratio(one: Any, other: Any) -> Any:
        texts, more = (Texts.of(pl.Series(column.to_pylist(), dtype=pl.String)) for column in (one, other))
        places = np.arange(len(texts))
        edges = similar.verify_pairs(texts, more, texts.lengths(), more.lengths(), places, places, similarity)
        out = np.full(len(texts), np.nan)
        out[edges.ones] = edges.ratios
        return out

    pairs = daft.from_pydict({"one": ones, "other": others})
    first = rows.select(col("position").alias("one"), col("question").alias("first"))
    second = rows.select(col("position").alias("other"), col("question").alias("second"))
    joined = pairs.join(first, on="one").join(second, on="other")
    checked = joined.select(col("one"), col("other"), ratio(col("first"), col("second")).alias("ratio"))
    found = checked.where(col("ratio") >= similarity).to_pydict()
    one, other = np.asarray(found["one"], np.int64), np.asarray(found["other"], np.int64)
    order = np.lexsort((other, one))
    return Edges(one[order], other[order], np.asarray(found["ratio"], np.float64)[order])
