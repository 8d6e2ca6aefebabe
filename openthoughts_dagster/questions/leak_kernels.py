"""Compiled loops that look for benchmark questions in other texts. Imported inside functions, as kernels is."""

import numpy as np

from openthoughts_dagster.questions.compare_kernels import bits_in
from openthoughts_dagster.questions.kernels import _compiled, compacted, longest, mixed

_FIRST = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x5851F42D4C957F2D)
_SHORT = 24  # characters: texts too short for grams to tell apart, compared with all others that are as short


@_compiled
def _kind(data, at, end):  # type: ignore[no-untyped-def]
    """Of the character at `at`: 0 between words, 1 in a word, 2 a word by itself; and its bytes. As ngrams._WORD."""
    byte = data[at]
    if byte < 0x80:
        if byte <= 0x20:
            return 0, 1
        word = 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95
        return (1 if word else 2), 1
    if byte < 0xE0:
        if byte == 0xC2:
            return (0 if at + 1 < end and data[at + 1] == 0xA0 else 2), 2
        return 1, 2
    if byte < 0xF0:
        if byte < 0xE2:
            return 1, 3
        if at + 2 < end:
            second, third = data[at + 1], data[at + 2]
            if byte == 0xE2 and second == 0x80 and (third <= 0x8A or third == 0xAF):
                return 0, 3
            if byte == 0xE3 and second == 0x80 and third == 0x80:
                return 0, 3
        return 2, 3
    return 2, 4


@_compiled
def word_runs(data, start, end, length, hashes, starts, ends):  # type: ignore[no-untyped-def]
    """Hashes of every run of `length` words of a text, and where each begins and ends; returns how many."""
    gone = np.uint64(1)
    for _ in range(length):
        gone *= _BASE
    words = np.zeros(length, np.uint64)
    places = np.zeros(length, np.int64)
    seen = 0
    found = 0
    run = np.uint64(0)
    at = start
    while at < end:
        kind, size = _kind(data, at, end)
        if kind == 0:
            at += size
            continue
        begin = at
        word = _FIRST
        while True:
            for byte in range(at, min(end, at + size)):
                word = (word ^ np.uint64(data[byte])) * _PRIME
            at += size
            if kind == 2 or at >= end:
                break
            kind, size = _kind(data, at, end)
            if kind != 1:
                break
        slot = seen % length
        word = mixed(word)
        run = run * _BASE + word - gone * words[slot]
        words[slot] = word
        places[slot] = begin
        seen += 1
        if seen >= length:
            hashes[found] = mixed(run)
            starts[found] = places[seen % length]
            ends[found] = min(at, end)
            found += 1
    return found


@_compiled
def all_runs(data, offsets, length, owners, hashes):  # type: ignore[no-untyped-def]
    """The runs of all texts, with the text that each is from; returns how many."""
    room = longest(offsets) + 1
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    found = 0
    for text in range(len(offsets) - 1):
        more = word_runs(data, offsets[text], offsets[text + 1], length, hashes[found:], starts, ends)
        owners[found : found + more] = text
        found += more
    return found


@_compiled
def fill_table(keys, table):  # type: ignore[no-untyped-def]
    """A hash table (size a power of 2) of positions in `keys`, which are distinct hashes; -1 is empty."""
    mask = len(table) - 1
    for position in range(len(keys)):
        cell = np.int64(keys[position]) & mask
        while table[cell] >= 0:
            cell = (cell + 1) & mask
        table[cell] = position


@_compiled
def _place(key, keys, table):  # type: ignore[no-untyped-def]
    mask = len(table) - 1
    cell = np.int64(key) & mask
    while table[cell] >= 0:
        if keys[table[cell]] == key:
            return table[cell]
        cell = (cell + 1) & mask
    return -1


@_compiled
def count_runs(data, offsets, length, keys, table, counts):  # type: ignore[no-untyped-def]
    """In how many of the texts each of `keys` occurs."""
    room = longest(offsets) + 1
    hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    seen = np.full(len(keys), -1, np.int64)
    for text in range(len(offsets) - 1):
        for at in range(word_runs(data, offsets[text], offsets[text + 1], length, hashes, starts, ends)):
            place = _place(hashes[at], keys, table)
            if place >= 0 and seen[place] != text:
                seen[place] = text
                counts[place] += 1


@_compiled
def find_runs(data, offsets, length, keys, table, common, found):  # type: ignore[no-untyped-def]
    """For each text the first of `keys` that leaks: its place, and where it is; -1 where there is none.

    Runs that are `common` are no leaks, and neither are runs of which more than half the words stand in a common one.
    """
    room = longest(offsets) + 1
    hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    places, told = np.empty(room, np.int64), np.empty(room + length + 1, np.int64)
    for text in range(len(offsets) - 1):
        found[text, 0] = -1
        number = word_runs(data, offsets[text], offsets[text + 1], length, hashes, starts, ends)
        some = False
        for at in range(number):
            places[at] = _place(hashes[at], keys, table)
            some |= places[at] >= 0
        if not some:
            continue
        until = 0
        told[0] = 0
        for word in range(number + length - 1):
            if word < number and places[word] >= 0 and common[places[word]]:
                until = word + length
            told[word + 1] = told[word] + (word < until)
        for at in range(number):
            place = places[at]
            if place >= 0 and not common[place] and 2 * (told[at + length] - told[at]) <= length:
                found[text, 0], found[text, 1], found[text, 2] = place, starts[at], ends[at]
                break


