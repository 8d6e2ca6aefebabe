"""Compiled loops that say in what two similar texts differ. Imported inside functions, as text_kernels is.

Two texts ask the same when they have the same marks. A word may stand in the place of another one that is spelled
nearly the same; such pairs of words are returned, because the corpus decides about them.
"""

import numpy as np

from openthoughts_dagster.questions.matching.hash_table import cell_of
from openthoughts_dagster.questions.matching.mark_kernels import WORD, lower
from openthoughts_dagster.questions.matching.text_kernels import _compiled, mixed


@_compiled
def _letters_in(data, start, end):  # type: ignore[no-untyped-def]
    """How many letters a word has: those beyond ASCII take several bytes."""
    letters = 0
    for at in range(start, end):
        letters += int(data[at] & 0xC0 != 0x80)
    return letters


@_compiled
def _begin_alike(data, one, one_end, other, other_end):  # type: ignore[no-untyped-def]
    """Whether two words have the same first letter."""
    at = 0
    while at == 0 or (one + at < one_end and data[one + at] & 0xC0 == 0x80):
        if other + at >= other_end or lower(data[one + at]) != lower(data[other + at]):
            return False
        at += 1
    return True


@_compiled
def _nearly(data, one, one_end, other, other_end):  # type: ignore[no-untyped-def]
    """Whether two words differ as a word and its misspelling: the first letter is right and little else is not.

    One letter too many, missing, wrong or in its neighbour's place; in words of six letters also two that are one each.
    """
    size, other_size = one_end - one, other_end - other
    letters = min(_letters_in(data, one, one_end), _letters_in(data, other, other_end))
    if letters < 4 or abs(size - other_size) > 2 or not _begin_alike(data, one, one_end, other, other_end):
        return False
    first = 0
    while first < min(size, other_size) and lower(data[one + first]) == lower(data[other + first]):
        first += 1
    last = 0
    while last < min(size, other_size) - first and lower(data[one_end - 1 - last]) == lower(data[other_end - 1 - last]):
        last += 1
    rest, other_rest = size - first - last, other_size - first - last
    if rest <= 1 and other_rest <= 1:
        return True
    if rest == 2 and other_rest == 2:
        swapped = lower(data[one + first]) == lower(data[other + first + 1])
        if swapped and lower(data[one + first + 1]) == lower(data[other + first]):
            return True
    if letters < 6 or rest > 8 or other_rest > 8:
        return False
    # Two letters are inserted or deleted, no more: the common subsequence of what is left has all but those.
    table = np.zeros((10, 10), np.int64)
    for row in range(rest):
        for column in range(other_rest):
            if lower(data[one + first + row]) == lower(data[other + first + column]):
                table[row + 1, column + 1] = table[row, column] + 1
            else:
                table[row + 1, column + 1] = max(table[row, column + 1], table[row + 1, column])
    return rest + other_rest - 2 * table[rest, other_rest] <= 2


@_compiled
def _is_number(data, start, end, value, numbers):  # type: ignore[no-untyped-def]
    """Whether a word is a number's name, or Roman."""
    if cell_of(value, numbers) >= 0:
        return True
    for at in range(start, end):  # noqa: SIM110 - numba compiles loops
        if lower(data[at]) not in (99, 100, 105, 108, 109, 118, 120):
            return False
    return True


@_compiled
def compare(  # type: ignore[no-untyped-def]
    data, values, kinds, starts, ends, offsets, numbers, ones, others, same, pairs, changed, changed_to
):
    """For each pair of texts whether they have the same marks, but for words that are spelled nearly the same.

    Those are told: the pair, and the two marks. Returns how many; those that do not fit are only counted.
    """
    found = 0
    for pair in range(len(ones)):
        one, one_end = offsets[ones[pair]], offsets[ones[pair] + 1]
        other, other_end = offsets[others[pair]], offsets[others[pair] + 1]
        begin = found
        alike = True
        while one < one_end and other < other_end:
            if values[one] == values[other] and kinds[one] == kinds[other]:
                one, other = one + 1, other + 1
                continue
            alike = kinds[one] == WORD and kinds[other] == WORD
            if not alike:
                break
            joined = _joined(data, kinds, starts, ends, one, one_end, other)
            other_joined = _joined(data, kinds, starts, ends, other, other_end, one)
            if joined or other_joined:
                one, other = one + (2 if joined else 1), other + (1 if joined else 2)
                continue
            alike = _nearly(data, starts[one], ends[one], starts[other], ends[other])
            alike &= not _is_number(data, starts[one], ends[one], values[one], numbers)
            alike &= not _is_number(data, starts[other], ends[other], values[other], numbers)
            if not alike:
                break
            if found < len(pairs):
                pairs[found], changed[found], changed_to[found] = pair, one, other
            found += 1
            one, other = one + 1, other + 1
        same[pair] = alike and one == one_end and other == other_end
        if not same[pair]:
            found = begin
    return found


@_compiled
def _joined(data, kinds, starts, ends, one, one_end, other):  # type: ignore[no-untyped-def]
    """Whether two words in a row of one text are one word of the other."""
    if one + 1 >= one_end or kinds[one + 1] != WORD:
        return False
    first, second, whole = ends[one] - starts[one], ends[one + 1] - starts[one + 1], ends[other] - starts[other]
    if first + second != whole:
        return False
    for at in range(whole):
        letter = data[starts[one] + at] if at < first else data[starts[one + 1] + at - first]
        if lower(letter) != lower(data[starts[other] + at]):
            return False
    return True


@_compiled
def word_contexts(values, kinds, offsets, cells, places, most, counts, contexts):  # type: ignore[no-untyped-def]
    """How often each word of the table occurs, and up to `most` different contexts: the marks before and after it."""
    for text in range(len(offsets) - 1):
        first, last = offsets[text], offsets[text + 1]
        for at in range(first, last):
            if kinds[at] != WORD:
                continue
            cell = cell_of(values[at], cells)
            if cell < 0:
                continue
            place = places[cell]
            counts[place] += 1
            before = values[at - 1] if at > first else np.uint64(1)
            after = values[at + 1] if at + 1 < last else np.uint64(2)
            context = max(np.uint64(1), mixed(mixed(before) ^ after))
            for slot in range(most):
                if contexts[place, slot] == context:
                    break
                if contexts[place, slot] == 0:
                    contexts[place, slot] = context
                    break
