"""The variables of places that a recipe refers to, such as ${OPENTHOUGHTS_FILES}, and the way back to their names."""

from collections.abc import Mapping
from typing import Any

# Files come before data: where several machines share files, they may lie in the data of one of them.
PLACES = tuple(f"OPENTHOUGHTS_{name}" for name in ("FILES", "DATA", "LAKE", "DATASETS", "LANDING"))


def restore_variables(value: Any, places: Mapping[str, str]) -> Any:
    """Return settings with variables in place of folders and addresses, so that they are equal wherever the data lie.

    Args:
        value: Settings as plain values: mappings, lists and texts.
        places: Names of variables and the addresses that the recipe's text had in their places. Where addresses
            overlap, the longest is taken, and the first of equal ones.

    Returns:
        The settings; a text that begins with an address begins with the name of its variable instead.
    """
    if isinstance(value, Mapping):
        return {key: restore_variables(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [restore_variables(inner, places) for inner in value]
    if isinstance(value, str):
        for name, place in sorted(places.items(), key=lambda item: -len(item[1])):
            if place and (value == place or value.startswith(f"{place}/")):
                return f"${{{name}}}{value[len(place) :]}"
    return value
