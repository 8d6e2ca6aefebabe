"""A table of the runs of tokens of benchmark questions, and the instructions among these runs.

An instruction, such as "Solve the following problem and put the answer into a box", is common: beside different
questions of a source, or in different questions of a benchmark. A benchmark question that a source repeats a hundred
times is not an instruction, whatever text surrounds it, because the text contains the whole question.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.questions.matching.texts import Texts, in_parallel
from openthoughts_dagster.questions.matching.tokens import Positions, Tokenize, Tokens

LEAST_OF_BENCHMARK, LEAST_OF_SOURCE = 10, 50
CHUNK = 1 << 20  # bytes of text that a thread works on
_SHOWN = 20
_MIX = np.uint64(0x9E3779B97F4A7C15)

Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CommonNgram:
    """An instruction that was not taken for a leak: where it is common, and in how many questions it occurs."""

    text: str
    common_in: str
    questions: int
    of: int


@dataclass(frozen=True)
class RunTable:
    """Different runs of a benchmark's tokens: for each the question that has it first, and its tokens there.

    `weight` is how long runs are. `cells` and `places` are the hash table: places[cell] is the number of the run.
    `counts` says in how many texts of a source each run occurs, once that was counted.
    """

    weight: int
    keys: Keys
    owners: Positions
    begins: Positions
    ends: Positions
    cells: Keys
    places: Positions
    counts: Positions | None = None

    def only(self, kept: Flags, counts: Positions | None = None) -> "RunTable":
        """The table with the runs that are `kept`, and the counts of these."""
        cells, places = hash_table(self.keys[kept])
        rows = self.keys[kept], self.owners[kept], self.begins[kept], self.ends[kept]
        return RunTable(self.weight, *rows, cells, places, None if counts is None else counts[kept])


def hash_table(keys: Keys) -> tuple[Keys, Positions]:
    """Cells of different keys, at two to four times their size, and the position of each."""
    from openthoughts_dagster.questions.matching import hash_table as table

    size = 1 << max(4, (2 * len(keys)).bit_length())
    cells, places = np.zeros(size, np.uint64), np.full(size, -1, np.int64)
    table.insert_all(keys, cells, places)
    return cells, places


def every_run(tokens: Tokens, weight: int) -> tuple[Positions, Positions, Positions, Keys]:
    """Owner, first token, end and hash of every run of `weight`."""
    from openthoughts_dagster.questions.matching import run_kernels

    room = len(tokens.values) + 1
    owners, begins, ends = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    hashes = np.empty(room, np.uint64)
    number = run_kernels.all_runs(tokens.values, tokens.weights, tokens.offsets, weight, owners, begins, ends, hashes)
    return owners[:number], begins[:number], ends[:number], hashes[:number]


def run_table(tokens: Tokens, weight: int) -> RunTable:
    """The table of all runs of `weight`."""
    owners, begins, ends, hashes = every_run(tokens, weight)
    keys, first = np.unique(hashes, return_index=True)
    return RunTable(weight, keys, owners[first], begins[first], ends[first], *hash_table(keys))


def common_in_benchmarks(tokens: Tokens, table: RunTable, benchmarks: pl.DataFrame, share: float) -> Flags:
    """Which runs many different questions of one benchmark have."""
    owners, _, _, hashes = every_run(tokens, table.weight)
    common = np.zeros(len(table.keys), np.bool_)
    distinct = benchmarks.with_row_index("position").unique("question", keep="first", maintain_order=True)
    for _, group in distinct.group_by(["benchmark"], maintain_order=True):
        own = np.isin(owners, group["position"].to_numpy())
        runs = pl.DataFrame({"run": hashes[own], "owner": owners[own]}).unique()
        often = runs.group_by("run").len().filter(pl.col("len") >= max(LEAST_OF_BENCHMARK, share * group.height))
        common |= np.isin(table.keys, often["run"].to_numpy())
    return common


def common_in_source(
    source: Texts, tokenize: Tokenize, tokens: Tokens, table: RunTable, least: float
) -> tuple[Flags, Positions]:
    """Which runs stand beside at least so many different questions of a source, and how many questions have each."""
    from openthoughts_dagster.questions.matching import run_kernels

    every, lock = np.zeros(len(table.keys), np.int64), Lock()

    def work(_: int, part: Texts) -> tuple[Keys, Positions]:
        own, counts = tokenize(part), np.empty(len(table.keys), np.int64)
        room, found = 0, 4 * len(part) + 1024
        while found > room:
            room = found
            sides, beside = np.empty(room, np.int64), np.empty(room, np.uint64)
            found = run_kernels.contexts(
                own.values,
                own.weights,
                own.offsets,
                table.weight,
                table.cells,
                table.places,
                table.owners,
                table.begins,
                tokens.values,
                tokens.offsets,
                sides,
                beside,
                counts,
            )
        with lock:
            every[:] += counts
        return _different(sides[:found], beside[:found])

    parts = in_parallel(work, source.chunks(CHUNK))
    known = [np.empty(0, np.uint64), *(part[0] for part in parts)]
    _, first = np.unique(np.concatenate(known), return_index=True)
    sides = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])[first]
    contexts = np.bincount(sides, minlength=2 * len(table.keys)).reshape(-1, 2)
    return contexts.max(axis=1) >= least, every


def _different(sides: Positions, beside: Keys) -> tuple[Keys, Positions]:
    """Each pair of a side of a run and what stands there once: its key, and the side."""
    keys, first = np.unique(beside ^ (sides.astype(np.uint64) + np.uint64(1)) * _MIX, return_index=True)
    return keys, sides[first]


def describe(
    instructions: RunTable, of: int, text_of: Callable[[int, int, int], str], where: list[str]
) -> Iterator[CommonNgram]:
    """One run of each instruction that occurs in a source of `of` texts, the most frequent first.

    `text_of` says a run by its question and tokens, and `where` in what each run is common.
    """
    counts = instructions.counts
    if counts is None:
        return
    seen = set[int]()
    for place in np.lexsort((instructions.begins, instructions.owners, -counts)):
        question = int(instructions.owners[place])
        if counts[place] == 0 or len(seen) == _SHOWN:
            return
        if question not in seen:  # runs of one instruction overlap: one of them says enough
            seen.add(question)
            text = text_of(question, int(instructions.begins[place]), int(instructions.ends[place]))
            yield CommonNgram(text, where[place], int(counts[place]), of)
