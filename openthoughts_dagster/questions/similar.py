"""All pairs of similar texts among millions: candidates from rare grams and MinHash bands, verified exactly.

Two texts with a ratio of 90 share many grams, and of those they share some that hardly another text has. So grams are
sampled (the same ones in every text), counted, and those that two to `_CAP` texts have make candidates, each weighing
more the rarer it is. Families of texts that repeat each other more often than that have no rare grams; MinHash bands
link them. What is found is verified with rapidfuzz, so nothing is ever taken for similar that is not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openthoughts_dagster.questions.texts import WORKERS, Texts, in_parallel, split

_CAP = 16
_BANDS = 8
_LEAST_WEIGHT = 12
_GRAMS, _GRAMS_OF_MANY, _MANY = 128, 48, 3_000_000
_ENTRIES = 1 << 27  # of 8 bytes, that are sorted at once
_VERIFIED = 1 << 17

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Edges:
    """Similar pairs: positions of two texts, and their ratio (0-100)."""

    ones: Positions
    others: Positions
    ratios: npt.NDArray[np.float64]


def similar_pairs(texts: Texts, similarity: float) -> Edges:
    """The pairs of `texts` whose Indel similarity (rapidfuzz ratio, 0-100) is `similarity` or more.

    Nearly all of them: of pairs at 90 and above at least 99% (benchmarks/questions.py measures it), fewer below 80.
    Equal texts would count as a family of their own; leave them out before.
    """
    lengths = texts.lengths()
    wanted = float(_GRAMS if len(texts) <= _MANY else _GRAMS_OF_MANY)
    candidates = candidate_pairs(texts, lengths, similarity, wanted)
    return verified(texts, texts, lengths, lengths, *unpacked(candidates, text_bits(len(texts))), similarity)


def candidate_pairs(texts: Texts, lengths: Positions, similarity: float, wanted: float) -> npt.NDArray[np.uint64]:
    """Pairs worth a comparison, each once, earlier << text_bits | later, sorted."""
    from openthoughts_dagster.questions import kernels

    bits, shortest = text_bits(len(texts)), similarity / (200 - similarity)
    sampled = int(np.minimum(np.diff(texts.offsets), wanted).sum() * 1.1) + 1
    counts = gram_counts(texts, wanted, cell_bits(sampled))
    passes = -(-sampled // _ENTRIES)
    edges = [(1 << (64 - bits)) * number // passes for number in range(passes + 1)]
    bands = np.zeros((len(texts), _BANDS), np.uint64)
    pairs = []
    for number in range(passes):
        entries = _entries(texts, wanted, counts, bits, edges[number], edges[number + 1], bands, number == 0)
        pairs += in_parallel(lambda part: raw_pairs(part, lengths, bits, shortest), [(part,) for part in entries])
    del counts, entries
    texts.release()
    found = heavy_pairs(pairs)
    del pairs

    def neighbours(band: int) -> npt.NDArray[np.uint64]:
        keys = np.ascontiguousarray(bands[:, band])
        out = np.empty(2 * len(texts), np.uint64)
        return out[: kernels.band_pairs(keys, np.argsort(keys, kind="stable"), lengths, bits, shortest, out)].copy()

    return np.unique(np.concatenate([found, *in_parallel(neighbours, [(band,) for band in range(_BANDS)])]))


def gram_counts(texts: Texts, wanted: float, bits: int) -> npt.NDArray[np.uint8]:
    """In how many texts each sampled gram occurs, at most 255; grams share 2**bits cells."""
    from openthoughts_dagster.questions import kernels

    counts = np.zeros(1 << bits, np.uint8)
    in_parallel(
        lambda low, high: kernels.count_grams(texts.data, texts.offsets, wanted, counts, bits, low, high),
        split(1 << bits),
    )
    return counts


def cell_bits(sampled: int) -> int:
    """Cells for so many sampled grams: twice as many, from 64 thousand to a billion."""
    return min(30, max(16, (2 * sampled - 1).bit_length()))


def text_bits(number: int) -> int:
    """Bits that number a text."""
    if number > 1 << 28:
        raise ValueError(f"{number:,} texts at once; up to {1 << 28:,} can be deduplicated together: split the source")
    return max(1, (number - 1).bit_length())


def rare_entries(
    texts: Texts,
    wanted: float,
    counts: npt.NDArray[np.uint8],
    bits: int,
    base: int,
    low: int,
    high: int,
    bands: npt.NDArray[np.uint64],
) -> npt.NDArray[np.uint64]:
    """The rare grams of `texts`, whose first one is number `base`; fills `bands` when it has rows."""
    from openthoughts_dagster.questions import kernels

    out = np.empty(1 << 16, np.uint64)
    while True:
        found = kernels.rare_grams(
            texts.data,
            texts.offsets,
            wanted,
            counts,
            len(counts).bit_length() - 1,
            _CAP,
            bits,
            base,
            np.uint64(low),
            np.uint64(min(high, 2**64 - 1)),
            out,
            bands,
        )
        if found <= len(out):
            return out[:found]
        out = np.empty(found + 1024, np.uint64)


def _entries(
    texts: Texts,
    wanted: float,
    counts: npt.NDArray[np.uint8],
    bits: int,
    low: int,
    high: int,
    bands: npt.NDArray[np.uint64],
    fill_bands: bool,
) -> list[npt.NDArray[np.uint64]]:
    """Entries with keys from low to high, in a sorted part for each worker."""

    def work(first: int, last: int) -> npt.NDArray[np.uint64]:
        part = Texts(texts.data, texts.offsets[first : last + 1])
        own = bands[first:last] if fill_bands else np.empty((len(part), 0), np.uint64)
        return rare_entries(part, wanted, counts, bits, first, low, high, own)

    every = np.concatenate(in_parallel(work, split(len(texts))))
    return sorted_parts(every, [(low + (high - low) * part // WORKERS) << bits for part in range(1, WORKERS)])


def sorted_parts(values: npt.NDArray[np.uint64], edges: list[int]) -> list[npt.NDArray[np.uint64]]:
    """`values` cut at `edges`, each part sorted on a thread of its own."""
    parts, rest = [], values
    for edge in edges:
        parts.append(rest[rest < np.uint64(edge)])
        rest = rest[rest >= np.uint64(edge)]
    parts.append(rest)
    in_parallel(lambda part: part.sort(), [(part,) for part in parts])
    return parts


def raw_pairs(
    entries: npt.NDArray[np.uint64], lengths: Positions, bits: int, shortest: float
) -> npt.NDArray[np.uint64]:
    """Pairs with a rare gram in common and similar lengths, with the weight of the gram in the low byte."""
    from openthoughts_dagster.questions import kernels

    nothing = np.empty(0, np.uint64)
    out = np.empty(kernels.gram_pairs(entries, bits, lengths, shortest, _CAP, nothing, False), np.uint64)
    kernels.gram_pairs(entries, bits, lengths, shortest, _CAP, out, True)
    return out


def heavy_pairs(pairs: list[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Pairs whose common grams are rare or many, each once, sorted."""
    from openthoughts_dagster.questions import kernels

    every = np.concatenate([np.empty(0, np.uint64), *pairs])
    pairs.clear()
    if not len(every):
        return every
    middle = np.sort(every[:: max(1, len(every) // 1000)])
    edges = [int(middle[len(middle) * part // WORKERS] >> np.uint64(8)) << 8 for part in range(1, WORKERS)]
    parts = sorted_parts(every, edges)
    least = np.uint64(_LEAST_WEIGHT)
    return np.concatenate(in_parallel(lambda part: part[: kernels.heavy_pairs(part, least)], [(p,) for p in parts]))


def unpacked(pairs: npt.NDArray[np.uint64], bits: int) -> tuple[Positions, Positions]:
    """The two positions of every pair."""
    low = np.uint64((1 << bits) - 1)
    return (pairs >> np.uint64(bits)).astype(np.int64), (pairs & low).astype(np.int64)


def verified(
    texts: Texts,
    other_texts: Texts,
    lengths: Positions,
    other_lengths: Positions,
    ones: Positions,
    others: Positions,
    similarity: float,
) -> Edges:
    """The pairs whose ratio is `similarity` or more; `ones` are sorted."""
    from rapidfuzz import fuzz, process

    from openthoughts_dagster.questions import kernels

    keep = np.empty(len(ones), np.bool_)

    def work(first: int, last: int) -> None:
        kernels.plausible(
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
    ones, others = ones[keep], others[keep]
    ratios = [np.empty(0)]
    for start in range(0, len(ones), _VERIFIED):
        block = slice(start, start + _VERIFIED)
        ratios.append(
            process.cpdist(
                [texts[one] for one in ones[block]],
                [other_texts[other] for other in others[block]],
                scorer=fuzz.ratio,
                score_cutoff=similarity,
                dtype=np.float64,
                workers=WORKERS,
            )
        )
    ratio = np.concatenate(ratios)
    similar = ratio >= similarity
    return Edges(ones[similar], others[similar], ratio[similar])
