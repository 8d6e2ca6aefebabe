"""Compiled loops that find pairs of similar texts by the grams they share. Imported inside functions, as kernels is."""

import numpy as np

from openthoughts_dagster.questions.matching.compare_kernels import possible
from openthoughts_dagster.questions.matching.hash_table import cell_of, insert
from openthoughts_dagster.questions.matching.text_kernels import (
    _ALL,
    _MIX,
    _ONE,
    _compiled,
    compacted,
    longest,
    mixed,
    sampled_grams,
)

_KEY_BITS = np.uint64(24)  # of a gram's hash that the table of common grams leaves out


@_compiled
def _lane(length, lane):  # type: ignore[no-untyped-def]
    """Size of the grams that a text of `length` bytes has in a lane; 0 when it has none there.

    Short texts need short grams. Lanes overlap by more than the lengths of two similar texts can differ.
    """
    if lane == 0:
        return 12 if length >= 64 else 0
    if lane == 1:
        return 5 if 12 <= length <= 128 else 0
    return 3 if length <= 24 else 0


@_compiled
def gram_entries(data, offsets, wanted, common, text_bits, base, low, high, entries, bands):  # type: ignore[no-untyped-def]
    """Sampled grams that are not `common` (a hash table): key << text_bits | text; returns how many.

    Only keys from low to high. Text number 0 is number `base`. Where `bands` (texts x bands) has rows, they get
    MinHash keys of four values each over all sampled grams, for families of texts that have no rare gram. Entries that
    do not fit are only counted.
    """
    room = np.uint64(text_bits)
    grams = np.empty(longest(offsets) + 1, np.uint64)
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    number = bands.shape[1]
    least = np.empty(4 * max(1, number), np.uint64)
    slots = np.uint64(len(least) - 1)  # a power of two
    found = 0
    for text in range(len(offsets) - 1):
        length = offsets[text + 1] - offsets[text]
        visible = compacted(data, offsets[text], offsets[text + 1], scratch)
        least[:] = _ALL
        for lane in range(3):
            size = _lane(length, lane)
            if size == 0:
                continue
            sampled = sampled_grams(scratch, visible, length, size, wanted, grams)
            for at in range(sampled):
                grams[at] = (grams[at] + np.uint64(lane)) * _MIX  # sampled ones are small: all bits count again
            if number > 0:
                for at in range(sampled):
                    place = np.int64(grams[at] & slots)
                    least[place] = min(least[place], grams[at])
            for at in range(sampled):
                key = grams[at] >> room
                if low <= key < high and cell_of(grams[at] >> _KEY_BITS, common) < 0:
                    if found < len(entries):
                        entries[found] = (key << room) | np.uint64(base + text)
                    found += 1
        for band in range(number):
            key = np.uint64(band)
            for at in range(4 * band, 4 * band + 4):
                key = mixed(key ^ least[at])
            bands[text, band] = key
    return found


@_compiled
def partitioned(values, shift, out, edges):  # type: ignore[no-untyped-def]
    """`values` into `out`, ordered by value >> shift; part number i is out[edges[i]:edges[i + 1]]."""
    edges[:] = 0
    for value in values:
        edges[np.int64(value >> np.uint64(shift)) + 1] += 1
    for number in range(1, len(edges)):
        edges[number] += edges[number - 1]
    places = edges[:-1].copy()
    for value in values:
        part = np.int64(value >> np.uint64(shift))
        out[places[part]] = value
        places[part] += 1


@_compiled
def chained(entries, text_bits, cap, keys, heads, counts, following):  # type: ignore[no-untyped-def]
    """Chain the entries of each key; returns at most how many pairs the keys of 2 to `cap` entries make.

    `keys`, `heads` and `counts` are a hash table, zeroed, whose size is a power of two and larger than `entries`;
    `following` has the next entry of a chain for each entry. Numbers of entries start at 1.
    """
    room = np.uint64(text_bits)
    for at in range(len(entries)):
        key = (entries[at] >> room) + _ONE
        cell = insert(key, keys)
        following[at] = heads[cell]
        heads[cell] = at + 1
        counts[cell] += 1
    pairs = 0
    for count in counts:
        if 2 <= count <= cap:
            pairs += count * (count - 1) // 2
    return pairs


@_compiled
def gram_pairs(entries, text_bits, lengths, letters, similarity, cap, heads, counts, following, out):  # type: ignore[no-untyped-def]
    """Pairs of texts that have a rare gram in common, earlier << text_bits | later, from what `chained` made.

    Those that cannot have the similarity by their lengths and letters are left out. Returns how many.
    """
    low, room = (_ONE << np.uint64(text_bits)) - _ONE, np.uint64(text_bits)
    found = 0
    for cell in range(len(counts)):
        if not 2 <= counts[cell] <= cap:
            continue
        first = heads[cell]
        while following[first - 1] > 0:
            one = entries[first - 1] & low
            second = following[first - 1]
            while second > 0:
                other = entries[second - 1] & low
                if one != other and possible(lengths, letters, one, other, similarity):
                    out[found] = (min(one, other) << room) | max(one, other)
                    found += 1
                second = following[second - 1]
            first = following[first - 1]
    return found


@_compiled
def band_pairs(keys, order, lengths, letters, similarity, text_bits, out):  # type: ignore[no-untyped-def]
    """Pairs of neighbours, and of each text with the first, among texts with one band key; keys[order] ascends."""
    room = np.uint64(text_bits)
    found = 0
    start = 0
    for at in range(1, len(order)):
        if keys[order[at]] != keys[order[start]]:
            start = at
            continue
        for other in range(start, at, max(1, at - 1 - start)):
            one, two = min(order[other], order[at]), max(order[other], order[at])
            if possible(lengths, letters, one, two, similarity):
                out[found] = (np.uint64(one) << room) | np.uint64(two)
                found += 1
    return found


@_compiled
def join_components(roots, ones, others):  # type: ignore[no-untyped-def]
    """Union the ends of every edge; `roots` ends with the smallest member of each text's component."""
    for edge in range(len(ones)):
        a, b = ones[edge], others[edge]
        while roots[a] != a:
            roots[a] = roots[roots[a]]
            a = roots[a]
        while roots[b] != b:
            roots[b] = roots[roots[b]]
            b = roots[b]
        if a < b:
            roots[b] = a
        elif b < a:
            roots[a] = b
    for text in range(len(roots)):
        roots[text] = roots[roots[text]]
