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
_ONE = np.uint64(1)


@_compiled
def mixed(value):  # type: ignore[no-untyped-def]
    """A 64-bit hash of a 64-bit value."""
    value = value * _MIX
    value ^= value >> np.uint64(29)
    value *= _MORE
    return value ^ (value >> _HALF)


@_compiled
def is_space(byte):  # type: ignore[no-untyped-def]
    """White space in ASCII."""
    return byte == 32 or 9 <= byte <= 13


@_compiled
def text_hashes(data, offsets, first, last, out):  # type: ignore[no-untyped-def]
    """Hashes of texts first..last without white space around them or at the ends of lines, where \\r\\n is \\n."""
    scratch = np.empty(longest(offsets[first : last + 1]), np.uint8)
    for text in range(first, last):
        start, end = offsets[text], offsets[text + 1]
        while start < end and is_space(data[start]):
            start += 1
        while start < end and is_space(data[end - 1]):
            end -= 1
        blank = False
        for at in range(start, end - 1):
            blank |= (data[at + 1] == 10) & (data[at] != 10) & is_space(data[at])
        if blank:
            size = _without_blanks(data, start, end, scratch)
            out[text] = _hashed(scratch, 0, size)
        else:
            out[text] = _hashed(data, start, end)


@_compiled
def _without_blanks(data, start, end, scratch):  # type: ignore[no-untyped-def]
    """Copy data[start:end] without white space at the ends of lines; returns how many bytes are left."""
    size = 0
    for at in range(start, end):
        byte = data[at]
        if byte == 10:
            while size > 0 and scratch[size - 1] != 10 and is_space(scratch[size - 1]):
                size -= 1
        scratch[size] = byte
        size += 1
    return size


@_compiled
def _hashed(data, start, end):  # type: ignore[no-untyped-def]
    hashed = _MORE
    at = start
    while at + 8 <= end:
        hashed = mixed(hashed ^ _eight(data, at))
        at += 8
    word = np.uint64(end - at)
    while at < end:
        word = (word << np.uint64(8)) | np.uint64(data[at])
        at += 1
    return mixed(hashed ^ word)


@_compiled
def _eight(data, at):  # type: ignore[no-untyped-def]
    """Eight bytes as a number: one load, after LLVM has looked at it."""
    return (
        np.uint64(data[at])
        | np.uint64(data[at + 1]) << np.uint64(8)
        | np.uint64(data[at + 2]) << np.uint64(16)
        | np.uint64(data[at + 3]) << np.uint64(24)
        | np.uint64(data[at + 4]) << np.uint64(32)
        | np.uint64(data[at + 5]) << np.uint64(40)
        | np.uint64(data[at + 6]) << np.uint64(48)
        | np.uint64(data[at + 7]) << np.uint64(56)
    )


@_compiled
def letter_counts(data, offsets, first, last, out):  # type: ignore[no-untyped-def]
    """How often bytes occur in texts first..last, in 64 classes, at most 255 each."""
    counts = np.empty(out.shape[1], np.int64)
    for text in range(first, last):
        counts[:] = 0
        for at in range(offsets[text], offsets[text + 1]):
            counts[data[at] & 63] += 1
        for letter in range(out.shape[1]):
            out[text, letter] = min(255, counts[letter])


@_compiled
def text_lengths(data, offsets, first, last, out):  # type: ignore[no-untyped-def]
    """Characters of texts first..last; negative where not all of them are ASCII."""
    for text in range(first, last):
        characters = 0
        for at in range(offsets[text], offsets[text + 1]):
            characters += (data[at] & 0xC0) != 0x80
        out[text] = characters if characters == offsets[text + 1] - offsets[text] else -characters


@_compiled
def gathered(data, offsets, positions, out):  # type: ignore[no-untyped-def]
    """The bytes of the texts at `positions`, one after the other."""
    place = 0
    for position in positions:
        place = copied(data, offsets[position], offsets[position + 1], out, place)


@_compiled
def copied(data, start, end, out, place):  # type: ignore[no-untyped-def]
    """Copy data[start:end] to `place` in `out`; returns where it ends there."""
    source, target = data[start:end], out[place : place + max(0, end - start)]
    for at in range(len(source)):
        target[at] = source[at]
    return place + len(source)


@_compiled
def compacted(data, start, end, scratch):  # type: ignore[no-untyped-def]
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
def sampled_grams(scratch, number, length, size, wanted, out):  # type: ignore[no-untyped-def]
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
def longest(offsets):  # type: ignore[no-untyped-def]
    """Bytes of the longest text."""
    most = 0
    for text in range(len(offsets) - 1):
        most = max(most, offsets[text + 1] - offsets[text])
    return most
