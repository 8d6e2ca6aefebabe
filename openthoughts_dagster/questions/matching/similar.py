"""All pairs of similar texts among millions: candidates from rare grams and MinHash bands, verified exactly.

Two texts with a ratio of 90 share many grams, and of those they share some that hardly another text has. So grams are
sampled (the same ones in every text), and texts that share one which at most `_CAP` texts have are a candidate, unless
their lengths or letters are too different. Families of texts that repeat each other more often than that have no rare
grams; MinHash bands link them. What is found is verified with rapidfuzz, so nothing is ever taken for similar that is
not.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.questions.matching.texts import WORKERS, Texts, in_parallel, split

_CAP = 10
BANDS = 4
_GRAMS, _GRAMS_OF_MANY, _MANY = 80, 48, 3_000_000
_ENTRIES = 1 << 27  # of 8 bytes, that are looked at together
_PARTS = 1024
_EACH = [(part,) for part in range(_PARTS)]
_BLOCK = 1 << 25  # bytes of text that a thread works on
_SAMPLE, _KEY_BITS = 1 << 15, 24  # texts that say which grams are common; pair_kernels has it too
_MEASURED = 1 << 17
_PROSE = 85  # below it letters say nothing

Positions = npt.NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.uint64)


@dataclass(frozen=True)
class Edges:
    """Similar pairs: positions of two texts, and their ratio (0-100)."""

    ones: Positions
    others: Positions
    ratios: npt.NDArray[np.float64]


def find_similar_pairs(texts: Texts, similarity: float) -> Edges:
    """Find the pairs of texts whose Indel similarity (rapidfuzz ratio, 0-100) is `similarity` or more.

    It finds at least 99% of the pairs at 90 and above (benchmarks/questions.py measures this), and fewer below 80.
    Remove equal texts first, because they would count as a family of similar texts.

    Args:
        texts: The texts.
        similarity: The smallest similarity of a pair.

    Returns:
        The positions of both texts of each pair, and their ratio.
    """
    lengths, prose = texts.lengths(), similarity < _PROSE
    letters = np.empty((0, 64), np.uint8) if prose else texts.letters()
    candidates = find_candidate_pairs(texts, lengths, letters, similarity, grams_of(len(texts)))
    ones, others = unpack_pairs(candidates, text_bits(len(texts)))
    if prose:
        return verify_pairs(texts, texts, lengths, lengths, ones, others, similarity)
    return measure_pairs(texts, texts, ones, others, similarity)


def find_candidate_pairs(
    texts: Texts, lengths: Positions, letters: npt.NDArray[np.uint8], similarity: float, wanted: float
) -> npt.NDArray[np.uint64]:
    """Pairs worth a comparison, each once, earlier << text_bits | later, sorted."""
    bits, short = text_bits(len(texts)), lengths.astype(np.int32)
    common, rest = find_common_grams(texts, wanted)
    passes = max(1, -(-int(rest * np.minimum(np.diff(texts.offsets), wanted).sum()) // _ENTRIES))
    edges = [(1 << (64 - bits)) * number // passes for number in range(passes + 1)]
    bands = np.zeros((len(texts), BANDS), np.uint64)
    pairs: list[npt.NDArray[np.uint64]] = []
    for number in range(passes):

        def work(first: int, part: Texts, number: int = number) -> Parted:
            own = bands[first : first + len(part)] if number == 0 else bands[:0, :0]
            return divide_into_parts(
                sample_entries(part, wanted, common, bits, first, edges[number], edges[number + 1], own)
            )

        found = in_parallel(work, texts.chunks(_BLOCK))
        pairs += in_parallel(
            lambda part, found=found: find_raw_pairs(join_part(found, part), short, letters, bits, similarity), _EACH
        )
        del found
    texts.release()
    return sort_distinct(pairs + find_band_neighbours(bands, short, letters, bits, similarity))


def find_band_neighbours(
    bands: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int32],
    letters: npt.NDArray[np.uint8],
    bits: int,
    similarity: float,
) -> list[npt.NDArray[np.uint64]]:
    """Pairs of texts that have the key of a band in common: neighbours, and each with the first."""
    from openthoughts_dagster.questions.matching import pair_kernels

    def neighbours(band: int) -> npt.NDArray[np.uint64]:
        keys = np.ascontiguousarray(bands[:, band])
        out, order = np.empty(2 * len(keys), np.uint64), np.argsort(keys, kind="stable")
        return out[: pair_kernels.band_pairs(keys, order, lengths, letters, similarity, bits, out)].copy()

    return in_parallel(neighbours, [(band,) for band in range(bands.shape[1])])


def sort_distinct(parts: list[npt.NDArray[Number]]) -> npt.NDArray[Number]:
    """All values of the parts, each once, sorted: numpy's own `unique` takes ten times as long."""
    every = np.concatenate(parts)
    every.sort()
    return every[np.concatenate([np.ones(1, np.bool_), every[1:] != every[:-1]])[: len(every)]]


def grams_of(number: int) -> float:
    """Grams sampled from each of so many texts, about."""
    return float(_GRAMS if number <= _MANY else _GRAMS_OF_MANY)


def text_bits(number: int) -> int:
    """Bits that number a text."""
    if number > 1 << 28:
        raise ValueError(f"{number:,} texts at once; up to {1 << 28:,} can be deduplicated together: split the source")
    return max(1, (number - 1).bit_length())


