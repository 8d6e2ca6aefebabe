"""The one hash table of the compiled loops: an array of 64-bit keys with open addressing, where 0 is an empty cell.

What belongs to a key stands at the number of its cell in arrays of the same size. Sizes are powers of two, larger than
the number of keys. Imported inside functions: numba takes a second to load.
"""

import numpy as np

from openthoughts_dagster.questions.matching.text_kernels import _ONE, _compiled


@_compiled
def cell_of(key, cells):  # type: ignore[no-untyped-def]
    """The cell of a key, or -1 when the table does not have it."""
    key = max(key, _ONE)
    mask = len(cells) - 1
    cell = np.int64(key) & mask
    while cells[cell] != 0:
        if cells[cell] == key:
            return cell
        cell = (cell + 1) & mask
    return -1


@_compiled
def insert(key, cells):  # type: ignore[no-untyped-def]
    """Put a key into the table unless it is there; returns its cell."""
    key = max(key, _ONE)
    mask = len(cells) - 1
    cell = np.int64(key) & mask
    while cells[cell] != 0 and cells[cell] != key:
        cell = (cell + 1) & mask
    cells[cell] = key
    return cell


@_compiled
def insert_all(keys, cells, places):  # type: ignore[no-untyped-def]
    """Put every key into the table; `places` (as large as `cells`, or empty) gets the position of each in `keys`."""
    for position in range(len(keys)):
        cell = insert(keys[position], cells)
        if len(places):
            places[cell] = position
