"""Compiled loops that divide texts into marks. Imported inside functions, as text_kernels is.

Marks are words, numbers and signs, and the indentation of programs; what is formatting has none.
"""

import numpy as np

from openthoughts_dagster.questions.matching.hash_table import cell_of
from openthoughts_dagster.questions.matching.text_kernels import _compiled, longest, mixed

_FIRST = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
WORD, OTHER = 1, 2
_INDENT, _DEDENT = np.uint64(0x1F83D9ABFB41BD6B), np.uint64(0x5BE0CD19137E2179)
_DEEPEST = 64


_LONGER = 9  # than one byte, if it is a letter
_LETTERS = np.zeros(256, np.uint8)
_LETTERS[65:91] = _LETTERS[97:123] = 1
_LETTERS[0xC3:0xE2] = _LONGER


@_compiled
def _letters(data, start, end, out):  # type: ignore[no-untyped-def]
    """Bytes of the letter that begins at each byte, 0 where none does; scripts without spaces are signs, one by one."""
    for at in range(start, end):
        byte = data[at]
        size = _LETTERS[byte]
        if size == _LONGER:
            second = data[at + 1] if at + 1 < end else np.uint8(0)
            if byte < 0xE0:
                digit = (byte == 0xD9 and 0xA0 <= second <= 0xA9) or (byte == 0xDB and 0xB0 <= second <= 0xB9)
                size = np.uint8(0 if digit or (byte == 0xC3 and (second == 0x97 or second == 0xB7)) else 2)
            else:
                size = np.uint8(3 if byte == 0xE1 or second < 0xB8 else 0)
        out[at - start] = size
    out[end - start] = 0
    out[end - start + 1] = 0


@_compiled
def _size(byte):  # type: ignore[no-untyped-def]
    """Bytes of the character that begins with `byte`."""
    return 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4


@_compiled
def lower(byte):  # type: ignore[no-untyped-def]
    return byte + np.uint8(32) if 65 <= byte <= 90 else byte


@_compiled
def hashed_bytes(data, start, end, is_word):  # type: ignore[no-untyped-def]
    """A hash of bytes; of a word, `lower`, without letter case and apostrophes."""
    hashed = _FIRST
    at = start
    while at < end:
        if is_word and (data[at] == 39 or data[at] == 0xE2):  # no letter begins with E2
            at += 1 if data[at] == 39 else 3
            continue
        hashed = (hashed ^ np.uint64(lower(data[at]) if is_word else data[at])) * _PRIME
        at += 1
    return mixed(hashed)


@_compiled
def _blank(byte):  # type: ignore[no-untyped-def]
    return byte <= 32


@_compiled
def _is_formatting(data, letters, at, start, end):  # type: ignore[no-untyped-def]
    """Whether the ASCII sign at `at` says nothing: punctuation of a sentence, quotation of code, LaTeX's dollars."""
    byte = data[at]
    before = data[at - 1] if at > start else np.uint8(32)
    after = data[at + 1] if at + 1 < end else np.uint8(32)
    if byte in (36, 44, 46, 96):  # $ , . `
        return True
    closes = _blank(after) or after in (34, 36, 39, 41)  # " $ ' )
    if byte in (58, 59, 63):  # : ; ?
        return closes and not _blank(before)
    if byte == 33:  # !, but not a factorial
        long = at - 2 >= start and letters[at - 1 - start] == 1 and letters[at - 2 - start] == 1
        return closes and long
    if byte == 42:  # the asterisks of bold text
        opening = after == 42 and (at == start or _blank(before)) and at + 2 < end and letters[at + 2 - start] > 0
        second = before == 42 and (at - 1 == start or _blank(data[at - 2])) and letters[at - start] == 0
        second &= at + 1 < end and letters[at + 1 - start] > 0
        closing = after == 42 and not _blank(before) and (at + 2 >= end or _blank(data[at + 2]))
        last = before == 42 and (at + 1 >= end or _blank(after)) and at - 2 >= start and not _blank(data[at - 2])
        return opening or second or closing or last
    return False


@_compiled
def _begins_decimal(data, at, start, end):  # type: ignore[no-untyped-def]
    """Whether a dot is that of a number without a zero before it, as in `x = .5`, and no end of a word or a range."""
    if data[at] != 46 or at + 1 >= end or not 48 <= data[at + 1] <= 57:
        return False
    before = lower(data[at - 1]) if at > start else np.uint8(32)
    return not (97 <= before <= 122 or before in (41, 46, 93))  # letters, and ) . ]


@_compiled
def _is_program(data, start, end):  # type: ignore[no-untyped-def]
    """Whether a line ends with a colon and the next one is indented: there white space is part of the program."""
    for at in range(start, end - 2):
        if data[at] == 10 and data[at - 1 if at > start else at] == 58 and data[at + 1] in (9, 32):
            return True
    return False


