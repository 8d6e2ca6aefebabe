"""Compiled loops over the bytes of many texts. Imported inside functions: numba takes a second to load.

Texts are one array of UTF-8 bytes and the offsets at which each begins. A gram is a number of bytes in a row, without
white space and in lower case: grams only find candidates, and what is decided is decided on the texts as they are.
Every loop releases the GIL and writes only its own part of an output, so that threads share the work and the result
does not depend on how many there are.
"""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np

_compiled: Callable[[Any], Any] = nb.njit(nogil=True, cache=True)
_BASE = np.uint64(0x5851F42D4C957F2D)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MORE = np.uint64(0xC2B2AE3D27D4EB4F)
_HALF = np.uint64(32)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


@_compiled
def mixed(value):
    """A 64-bit hash of a 64-bit value."""
    value = value * _MIX
    value ^= value >> np.uint64(29)
    value *= _MORE
    return value ^ (value >> _HALF)


@_compiled
def is_space(byte):
    """White space in ASCII."""
    return byte == 32 or 9 <= byte <= 13


@_compiled
def text_hashes(data, offsets, first, last, out):
    """Hashes of texts first..last without white space around them or at the ends of lines, where \\r\\n is \\n."""
    for text in range(first, last):
        start, end = offsets[text], offsets[text + 1]
        while start < end and is_space(data[start]):
            start += 1
        hashed = _MORE
        word = np.uint64(0)
        filled = 0
        pending = start
        at = start
        while at < end:
            byte = data[at]
            if byte == 32 or byte == 9 or byte == 13 or byte == 11 or byte == 12:
                at += 1
                continue
            # White space since `pending` counts unless a line ends here.
            if byte == 10:
                pending = at
            if byte == 10 and _blank_to_end(data, at, end):
                break
            for back in range(pending, at + 1):
                word = (word << np.uint64(8)) | np.uint64(data[back])
                filled += 1
                if filled == 8:
                    hashed = mixed(hashed ^ word)
                    word = np.uint64(0)
                    filled = 0
            at += 1
            pending = at
        out[text] = mixed(hashed ^ word ^ (np.uint64(filled) << np.uint64(59)))


@_compiled
def _blank_to_end(data, at, end):
    while at < end and is_space(data[at]):
        at += 1
    return at == end


@_compiled
def text_lengths(data, offsets, first, last, out):
    """Characters of texts first..last; negative where not all of them are ASCII."""
    for text in range(first, last):
        characters = 0
        for at in range(offsets[text], offsets[text + 1]):
            characters += (data[at] & 0xC0) != 0x80
        out[text] = characters if characters == offsets[text + 1] - offsets[text] else -characters


@_compiled
def gathered(data, offsets, positions, out):
    """The bytes of the texts at `positions`, one after the other."""
    place = 0
    for position in positions:
        for at in range(offsets[position], offsets[position + 1]):
            out[place] = data[at]
            place += 1


@_compiled
def compacted(data, start, end, scratch):
    """The last eight bytes at every place of data[start:end] without white space, in lower case; returns how many."""
    number = 0
    last = np.uint64(0)
    for at in range(start, end):
        byte = data[at]
        lower = np.uint64(byte) + (np.uint64(32) if 65 <= byte <= 90 else np.uint64(0))
        visible = byte > 32
        last = (last << np.uint64(8)) | lower if visible else last
        scratch[number] = last
        number += int(visible)
    return number


@_compiled
def sampled_grams(scratch, number, length, size, wanted, out):
    """Hashes of about `wanted` grams of a compacted text into `out`, and how many; the same grams in every text.

    Sizes are up to 8, or 12. `out` has room for all grams. No step depends on the one before: processors like that.
    """
    share = wanted / max(1, length)
    limit = _ALL if share >= 1 else np.uint64(share * 18446744073709549568.0)
    mask = (_ONE << np.uint64(8 * size)) - _ONE if size < 8 else _ALL
    found = 0
    for at in range(size - 1, number):
        hashed = (scratch[at] & mask) * _MIX
        if size == 12:
            hashed += scratch[at - 4] * _BASE
        hashed ^= hashed >> _HALF
        hashed *= _MORE
        hashed ^= hashed >> np.uint64(29)
        hashed *= _MIX
        out[found] = hashed
        found += int(hashed <= limit)
    return found


