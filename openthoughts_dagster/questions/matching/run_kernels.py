"""Compiled loops over runs of tokens that texts have in common. Imported inside functions, as text_kernels is.

A run begins at a token and is as long as it needs to be to have the weight that is asked for, so that two texts with
the same tokens have the same runs, whatever the weights of their tokens.
"""

import numpy as np

from openthoughts_dagster.questions.matching.hash_table import cell_of
from openthoughts_dagster.questions.matching.text_kernels import _MIX, _compiled, mixed

_BASE = np.uint64(0x5851F42D4C957F2D)
_INVERSE = np.uint64(pow(0x5851F42D4C957F2D, -1, 1 << 64))
_CONTEXT = 8  # tokens beside a run that say whether it stands beside different questions
_DIFFERENT = 14
_END = np.uint64(0x9FB21C651E98DF25)


@_compiled
def runs_of(values, weights, first, last, wanted, hashes, run_ends):  # type: ignore[no-untyped-def]
    """Hashes of the runs that begin at tokens first, first + 1, ... and where each ends; returns how many."""
    run, power = np.uint64(0), _INVERSE  # the base to the power of one less than the length
    weight, end, found = 0, first, 0
    for begin in range(first, last):
        while weight < wanted and end < last:
            run = run * _BASE + mixed(values[end])
            power *= _BASE
            weight += weights[end]
            end += 1
        if weight < wanted:
            break
        hashes[found], run_ends[found] = mixed(run ^ (np.uint64(end - begin) * _MIX)), end
        found += 1
        run -= power * mixed(values[begin])
        power *= _INVERSE
        weight -= weights[begin]
    return found


@_compiled
def all_runs(values, weights, offsets, wanted, owners, begins, run_ends, hashes):  # type: ignore[no-untyped-def]
    """The runs of all texts: the text and the tokens of each; returns how many."""
    found = 0
    for text in range(len(offsets) - 1):
        first = offsets[text]
        more = runs_of(values, weights, first, offsets[text + 1], wanted, hashes[found:], run_ends[found:])
        for at in range(found, found + more):
            owners[at], begins[at] = text, first + at - found
        found += more
    return found


@_compiled
def says_something(values, data, starts, ends, begins, run_ends, out):  # type: ignore[no-untyped-def]
    """Which runs have different tokens, half of them or seven, and are more than counting on."""
    for run in range(len(begins)):
        first, last = begins[run], run_ends[run]
        different = 0
        for one in range(first, last):
            new = True
            for other in range(first, one):
                new &= values[other] != values[one]
            different += int(new)
        counting = last - first > 2
        before, step = np.int64(0), np.int64(0)
        for token in range(first, last):
            if not counting:
                break
            number = np.int64(0)
            for at in range(starts[token], ends[token]):
                if data[at] < 48 or data[at] > 57 or ends[token] - starts[token] > 9:
                    counting = False
                number = number * 10 + np.int64(data[at]) - 48
            if token > first + 1 and number - before != step:
                counting = False
            step, before = number - before, number
        out[run] = 2 * different >= min(last - first, _DIFFERENT) and not counting


@_compiled
def _context(values, at, limit, step):  # type: ignore[no-untyped-def]
    """A hash of the next tokens from `at` on, to the right or to the left, as far as `limit`."""
    hashed = _END
    for _ in range(_CONTEXT):
        if at == limit:
            break
        hashed = mixed(hashed ^ values[at])
        at += step
    return hashed


