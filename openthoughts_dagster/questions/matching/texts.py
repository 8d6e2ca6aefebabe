"""Many texts as one array of bytes, in memory or in a file, for the compiled loops."""

import mmap
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

T = TypeVar("T")
_BLOCK, _PART = 1 << 28, 1 << 24  # bytes copied before pages are released, and bytes that one thread copies
WORKERS = os.cpu_count() or 1


@dataclass(frozen=True)
class Texts:
    """A collection of texts.

    Args:
        data: The UTF-8 bytes of all texts.
        offsets: Positions in `data`, one more than there are texts: text i is data[offsets[i]:offsets[i + 1]].
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: pl.Series) -> "Texts":
        """Make a collection in memory from a column; nulls become empty texts."""
        if texts.is_empty():
            return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64))
        array: Any = texts.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, data = array.buffers()
        starts = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        return cls(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), starts)

    @classmethod
    def spill(cls, batches: Iterable[pl.Series], file: Path) -> "Texts":
        """Write texts to `file` and map it, so that the system can drop pages that are not read."""
        sizes: list[npt.NDArray[np.int64]] = []
        with file.open("wb") as out:
            for batch in batches:
                texts = cls.of(batch)
                texts.data[texts.offsets[0] : texts.offsets[-1]].tofile(out)
                sizes.append(np.diff(texts.offsets))
        offsets = np.concatenate([np.zeros(1, np.int64), *sizes]).cumsum()
        if offsets[-1] == 0:
            return cls(np.zeros(0, np.uint8), offsets)
        return cls(np.memmap(file, np.uint8, mode="r"), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        return bytes(self.data[self.offsets[position] : self.offsets[position + 1]]).decode()

    def as_list(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """Return the texts at `positions`, in a tenth of the time of reading them one by one."""
        import pyarrow as pa

        some = self.subset(positions)
        buffers = [None, pa.py_buffer(some.offsets), pa.py_buffer(some.data)]
        listed: list[str] = pa.Array.from_buffers(pa.large_string(), len(some), buffers).to_pylist()
        return listed

    def series(self) -> pl.Series:
        """Return the texts as a column."""
        import pyarrow as pa

        buffers = [None, pa.py_buffer(np.ascontiguousarray(self.offsets)), pa.py_buffer(self.data)]
        return pl.Series("text", pa.Array.from_buffers(pa.large_string(), len(self), buffers), dtype=pl.String)

    @classmethod
    def concatenated(cls, parts: "list[Texts]", number: int) -> "Texts":
        """Join the texts of all parts, `number` of them, to one collection in memory."""
        if len(parts) == 1:
            return parts[0]
        sizes = [np.diff(part.offsets) for part in parts]
        offsets = np.concatenate([np.zeros(1, np.int64), *sizes]).cumsum()
        assert len(offsets) == number + 1
        data = [part.data[part.offsets[0] : part.offsets[-1]] for part in parts]
        return cls(np.concatenate([np.zeros(0, np.uint8), *data]), offsets)

    def chunks(self, size: int) -> Iterator[tuple[int, "Texts"]]:
        """Yield parts of about `size` bytes, each with the position of its first text."""
        first, number = 0, len(self)
        while first < number:
            last = int(np.searchsorted(self.offsets, self.offsets[first] + size, side="right")) - 1
            last = min(number, max(last, first + 1))
            yield first, Texts(self.data, self.offsets[first : last + 1])
            first = last

    def subset(self, positions: npt.NDArray[np.int64], folder: Path | None = None) -> "Texts":
        """Return only the texts at `positions`, in memory or mapped from a file in `folder`."""
        from openthoughts_dagster.questions.matching import text_kernels

        sizes = np.diff(self.offsets)[positions]
        offsets = np.concatenate([np.zeros(1, np.int64), sizes.cumsum()])
        if offsets[-1] == 0:
            return Texts(np.zeros(0, np.uint8), offsets)
        file = None if folder is None else folder / f"{uuid.uuid4().hex}.texts"
        data = np.empty(offsets[-1], np.uint8) if file is None else np.memmap(file, np.uint8, "w+", shape=offsets[-1])

        def gather(first: int, part: "Texts") -> None:
            out = part.data[part.offsets[0] : part.offsets[-1]]
            text_kernels.gathered(self.data, self.offsets, positions[first : first + len(part)], out)

        for first, block in Texts(data, offsets).chunks(_BLOCK):
            in_parallel(gather, [(first + start, part) for start, part in block.chunks(_PART)])
            self.release()
        return Texts(data if file is None else np.memmap(file, np.uint8, mode="r"), offsets)

    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of characters of each text; negative if not all of them are ASCII."""
        from openthoughts_dagster.questions.matching import text_kernels

        out = np.empty(len(self), np.int64)
        in_parallel(
            lambda first, last: text_kernels.text_lengths(self.data, self.offsets, first, last, out), split(len(self))
        )
        return out

    def letters(self) -> npt.NDArray[np.uint8]:
        """The counts of bytes of 64 classes in each text, at most 255 each: a row for each text."""
        from openthoughts_dagster.questions.matching import text_kernels

        out = np.empty((len(self), 64), np.uint8)
        in_parallel(
            lambda first, last: text_kernels.letter_counts(self.data, self.offsets, first, last, out), split(len(self))
        )
        return out

    def hashes(self) -> npt.NDArray[np.uint64]:
        """The hash of each text without white space around it and at the ends of its lines."""
        from openthoughts_dagster.questions.matching import text_kernels

        out = np.empty(len(self), np.uint64)
        in_parallel(
            lambda first, last: text_kernels.text_hashes(self.data, self.offsets, first, last, out), split(len(self))
        )
        return out

    def release(self) -> None:
        """Release the pages of a mapped file; the system reads them again when they are needed."""
        mapped = getattr(self.data, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def split(number: int, parts: int = WORKERS) -> list[tuple[int, int]]:
    """Split the range from 0 to `number` into equal parts."""
    edges = [number * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


def in_parallel(work: Callable[..., T], arguments: Iterable[tuple[Any, ...]]) -> list[T]:
    """Run `work` on as many threads as there are processors, for loops that release the GIL; results are in order."""
    given = list(arguments)
    if len(given) < 2:
        return [work(*one) for one in given]
    with ThreadPoolExecutor(min(WORKERS, len(given))) as threads:
        return list(threads.map(lambda one: work(*one), given))
