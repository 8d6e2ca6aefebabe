"""JSON values whose numbers keep the text that they were written with, so that an answer of 12.50 is not 12.5."""

import json
import re
from collections.abc import Mapping
from typing import Any

from openthoughts_dagster.generation.json_replies import make_object

_MARK = re.compile(r'"\\u0000number (\d+)\\u0000"')


class WrittenNumber(float):
    """A number of a JSON text. It compares and calculates as a float, and knows the text that it was written with."""

    text: str

    def __new__(cls, text: str) -> "WrittenNumber":
        """Make the number that `text` writes."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def parse_json(text: str) -> Any:
    """Parse a JSON text. Numbers with a decimal point or an exponent are `WrittenNumber`; integers keep all digits.

    Raises:
        ValueError: The text is no JSON, or an object gives one name two different values.
    """
    return json.loads(text, parse_float=WrittenNumber, object_pairs_hook=make_object)


def short_float_columns(types: Mapping[str, str]) -> dict[str, type]:
    """Find the columns of 16-bit and 32-bit numbers, whose types Arrow and the library `datasets` call as here.

    Args:
        types: The type of each column.

    Returns:
        The numpy type of each column that has such numbers.
    """
    import numpy as np

    short = {"halffloat": np.float16, "float16": np.float16, "float": np.float32, "float32": np.float32}
    return {name: short[type_] for name, type_ in types.items() if type_ in short}


def write_short_floats(values: dict[str, Any], short: Mapping[str, type]) -> dict[str, Any]:
    """Write the numbers of `short_float_columns` with the digits that they have: 0.1 and not 0.10000000149011612."""
    given = {name: cut for name, cut in short.items() if values[name] is not None}
    return values | {name: WrittenNumber(str(cut(values[name]))) for name, cut in given.items()} if given else values


def mark_numbers(value: Any, numbers: list[str]) -> Any:
    """Replace each `WrittenNumber` in lists and objects by a mark, and add its text to `numbers`."""
    if isinstance(value, WrittenNumber) and value.text != repr(float(value)):
        numbers.append(value.text)
        return f"\0number {len(numbers) - 1}\0"
    if isinstance(value, dict):
        return {name: mark_numbers(inner, numbers) for name, inner in value.items()}
    return [mark_numbers(inner, numbers) for inner in value] if isinstance(value, list) else value


def unmark_numbers(text: str, numbers: list[str]) -> str:
    """Write the texts of numbers in the places of their marks into a JSON text."""
    return _MARK.sub(lambda mark: numbers[int(mark[1])], text) if numbers else text
