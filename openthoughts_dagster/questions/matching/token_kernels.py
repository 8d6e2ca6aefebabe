"""Compiled loops that divide texts into words. Imported inside functions, as text_kernels is.

A word has a weight in quarters: a run of letters and digits is one word; scripts that put no space between words count
by the character, a Chinese, Japanese or Korean one for half a word and a Thai, Lao, Khmer or Burmese one for a quarter.
"""

import numpy as np

from openthoughts_dagster.questions.matching.text_kernels import _compiled, copied, mixed

_FIRST = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_GAP, _INSIDE, _ALONE, _BOUNDARY = 0, 1, 2, 3
_WORD, _HALF_WORD, _QUARTER_WORD = 4, 2, 1


@_compiled
def _exact_kind(data, at, end):  # type: ignore[no-untyped-def]
    """Of the character at `at`: how it belongs to words, its bytes, its weight. As tokens.WORD says."""
    byte = data[at]
    if byte < 0x80:
        if byte <= 0x20:
            return _GAP, 1, _WORD
        word = 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95
        return (_INSIDE if word else _ALONE), 1, _WORD
    if byte < 0xE0:
        if byte == 0xC2:
            return (_GAP if at + 1 < end and data[at + 1] == 0xA0 else _ALONE), 2, _WORD
        return _INSIDE, 2, _WORD
    if byte < 0xF0:
        if byte < 0xE2:
            return _INSIDE, 3, _WORD
        if at + 2 < end:
            second, third = data[at + 1], data[at + 2]
            if byte == 0xE2 and second == 0x80 and (third <= 0x8A or third == 0xAF):
                return _GAP, 3, _WORD
            if byte == 0xE3 and second == 0x80 and third == 0x80:
                return _GAP, 3, _WORD
        return _ALONE, 3, _WORD
    return _ALONE, 4, _WORD


@_compiled
def _normal_kind(data, at, end):  # type: ignore[no-untyped-def]
    """The same for normalized texts, where only letters and digits make words."""
    byte = data[at]
    if byte < 0x80:
        if 48 <= byte <= 57 or 97 <= byte <= 122 or 65 <= byte <= 90:
            return _INSIDE, 1, _WORD
        inner = byte == 32 or byte == 9 or byte == 39 or byte == 44 or byte == 45 or byte == 95  # ' , - _
        return (_GAP if inner else _BOUNDARY), 1, _WORD
    second = data[at + 1] if at + 1 < end else np.uint8(0)
    if byte < 0xE0:
        sign = byte == 0xC2 or (byte == 0xC3 and (second == 0x97 or second == 0xB7))
        comma = byte == 0xD8 and (second == 0x8C or second == 0x9B or second == 0x9F)  # of Arabic
        comma |= byte == 0xDB and second == 0x94
        return (_BOUNDARY if sign or comma else _INSIDE), 2, _WORD
    if byte >= 0xF0:
        return (_GAP if byte == 0xF0 and second == 0x9F else _ALONE), 4, _HALF_WORD
    if byte == 0xE0:
        if second == 0xA5 and at + 2 < end and (data[at + 2] == 0xA4 or data[at + 2] == 0xA5):
            return _BOUNDARY, 3, _WORD  # the danda
        return (_ALONE, 3, _QUARTER_WORD) if second >= 0xB8 else (_INSIDE, 3, _WORD)
    if byte == 0xE1:
        unspaced = second <= 0x82 or second == 0x9E or second == 0x9F
        return (_ALONE, 3, _QUARTER_WORD) if unspaced else (_INSIDE, 3, _WORD)
    if byte == 0xE2:
        return _BOUNDARY, 3, _WORD
    if byte == 0xE3 and second == 0x80:
        return _BOUNDARY, 3, _WORD
    if byte >= 0xEE:
        letters = byte == 0xEF and 0xA4 <= second <= 0xAB
        return (_ALONE, 3, _HALF_WORD) if letters else (_BOUNDARY, 3, _WORD)
    return _ALONE, 3, _HALF_WORD


@_compiled
def words(data, offsets, exact, values, weights, starts, ends, bounds, token_offsets):  # type: ignore[no-untyped-def]
    """The words of all texts: hash, weight, bytes from `starts` to `ends`; text i has token_offsets[i:i + 2] of them.

    `bounds` has 1 where a sign or an end of the text stands before the word, and 2 where one follows it.
    """
    found = 0
    token_offsets[0] = 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        first, bound = found, True
        while at < end:
            kind, size, weight = _exact_kind(data, at, end) if exact else _normal_kind(data, at, end)
            if kind in (_GAP, _BOUNDARY):
                if kind == _BOUNDARY:
                    bound = True
                    if found > first:
                        bounds[found - 1] |= 2
                at += size
                continue
            begin = at
            word = _FIRST
            while True:
                for byte in range(at, min(end, at + size)):
                    word = (word ^ np.uint64(data[byte])) * _PRIME
                at += size
                if kind == _ALONE or at >= end:
                    break
                kind, size, _ = _exact_kind(data, at, end) if exact else _normal_kind(data, at, end)
                if kind != _INSIDE:
                    break
            values[found], weights[found] = mixed(word), weight
            starts[found], ends[found] = begin, min(at, end)
            bounds[found] = 1 if bound else 0
            bound = False
            found += 1
        if found > first:
            bounds[found - 1] |= 2
        token_offsets[text + 1] = found
    return found


@_compiled
def character_starts(data, start, end, out):  # type: ignore[no-untyped-def]
    """Where each character of data[start:end] begins, and `end`; returns how many characters there are."""
    number = 0
    for at in range(start, end):
        if data[at] & 0xC0 != 0x80:
            out[number] = at
            number += 1
    out[number] = end
    return number


@_compiled
def without_covered(data, offsets, starts, ends, token_offsets, covered, out, out_offsets):  # type: ignore[no-untyped-def]
    """The texts without their `covered` words and what stands between two of those."""
    place = 0
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        at = offsets[text]
        last = token_offsets[text + 1]
        for token in range(token_offsets[text], last):
            if covered[token]:
                place = copied(data, at, starts[token], out, place)
                at = max(at, starts[token + 1] if token + 1 < last and covered[token + 1] else ends[token])
        place = copied(data, at, offsets[text + 1], out, place)
        out_offsets[text + 1] = place
    return place
