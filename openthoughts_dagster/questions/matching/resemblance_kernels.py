"""Compiled loops that look for benchmark questions in other texts. Imported inside functions, as text_kernels is."""

import numpy as np

from openthoughts_dagster.questions.matching.compare_kernels import bits_in
from openthoughts_dagster.questions.matching.hash_table import cell_of
from openthoughts_dagster.questions.matching.text_kernels import _compiled, longest, mixed

_SHORT = 24  # characters: texts too short for grams to tell apart, compared with all others that are as short


@_compiled
def _letters_of(data, start, end, scratch):  # type: ignore[no-untyped-def]
    """The last eight letters at every letter of data[start:end] without white space, in lower case; returns how many.

    A letter is a byte: one beyond ASCII is one of 128 classes. Three of its own bytes would say little in scripts whose
    letters all begin with the same two, such as Thai and Devanagari.
    """
    number = 0
    last = np.uint64(0)
    at = start
    while at < end:
        letter = np.uint64(data[at])
        at += 1
        if letter <= 32:
            continue
        if letter >= 0x80:
            while at < end and data[at] & 0xC0 == 0x80:
                letter = letter << np.uint64(8) | np.uint64(data[at])
                at += 1
            letter = mixed(letter) & np.uint64(0x7F) | np.uint64(0x80)
        elif 65 <= letter <= 90:
            letter += np.uint64(32)
        last = last << np.uint64(8) | letter
        scratch[number] = last
        number += 1
    return number


@_compiled
def grams_of(data, offsets, size, owners, hashes):  # type: ignore[no-untyped-def]
    """Every gram of every text, with the text that it is from; returns how many."""
    scratch = np.empty(longest(offsets) + 1, np.uint64)
    mask = (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    found = 0
    for text in range(len(offsets) - 1):
        number = _letters_of(data, offsets[text], offsets[text + 1], scratch)
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
        for at in range(size - 1, _letters_of(data, offsets[text], offsets[text + 1], scratch)):
            cell = mixed(scratch[at] & mask) & cells
            bits[text, np.int64(cell >> np.uint64(6))] |= np.uint64(1) << (cell & np.uint64(63))
        for word in range(bits.shape[1]):
            ones[text] += bits_in(bits[text, word])


@_compiled
def _unlike(lengths):  # type: ignore[no-untyped-def]
    """What grams must have more in common where one text is shorter: all of it has to be in the longer one."""
    return max(0.0, 0.7 * (0.9 - lengths))


@_compiled
def _count_common(bits, known_bits, first, last, common):  # type: ignore[no-untyped-def]
    """In `common`, how many grams each of four texts shares with the questions first..last.

    Four texts at a time: the bits of a question are read once for all of them, and reading is what takes the time.
    """
    for question in range(first, last):
        one, two, three, four = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        for word in range(bits.shape[1]):
            known = known_bits[question, word]
            one += bits_in(bits[0, word] & known)
            two += bits_in(bits[1, word] & known)
            three += bits_in(bits[2, word] & known)
            four += bits_in(bits[3, word] & known)
        common[0, question], common[1, question] = one, two
        common[2, question], common[3, question] = three, four


@_compiled
def alike(  # type: ignore[no-untyped-def]
    bits, filled, lengths, known_bits, known_filled, known_lengths, shortest, few, least, most, likely, ones, others
):
    """For each text the benchmark questions whose grams are most alike (Dice, less for other lengths); how many pairs.

    All are compared. The `few` best ones count from `least` on, up to `most` when they reach `likely`. `known_lengths`
    ascend, and only lengths at least `shortest` of each other count.
    """
    best, shares = np.empty(most, np.int64), np.empty(most, np.float64)
    four, common = np.empty((4, bits.shape[1]), np.uint64), np.empty((4, len(known_lengths)), np.int64)
    order = np.argsort(np.abs(lengths))
    found = 0
    for at in range(len(order)):
        text = order[at]
        length = abs(lengths[text])
        if at & 3 == 0:
            for row in range(4):
                four[row] = bits[order[min(at + row, len(order) - 1)]]
            longest_of_four = abs(lengths[order[min(at + 3, len(order) - 1)]])
            first = np.searchsorted(known_lengths, length * shortest)
            last = np.searchsorted(known_lengths, longest_of_four / shortest, "right")
            _count_common(four, known_bits, first, last, common)
        first = np.searchsorted(known_lengths, length * shortest)
        last = np.searchsorted(known_lengths, length / shortest, "right")
        own = filled[text] + 1
        kept = 0
        bar = least
        shared_by = common[at & 3]
        for question in range(np.uint64(first), np.uint64(last)):  # numba checks signed ones for < 0
            shared = shared_by[question]
            both = own + known_filled[question]
            if 2 * shared > bar * both:
                other = known_lengths[question]
                share = 2 * shared / both - _unlike(min(length, other) / max(1, length, other))
                if share <= bar:
                    continue
                kept = _ranked(question, share, best, shares, kept)
                if kept == most:
                    bar = shares[kept - 1]
                elif kept >= few:
                    bar = min(likely, shares[few - 1])
        for place in range(kept):
            if place >= few and shares[place] < likely:
                break
            ones[found], others[found] = text, best[place]
            found += 1
    return found


@_compiled
def nearest(  # type: ignore[no-untyped-def]
    data,
    offsets,
    lengths,
    size,
    cells,
    places,
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
        number = _letters_of(data, offsets[text], offsets[text + 1], scratch) if asked[text] else 0
        reached = 0
        for at in range(size - 1, number):
            cell = cell_of(mixed(scratch[at] & mask), cells)
            if cell >= 0:
                place = places[cell]
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