@_compiled
def longest(offsets):
    """Bytes of the longest text."""
    most = 0
    for text in range(len(offsets) - 1):
        most = max(most, offsets[text + 1] - offsets[text])
    return most


@_compiled
def _lane(length, lane):
    """Size of the grams that a text of `length` bytes has in a lane; 0 when it has none there.

    Short texts need short grams. Lanes overlap by more than the lengths of two similar texts can differ.
    """
    if lane == 0:
        return 12 if length >= 64 else 0
    if lane == 1:
        return 5 if 12 <= length <= 128 else 0
    return 3 if length <= 24 else 0


@_compiled
def count_grams(data, offsets, wanted, counts, bits, low, high):
    """Count sampled grams in the cells low..high of `counts` (2**bits cells, at most 255 each)."""
    shift = np.uint64(64 - bits)
    grams = np.empty(longest(offsets) + 1, np.uint64)
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    for text in range(len(offsets) - 1):
        length = offsets[text + 1] - offsets[text]
        number = compacted(data, offsets[text], offsets[text + 1], scratch)
        for lane in range(3):
            size = _lane(length, lane)
            if size == 0:
                continue
            for at in range(sampled_grams(scratch, number, length, size, wanted, grams)):
                cell = np.int64(mixed(grams[at] + np.uint64(lane)) >> shift)
                if low <= cell < high and counts[cell] < 255:
                    counts[cell] += np.uint8(1)