@_compiled
def marks(data, offsets, names, canonical, values, kinds, starts, ends, mark_offsets):  # type: ignore[no-untyped-def]
    """Marks of all texts: hash, kind, and the bytes that each is of; returns how many.

    `names` is a hash table of commands and characters that have another spelling, and `canonical` what each stands for;
    0 is nothing at all. There are at most two marks to a byte.
    """
    found = 0
    mark_offsets[0] = 0
    levels = np.zeros(_DEEPEST, np.int64)
    letters = np.zeros(longest(offsets) + 2, np.uint8)
    for text in range(len(offsets) - 1):
        at, end, start = offsets[text], offsets[text + 1], offsets[text]
        _letters(data, start, end, letters)
        program = _is_program(data, start, end)
        depth = 0
        group = False  # whether a brace would enclose the argument of a command, an index or an exponent
        while at < end:
            byte = data[at]
            if _blank(byte):
                at += 1
                if byte != 10 or not program:
                    continue
                width = 0
                while at < end and data[at] in (9, 32):
                    width += 4 if data[at] == 9 else 1
                    at += 1
                if at == end or data[at] == 10 or data[at] == 13:
                    continue
                if width > levels[depth] and depth + 1 < _DEEPEST:
                    depth += 1
                    levels[depth] = width
                    values[found], kinds[found], starts[found], ends[found] = _INDENT, OTHER, at, at
                    found += 1
                while width < levels[depth]:
                    depth -= 1
                    values[found], kinds[found], starts[found], ends[found] = _DEDENT, OTHER, at, at
                    found += 1
                continue
            begin, kind = at, OTHER
            if letters[at - start]:
                kind = WORD
                length = 0
                while at < end:
                    size = letters[at - start]
                    if size == 0 and length > 1:  # an apostrophe inside of a word
                        typed = data[at] == 39
                        curly = at + 2 < end and data[at] == 0xE2 and data[at + 1] == 0x80 and data[at + 2] == 0x99
                        after = at + (1 if typed else 3)
                        if (typed or curly) and after < end and letters[after - start]:
                            at = after
                            continue
                    if size == 0:
                        break
                    length += 1
                    at += size
                single = at - begin == 1 and lower(data[begin]) not in (97, 105)
                value = hashed_bytes(data, begin, at, not single)
                group = False
            elif 48 <= byte <= 57 or _begins_decimal(data, at, start, end):
                value = _FIRST if byte != 46 else (_FIRST ^ np.uint64(48)) * _PRIME  # .5 is 0.5
                while at < end:
                    digit = 48 <= data[at] <= 57
                    inner = data[at] in (44, 46) and at + 1 < end and 48 <= data[at + 1] <= 57
                    if inner and data[at] == 44:  # a comma between thousands
                        inner = at + 3 < end and 48 <= data[at + 2] <= 57 and 48 <= data[at + 3] <= 57
                        inner &= at + 4 >= end or not 48 <= data[at + 4] <= 57
                        inner &= at - begin <= 3 or data[at - 4] == 44
                    if not digit and not inner:
                        break
                    if data[at] != 44:
                        value = (value ^ np.uint64(data[at])) * _PRIME
                    at += 1
                value = mixed(value)
                group = False
            else:
                if byte == 92 and at + 1 < end and letters[at + 1 - start] == 1:
                    at += 1
                    while at < end and letters[at - start] == 1:
                        at += 1
                else:
                    at = min(end, at + (2 if byte == 92 else _size(byte)))
                if at == begin + 1 and _is_formatting(data, letters, begin, start, end):
                    continue
                value = hashed_bytes(data, begin, at, False)
                cell = cell_of(value, names)
                if cell >= 0:
                    value = canonical[cell]
                if value == 0:
                    continue
                if group and at == begin + 1 and byte == 123:  # {x}: an argument of one mark needs no braces
                    inside = at
                    while inside < end and _blank(data[inside]):
                        inside += 1
                    close = inside
                    digits = close < end and 48 <= data[close] <= 57
                    while close < end and (48 <= data[close] <= 57 if digits else letters[close - start] == 1):
                        close += 1
                    last = close
                    while close < end and _blank(data[close]):
                        close += 1
                    if last > inside and close < end and data[close] == 125:
                        single = last - inside == 1 and lower(data[inside]) not in (97, 105)
                        value = hashed_bytes(data, inside, last, not single)
                        values[found], kinds[found] = value, OTHER if digits else WORD
                        starts[found], ends[found] = inside, last
                        found += 1
                        at = close + 1
                        continue
                group = byte in (92, 94, 95)
            values[found], kinds[found], starts[found], ends[found] = value, kind, begin, at
            found += 1
        mark_offsets[text + 1] = found
    return found