@_compiled
def contexts(  # type: ignore[no-untyped-def]
    values, weights, offsets, wanted, cells, places, owners, begins, known_values, known_offsets, sides, beside, counts
):
    """What stands beside the runs of the table in the texts, as far as the benchmark's question goes on there too.

    What a text and the question have in common is followed to its two ends. Where the question goes on, the tokens of
    the text that stand there instead are a context: many contexts make an instruction, and a question that is repeated
    as a whole has none. `sides` is 2 * place of the run, plus 1 on the right, and `beside` the context. Returns how
    many there are; those that do not fit are only counted. `counts` says in how many of the texts each run occurs.
    """
    room = 1
    for text in range(len(offsets) - 1):
        room = max(room, offsets[text + 1] - offsets[text])
    hashes, run_ends = np.empty(room, np.uint64), np.empty(room, np.int64)
    seen = np.full(len(counts), -1, np.int64)
    counts[:] = 0
    found = 0
    for text in range(len(offsets) - 1):
        first, last = offsets[text], offsets[text + 1]
        number = runs_of(values, weights, first, last, wanted, hashes, run_ends)
        at = 0
        while at < number:
            cell = cell_of(hashes[at], cells)
            if cell < 0:
                at += 1
                continue
            place = places[cell]
            question_first, question_last = known_offsets[owners[place]], known_offsets[owners[place] + 1]
            left, known_left = first + at, begins[place]
            while left > first and known_left > question_first and values[left - 1] == known_values[known_left - 1]:
                left -= 1
                known_left -= 1
            right, known_right = first + at, begins[place]
            while right < last and known_right < question_last and values[right] == known_values[known_right]:
                right += 1
                known_right += 1
            right = max(right, run_ends[at])  # equal hashes of different tokens: never seen
            on_left = _context(values, left - 1, first - 1, -1)
            on_right = _context(values, right, last, 1)
            while at < number and run_ends[at] <= right:
                cell = cell_of(hashes[at], cells)
                if cell >= 0:
                    if seen[places[cell]] != text:
                        seen[places[cell]] = text
                        counts[places[cell]] += 1
                    if known_left > question_first:
                        if found < len(sides):
                            sides[found], beside[found] = 2 * places[cell], on_left
                        found += 1
                    if known_right < question_last:
                        if found < len(sides):
                            sides[found], beside[found] = 2 * places[cell] + 1, on_right
                        found += 1
                at += 1
    return found


@_compiled
def cover(values, weights, offsets, wanted, cells, covered):  # type: ignore[no-untyped-def]
    """Mark the tokens that stand in a run of the table; returns how many."""
    room = 1
    for text in range(len(offsets) - 1):
        room = max(room, offsets[text + 1] - offsets[text])
    hashes, run_ends = np.empty(room, np.uint64), np.empty(room, np.int64)
    marked = 0
    for text in range(len(offsets) - 1):
        until = offsets[text]
        for at in range(runs_of(values, weights, offsets[text], offsets[text + 1], wanted, hashes, run_ends)):
            if cell_of(hashes[at], cells) >= 0:
                for token in range(max(until, offsets[text] + at), run_ends[at]):
                    covered[token] = True
                    marked += 1
                until = run_ends[at]
    return marked


@_compiled
def find_runs(values, weights, offsets, wanted, cells, places, covered, found):  # type: ignore[no-untyped-def]
    """For each text the first run of the table that leaks: its place, and its tokens; -1 where there is none.

    A run of which more than half the tokens are `covered`, part of an instruction, is no leak.
    """
    room = 1
    for text in range(len(offsets) - 1):
        room = max(room, offsets[text + 1] - offsets[text])
    hashes, run_ends = np.empty(room, np.uint64), np.empty(room, np.int64)
    for text in range(len(offsets) - 1):
        found[text, 0] = -1
        first = offsets[text]
        for at in range(runs_of(values, weights, first, offsets[text + 1], wanted, hashes, run_ends)):
            cell = cell_of(hashes[at], cells)
            if cell < 0:
                continue
            told = 0
            for token in range(first + at, run_ends[at]):
                told += int(covered[token])
            if 2 * told <= run_ends[at] - first - at:
                found[text, 0], found[text, 1], found[text, 2] = places[cell], first + at, run_ends[at]
                break


@_compiled
def find_whole(  # type: ignore[no-untyped-def]
    values,
    weights,
    bounds,
    offsets,
    wanted,
    cells,
    places,
    following,
    owners,
    known_values,
    known_offsets,
    covered,
    found,
):
    """For each text the first short question that it has as a whole, between signs or ends: its place and its tokens.

    The table has the first run of each short question; `following` is the next place with the same run, or -1.
    """
    room = 1
    for text in range(len(offsets) - 1):
        room = max(room, offsets[text + 1] - offsets[text])
    hashes, run_ends = np.empty(room, np.uint64), np.empty(room, np.int64)
    for text in range(len(offsets) - 1):
        found[text, 0] = -1
        first, last = offsets[text], offsets[text + 1]
        for at in range(runs_of(values, weights, first, last, wanted, hashes, run_ends)):
            begin = first + at
            cell = cell_of(hashes[at], cells) if (bounds[begin] & 1) != 0 else -1
            place = places[cell] if cell >= 0 else -1
            while place >= 0 and found[text, 0] < 0:
                start = known_offsets[owners[place]]
                size = known_offsets[owners[place] + 1] - start
                same = begin + size <= last and (bounds[begin + size - 1] & 2) != 0
                told = 0
                for token in range(size if same else 0):
                    same &= values[begin + token] == known_values[start + token]
                    told += int(covered[begin + token])
                if same and 2 * told <= size:
                    found[text, 0], found[text, 1], found[text, 2] = place, begin, begin + size
                place = following[place]
            if found[text, 0] >= 0:
                break
