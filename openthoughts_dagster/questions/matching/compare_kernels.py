"""A compiled comparison of two texts, much cheaper than the exact one where they differ. Imported inside functions."""

import numpy as np

from openthoughts_dagster.questions.matching.text_kernels import _ALL, _ONE, _compiled


@_compiled
def possible(lengths, letters, one, other, similarity):  # type: ignore[no-untyped-def]
    """Whether two texts may have a ratio of `similarity`, by their lengths and how often each letter occurs.

    What one text has more of a letter has to be deleted or inserted. Letters count where both texts are ASCII and
    `letters` has rows; lengths are negative beyond ASCII.
    """
    length, other_length = abs(lengths[one]), abs(lengths[other])
    allowed = (1 - similarity / 100) * (length + other_length) + 1e-6
    if abs(length - other_length) > allowed:
        return False
    if len(letters) == 0 or lengths[one] < 0 or lengths[other] < 0:
        return True
    different = np.int32(0)
    for letter in range(letters.shape[1]):
        different += abs(np.int32(letters[one, letter]) - np.int32(letters[other, letter]))
    return different <= allowed


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
def _common(masks, words, length, data, start, other_length, needed):  # type: ignore[no-untyped-def]
    """Whether a subsequence of `needed` characters is common."""
    state = np.empty(words, np.uint64)
    state[:] = _ALL
    before, after = other_length - needed, length - needed
    for row in range(other_length):
        low, high = max(0, (row - before) >> 6), min(words, ((row + after) >> 6) + 1)
        carry = np.uint64(0)
        mask = masks[data[np.uint64(start + row)]]
        for word in range(np.uint64(low), np.uint64(high)):  # numba checks signed ones for < 0
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
def _zeros(state, words):  # type: ignore[no-untyped-def]
    zeros = 0
    for word in range(words):
        zeros += bits_in(~state[word])
    return zeros


@_compiled
def bits_in(value):  # type: ignore[no-untyped-def]
    """How many bits are set: LLVM makes one instruction of this."""
    value = value - ((value >> _ONE) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))