def find_common_grams(texts: Texts, wanted: float) -> tuple[npt.NDArray[np.uint64], float]:
    """A hash table of sampled grams that more than `_CAP` of the first texts have, and the share that all others are.

    They are in too many texts to make a pair, however many texts follow: leaving them out early changes nothing.
    """
    from openthoughts_dagster.questions.matching import hash_table

    first, nothing = Texts(texts.data, texts.offsets[: _SAMPLE + 1]), np.zeros(1, np.uint64)
    entries = sample_entries(first, wanted, nothing, _KEY_BITS, 0, 0, 1 << 64, np.empty((0, 0), np.uint64))
    grams, times = np.unique(entries >> np.uint64(_KEY_BITS), return_counts=True)
    often = times > _CAP
    table = np.zeros(1 << (4 * int(often.sum()) + 1).bit_length(), np.uint64)
    hash_table.insert_all(grams[often], table, np.zeros(0, np.int64))
    return table, 1 - float(times[often].sum()) / max(1, len(entries))


def sample_entries(
    texts: Texts,
    wanted: float,
    common: npt.NDArray[np.uint64],
    bits: int,
    base: int,
    low: int,
    high: int,
    bands: npt.NDArray[np.uint64],
) -> npt.NDArray[np.uint64]:
    """The sampled grams of `texts`, whose first one is number `base`; fills `bands` when it has rows."""
    from openthoughts_dagster.questions.matching import pair_kernels

    out = np.empty(int(1.25 * np.minimum(np.diff(texts.offsets), wanted).sum()) + 4096, np.uint64)
    while True:
        found = pair_kernels.gram_entries(
            texts.data,
            texts.offsets,
            wanted,
            common,
            bits,
            base,
            np.uint64(low),
            np.uint64(min(high, 2**64 - 1)),
            out,
            bands,
        )
        if found <= len(out):
            return out[:found]
        out = np.empty(found, np.uint64)


@dataclass(frozen=True)
class Parted:
    """Values in the order of their highest bits: part number i is values[edges[i]:edges[i + 1]]."""

    values: npt.NDArray[np.uint64]
    edges: Positions


def divide_into_parts(values: npt.NDArray[np.uint64]) -> Parted:
    """Values in parts small enough for a processor's cache."""
    from openthoughts_dagster.questions.matching import pair_kernels

    out, edges = np.empty(len(values), np.uint64), np.empty(_PARTS + 1, np.int64)
    pair_kernels.partitioned(values, 64 - _PARTS.bit_length() + 1, out, edges)
    return Parted(out, edges)


def join_part(many: list[Parted], part: int) -> npt.NDArray[np.uint64]:
    """One part of all of them."""
    pieces = [one.values[one.edges[part] : one.edges[part + 1]] for one in many]
    return np.concatenate([np.empty(0, np.uint64), *pieces])


def find_raw_pairs(
    entries: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int32],
    letters: npt.NDArray[np.uint8],
    bits: int,
    similarity: float,
) -> npt.NDArray[np.uint64]:
    """Pairs that have a rare gram in common and may be similar, each once."""
    from openthoughts_dagster.questions.matching import pair_kernels

    cells = 1 << max(4, (len(entries) * 3 // 2).bit_length())
    keys, heads, counts = np.zeros(cells, np.uint64), np.zeros(cells, np.int32), np.zeros(cells, np.int32)
    following = np.empty(len(entries), np.int32)
    out = np.empty(pair_kernels.chained(entries, bits, _CAP, keys, heads, counts, following), np.uint64)
    found = pair_kernels.gram_pairs(entries, bits, lengths, letters, similarity, _CAP, heads, counts, following, out)
    return sort_distinct([out[:found]])


def unpack_pairs(pairs: npt.NDArray[np.uint64], bits: int) -> tuple[Positions, Positions]:
    """The two positions of every pair."""
    low = np.uint64((1 << bits) - 1)
    return (pairs >> np.uint64(bits)).astype(np.int64), (pairs & low).astype(np.int64)


def verify_pairs(
    texts: Texts,
    other_texts: Texts,
    lengths: Positions,
    other_lengths: Positions,
    ones: Positions,
    others: Positions,
    similarity: float,
) -> Edges:
    """The pairs whose ratio is `similarity` or more, where few of them are; `ones` are sorted."""
    from openthoughts_dagster.questions.matching import compare_kernels

    keep = np.empty(len(ones), np.bool_)

    def work(first: int, last: int) -> None:
        compare_kernels.plausible(
            texts.data,
            texts.offsets,
            other_texts.data,
            other_texts.offsets,
            lengths,
            other_lengths,
            ones,
            others,
            similarity,
            first,
            last,
            keep,
        )

    in_parallel(work, split(len(ones), 8 * WORKERS))
    return measure_pairs(texts, other_texts, ones[keep], others[keep], similarity)


def measure_pairs(texts: Texts, other_texts: Texts, ones: Positions, others: Positions, similarity: float) -> Edges:
    """The pairs whose ratio is `similarity` or more: what rapidfuzz says."""
    from rapidfuzz import fuzz, process

    ratios = [np.empty(0)]
    for start in range(0, len(ones), _MEASURED):
        block = slice(start, start + _MEASURED)
        ratios.append(
            process.cpdist(
                texts.as_list(ones[block]),
                other_texts.as_list(others[block]),
                scorer=fuzz.ratio,
                score_cutoff=similarity,
                dtype=np.float64,
                workers=WORKERS,
            )
        )
    ratio = np.concatenate(ratios)
    similar = ratio >= similarity
    return Edges(ones[similar], others[similar], ratio[similar])
