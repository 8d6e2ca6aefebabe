"""Converts plain Python values to JSON and back, for the arguments and results of confined functions.

Runs on both sides of the confinement, so it imports nothing but the standard library. Decoding builds plain values
only, whatever the other side sent.
"""

import json
from typing import Any

_PLAIN = (str, int, float, bool, type(None))


def dump_value(value: Any) -> str:
    """Return `value` as JSON. Raises TypeError if it is not plain, RecursionError if it contains itself."""
    return json.dumps(_tagged(value))


def load_value(text: str) -> Any:
    """Return the value of a text of `dump_value`. Raises ValueError for any other text."""
    try:
        return _untagged(json.loads(text))
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"not a value: {error!r}") from error


def _tagged(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return {"list": [_tagged(entry) for entry in value]}
    if isinstance(value, tuple):
        return {"tuple": [_tagged(entry) for entry in value]}
    if isinstance(value, set | frozenset):
        return {"set": [_tagged(entry) for entry in value]}
    if isinstance(value, dict):
        return {"dict": [[_tagged(key), _tagged(entry)] for key, entry in value.items()]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return _tagged(value.tolist())
    for plain in (bool, int, float, str):  # subclasses, such as the members of an enumeration of numbers
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"a {type(value).__name__} is no plain value")


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise ValueError("a list without its tag")
        return value
    ((tag, inner),) = value.items()
    if tag == "dict":
        return {_untagged(key): _untagged(entry) for key, entry in inner}
    if tag == "bytes":
        return bytes.fromhex(inner)
    if tag == "complex":
        return complex(*inner)
    kinds: dict[str, Any] = {"list": list, "tuple": tuple, "set": set}
    return kinds[tag](_untagged(entry) for entry in inner)