@_compiled
def rare_grams(data, offsets, wanted, counts, bits, cap, text_bits, base, low, high, entries, bands):
    """Sampled grams that occur in 2 to `cap` texts: key << text_bits | text into `entries`; returns how many.

    Only keys from low to high. Text number 0 is number `base`. Where `bands` (texts x bands) has rows, they get
    MinHash keys of four values each over all sampled grams, for families of texts too large for `cap`.
    """
    shift, room = np.uint64(64 - bits), np.uint64(text_bits)
    grams = np.empty(longest(offsets) + 1, np.uint64)
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    number = bands.shape[1]
    least = np.empty(4 * max(1, number), np.uint64)
    found = 0
    for text in range(len(offsets) - 1):
        length = offsets[text + 1] - offsets[text]
        visible = compacted(data, offsets[text], offsets[text + 1], scratch)
        least[:] = _ALL
        for lane in range(3):
            size = _lane(length, lane)
            if size == 0:
                continue
            for at in range(sampled_grams(scratch, visible, length, size, wanted, grams)):
                hashed = mixed(grams[at] + np.uint64(lane))
                if number > 0:
                    value = mixed(hashed)
                    place = np.int64(value & _LOW) % len(least)
                    least[place] = min(least[place], value)
                count = counts[np.int64(hashed >> shift)]
                if 2 <= count <= cap:
                    key = hashed >> room
                    if low <= key < high:
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
def gram_pairs(entries, text_bits, lengths, shortest, cap, out, write):
    """Pairs of texts that have a rare gram in common: earlier, later, and in the low byte how rare it is.

    `entries` are sorted. Pairs whose lengths differ too much for the similarity asked for are left out.
    Returns how many; `out` is filled only when `write`.
    """
    low, room = (_ONE << np.uint64(text_bits)) - _ONE, np.uint64(text_bits)
    found = 0
    start = 0
    while start < len(entries):
        key = entries[start] >> room
        end = start + 1
        while end < len(entries) and entries[end] >> room == key:
            end += 1
        if 2 <= end - start <= cap:
            weight = np.uint64(24 // (end - start - 1))
            for a in range(start, end - 1):
                one = entries[a] & low
                for b in range(a + 1, end):
                    other = entries[b] & low
                    if one != other and _close(lengths[one], lengths[other], shortest):
                        if write:
                            out[found] = (((one << room) | other) << np.uint64(8)) | weight
                        found += 1
        start = end
    return found


@_compiled
def _close(one, other, shortest):
    one, other = abs(one), abs(other)
    return min(one, other) >= shortest * max(one, other)


@_compiled
def heavy_pairs(pairs, least):
    """Sorted pairs whose weights add up to `least`, each once and without weight, at the front; returns how many."""
    kept = 0
    at = 0
    while at < len(pairs):
        key = pairs[at] >> np.uint64(8)
        weight = np.uint64(0)
        while at < len(pairs) and pairs[at] >> np.uint64(8) == key:
            weight += pairs[at] & np.uint64(255)
            at += 1
        if weight >= least:
            pairs[kept] = key
            kept += 1
    return kept


@_compiled
def band_pairs(keys, order, lengths, text_bits, shortest, out):
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
            if _close(lengths[one], lengths[two], shortest):
                out[found] = (np.uint64(one) << room) | np.uint64(two)
                found += 1
    return found


@_compiled
def plausible(  # type: ignore[no-untyped-def]
    data, offsets, other_data, other_offsets, lengths, other_lengths, ones, others, similarity, first, last, out
):
    """Whether pairs first..last may have a ratio of `similarity`: exact for ASCII, and yes where there is more.

    The longest common subsequence, 64 characters at a time (Hyyrö 2004), within the diagonal band that a ratio of
    `similarity` leaves, until it cannot be reached any more. Pairs of one text stand together.
    """
    masks = np.zeros((128, 1), np.uint64)
    words = 0
    current = -1
    for pair in range(first, last):
        one, other = ones[pair], others[pair]
        length, other_length = lengths[one], other_lengths[other]
        total = abs(length) + abs(other_length)
        needed = np.int64(np.ceil(similarity * total / 200 - 1e-6))
        if needed > min(abs(length), abs(other_length)):
            out[pair] = False
            continue
        if length < 0 or other_length < 0:
            out[pair] = True
            continue
        start = offsets[one]
        if one != current:
            current = one
            words = (length + 63) // 64
            if words > masks.shape[1]:
                masks = np.zeros((128, words), np.uint64)
            else:
                masks[:, :words] = np.uint64(0)
            for at in range(length):
                masks[data[start + at], at >> 6] |= _ONE << np.uint64(at & 63)
        out[pair] = _common(masks, words, length, other_data, other_offsets[other], other_length, needed)


@_compiled
def _common(masks, words, length, data, start, other_length, needed):
    """Whether a subsequence of `needed` characters is common."""
    state = np.empty(words, np.uint64)
    state[:] = _ALL
    before, after = other_length - needed, length - needed
    for row in range(other_length):
        low, high = max(0, (row - before) >> 6), min(words, ((row + after) >> 6) + 1)
        carry = np.uint64(0)
        mask = masks[data[start + row]]
        for word in range(low, high):
            value = state[word]
            match = value & mask[word]
            total = value + match
            over = np.uint64(total < value)
            total += carry
            carry = over | np.uint64(total < carry)
            state[word] = total | (value - match)
        if row & 31 == 31 and row + 1 - _zeros(state, words) > before:
            return False
    return _zeros(state, words) >= needed


@_compiled
def _zeros(state, words):
    zeros = 0
    for word in range(words):
        zeros += bits_in(~state[word])
    return zeros


@_compiled
def bits_in(value):
    """How many bits are set: LLVM makes one instruction of this."""
    value = value - ((value >> _ONE) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@_compiled
def join_components(roots, ones, others):
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