@_compiled
def grams_of(data, offsets, size, owners, hashes):  # type: ignore[no-untyped-def]
    """Every gram of every text, with the text that it is from; returns how many."""
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    mask = (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    found = 0
    for text in range(len(offsets) - 1):
        number = compacted(data, offsets[text], offsets[text + 1], scratch)
        for at in range(size - 1, number):
            owners[found], hashes[found] = text, mixed(scratch[at] & mask)
            found += 1
    return found


@_compiled
def _ranked(question, share, best, shares, kept):  # type: ignore[no-untyped-def]
    """Put a question in its place among the best ones, as far as there is room; returns how many there are."""
    if kept == len(best):
        if share <= shares[kept - 1]:
            return kept
        kept -= 1
    place = kept
    while place > 0 and shares[place - 1] < share:
        best[place], shares[place] = best[place - 1], shares[place - 1]
        place -= 1
    best[place], shares[place] = question, share
    return kept + 1


@_compiled
def gram_bits(data, offsets, size, bits, ones):  # type: ignore[no-untyped-def]
    """A bit for every gram of a text in its row of `bits`, and in `ones` how many are set."""
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    mask = (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    cells = np.uint64(64 * bits.shape[1] - 1)
    for text in range(len(offsets) - 1):
        for at in range(size - 1, compacted(data, offsets[text], offsets[text + 1], scratch)):
            cell = mixed(scratch[at] & mask) & cells
            bits[text, np.int64(cell >> np.uint64(6))] |= np.uint64(1) << (cell & np.uint64(63))
        for word in range(bits.shape[1]):
            ones[text] += bits_in(bits[text, word])


@_compiled
def _unlike(lengths):  # type: ignore[no-untyped-def]
    """What grams must have more in common where one text is shorter: all of it has to be in the longer one."""
    return max(0.0, 0.7 * (0.9 - lengths))


@_compiled
def alike(  # type: ignore[no-untyped-def]
    bits, filled, lengths, known_bits, known_filled, known_lengths, shortest, few, least, most, likely, ones, others
):
    """For each text the benchmark questions whose grams are most alike (Dice, less for other lengths); how many pairs.

    All are compared. The `few` best ones count from `least` on, up to `most` when they reach `likely`. `known_lengths`
    ascend, and only lengths at least `shortest` of each other count.
    """
    best, shares = np.empty(most, np.int64), np.empty(most, np.float64)
    found = 0
    for text in range(len(lengths)):
        length = abs(lengths[text])
        first = np.searchsorted(known_lengths, length * shortest)
        last = np.searchsorted(known_lengths, length / shortest, "right")
        own = filled[text] + 1
        kept = 0
        bar = least
        for question in range(first, last):
            common = np.int64(0)
            for word in range(bits.shape[1]):
                common += bits_in(bits[text, word] & known_bits[question, word])
            both = own + known_filled[question]
            if 2 * common > bar * both:
                other = known_lengths[question]
                share = 2 * common / both - _unlike(min(length, other) / max(1, length, other))
                if share <= bar:
                    continue
                kept = _ranked(question, share, best, shares, kept)
                if kept == most:
                    bar = shares[kept - 1]
                elif kept >= few:
                    bar = min(likely, shares[few - 1])
        for at in range(kept):
            if at >= few and shares[at] < likely:
                break
            ones[found], others[found] = text, best[at]
            found += 1
    return found


@_compiled
def nearest(  # type: ignore[no-untyped-def]
    data,
    offsets,
    lengths,
    size,
    keys,
    table,
    begins,
    owners,
    weights,
    totals,
    known_lengths,
    short,
    asked,
    shortest,
    most,
    least,
    ones,
    others,
):
    """For each text that is `asked` for the at most `most` benchmark questions whose grams it has most of.

    Gram number i is in the questions owners[begins[i]:begins[i + 1]] and weighs weights[i]; totals are the weights of
    each question. Shares are at least `least`, lengths at least `shortest` of each other. Short texts get all short
    questions (positions in `short`) as well. Returns how many pairs; those that do not fit are only counted.
    """
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    mask = (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    scores = np.zeros(len(totals), np.int64)
    touched = np.empty(len(totals), np.int64)
    best, shares = np.empty(most, np.int64), np.empty(most, np.float64)
    found = 0
    for text in range(len(offsets) - 1):
        length = abs(lengths[text])
        number = compacted(data, offsets[text], offsets[text + 1], scratch) if asked[text] else 0
        reached = 0
        for at in range(size - 1, number):
            place = _place(mixed(scratch[at] & mask), keys, table)
            if place >= 0:
                weight = weights[place]
                for owner in range(begins[place], begins[place + 1]):
                    question = owners[owner]
                    if scores[question] == 0:
                        touched[reached] = question
                        reached += 1
                    scores[question] += weight
        kept = 0
        for at in range(reached):
            question = touched[at]
            share = scores[question] / totals[question]
            scores[question] = 0
            other = abs(known_lengths[question])
            if share >= least and min(length, other) >= shortest * max(length, other):
                kept = _ranked(question, share, best, shares, kept)
        for at in range(kept):
            if found < len(ones):
                ones[found], others[found] = text, best[at]
            found += 1
        if length <= 2 * _SHORT:
            for question in short:
                other = abs(known_lengths[question])
                if min(length, other) >= shortest * max(length, other):
                    if found < len(ones):
                        ones[found], others[found] = text, question
                    found += 1
    return found
