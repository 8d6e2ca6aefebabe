"""Which settings decide a result and are therefore part of keys, fingerprints and the names of staged rows."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel


class Identity(Enum):
    """How a field counts in `identity_of`; its annotation says it: `price: Annotated[Price, Identity.NEVER]`."""

    NEVER = "never"
    """Prices, hardware, speed: the result is the same whatever it is."""
    UNLESS_DEFAULT = "unless_default"
    """Added after results were paid for: at its default it is what they were made with, and is left out."""


def identity_of(settings: BaseModel) -> dict[str, Any]:
    """Return the part of `settings` that decides a result, as plain values to hash.

    Completion keys, student fingerprints and staged shards are all made from it, so that a new setting, a new price or
    another machine does not ask a model or train a student again. A field is left out when it is None, when its
    annotation says `Identity.NEVER`, and when it says `Identity.UNLESS_DEFAULT` and has its default.

    Args:
        settings: A model of the recipe; models inside it, also in lists and mappings, follow the same rule.

    Returns:
        Field names and values. They are JSON-like, except for types that the hash converts to text.
    """
    return {
        name: _to_plain_value(value)
        for name in type(settings).model_fields
        if (value := getattr(settings, name)) is not None and _is_counted(settings, name, value)
    }


def _is_counted(settings: BaseModel, name: str, value: Any) -> bool:
    field = type(settings).model_fields[name]
    if Identity.NEVER in field.metadata:
        return False
    return Identity.UNLESS_DEFAULT not in field.metadata or value != field.get_default(call_default_factory=True)


def _to_plain_value(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity_of(value)
    if isinstance(value, Mapping):
        return {key: _to_plain_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain_value(inner) for inner in value]
    return value
