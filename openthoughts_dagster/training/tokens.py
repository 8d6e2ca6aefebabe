"""A student's rows as token ids in Arrow files, which every process maps into memory."""

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IGNORED = -100
_PACKED_AT_ONCE = 1000  # rows, as in TRL; other packs would make other batches and another student


def token_schema() -> Any:
    """Return the schema: token ids of a row, the number of its prompt tokens, and its number in the training."""
    import pyarrow as pa

    return pa.schema([("input_ids", pa.list_(pa.int32())), ("learned_from", pa.int32()), ("row", pa.int64())])


@dataclass(frozen=True)
class TokenFiles:
    """Tokenized rows in files; row numbers count through all of them."""

    files: Sequence[Path]

    @cached_property
    def _parts(self) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Any]]:
        import pyarrow as pa

        tables = [pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in self.files]
        parts = []
        for table in tables:
            ids = table["input_ids"].chunk(0)
            values = ids.values.to_numpy(zero_copy_only=True)
            parts.append((values, ids.offsets.to_numpy().astype(np.int64), table))
        return parts

    @cached_property
    def _begins(self) -> list[int]:
        return [0, *np.cumsum([len(offsets) - 1 for _, offsets, _ in self._parts]).tolist()]

    def __len__(self) -> int:
        return self._begins[-1]

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.concatenate([np.diff(offsets) for _, offsets, _ in self._parts])

    def row(self, number: int) -> tuple[npt.NDArray[np.int64], int]:
        """Return the token ids of a row, and the number of its prompt tokens."""
        values, offsets, table, inside = self._at(number)
        return values[offsets[inside] : offsets[inside + 1]].astype(np.int64), table["learned_from"][inside].as_py()

    def origin(self, number: int) -> int:
        """Return the number of a row in the training, which counts dropped rows too."""
        _, _, table, inside = self._at(number)
        origin: int = table["row"][inside].as_py()
        return origin

    def _at(self, number: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], Any, int]:
        part = bisect_left(self._begins, number + 1) - 1
        return *self._parts[part], number - self._begins[part]


def pack_rows(lengths: npt.NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Pack row numbers by best fit, the longest rows first; no pack is longer than `capacity` tokens.

    The packs are those of TRL's `packing_strategy="bfd"`, computed from lengths alone.
    """
    packs: list[list[int]] = []
    for begin in range(0, len(lengths), _PACKED_AT_ONCE):
        packs += _best_fit(begin, lengths[begin : begin + _PACKED_AT_ONCE], capacity)
    return packs


def _best_fit(begin: int, lengths: npt.NDArray[np.int64], capacity: int) -> list[list[int]]:
    packs: list[list[int]] = []
    waiting: dict[int, deque[list[int]]] = defaultdict(deque)  # packs by the space that is left in them
    spaces: list[int] = []
    for inside in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[inside])
        found = bisect_left(spaces, length)
        if found < len(spaces):
            space = spaces[found]
            pack = waiting[space].popleft()
            if not waiting[space]:
                spaces.pop(found)
        else:
            space, pack = capacity, []
            packs.append(pack)
        pack.append(begin + inside)
        space -= length
        if space > 0:
            if not waiting[space]:
                insort(spaces, space)
            waiting[space].append(pack)
    return packs


def trainer_dataset(tokens: TokenFiles, packs: list[list[int]] | None, blank: bool) -> Any:
    """Make a data set for TRL's trainer that holds row numbers and reads tokens on demand.

    Each item is a row or a pack of rows. With `blank` there is one more item, the shortest row without labels, which
    fills batches that are too small for all processes.
    """
    from datasets import Dataset

    items = packs if packs is not None else [[number] for number in range(len(tokens))]
    empty = [[int(tokens.lengths.argmin())]] if blank else []

    def read(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [[tokens.row(number) for number in numbers] for numbers in batch["rows"]]
        read: dict[str, list[Any]] = {
            "input_ids": [np.concatenate([ids for ids, _ in each]) for each in rows],
            "labels": [
                np.concatenate([_labels(ids, len(ids) if skip else prompt) for ids, prompt in each])
                for each, skip in zip(rows, batch["blank"], strict=True)
            ],
        }
        if packs is not None:
            read["seq_lengths"] = [[len(ids) for ids, _ in each] for each in rows]
        return read

    columns = {"rows": items + empty, "blank": [False] * len(items) + [True] * len(empty)}
    return Dataset.from_dict(columns).with_transform(read)


def _labels(ids: npt.NDArray[np.int64], prompt: int) -> npt.NDArray[np.int64]:
    labels = ids.copy()
    labels[:prompt] = IGNORED
    return labels
