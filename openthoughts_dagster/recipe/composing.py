"""Composes a recipe from several files: lists include other files, and names stand for sources of the catalogue."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe.suggestions import did_you_mean

INCLUDE = "include"


class Composed:
    """The complete document of a recipe, and the file that each of its parts comes from."""

    def __init__(self, path: Path, document: dict[str, Any], read: Callable[[Path], Any]) -> None:
        self.problems: list[str] = []
        self._path, self._read = path, read
        self._files: dict[tuple[str, int], Path] = {}
        self._named: set[tuple[str, int]] = set()
        self.document = self._with_sources_named({key: self._included(key, value) for key, value in document.items()})

    def file(self, location: tuple[Any, ...]) -> Path:
        """Return the file that contains the setting at `location`."""
        return self._files.get(location[:2], self._path)

    def is_reference(self, location: tuple[Any, ...]) -> bool:
        """Return whether `location` is in a source that is only named; its problems are reported in the catalogue."""
        return location[:2] in self._named

    def _included(self, key: str, value: Any) -> Any:
        """Replace the entries `include: other.yaml` of a top-level list by the entries of those files."""
        if not isinstance(value, list):
            return value
        entries: list[Any] = []
        for number, entry in enumerate(value):
            if not (isinstance(entry, Mapping) and INCLUDE in entry):
                entries.append(entry)
                continue
            where, name = f"{key}.{number}.{INCLUDE}", entry[INCLUDE]
            if len(entry) > 1 or not isinstance(name, str):
                self.problems.append(f"{where}: an entry that includes a file is '- include: other.yaml' and no more")
                continue
            path = self._path.parent / name
            if not path.is_file():
                self.problems.append(f"{where}: no file at {path}; the path starts at the recipe's folder")
                continue
            found = self._read(path)
            if not isinstance(found, list):
                kind = "an empty file" if found is None else f"a {type(found).__name__}"
                self.problems.append(f"{where}: {path} has to be a list, each entry after '- ', got {kind}")
                continue
            for inner in found:
                self._files[key, len(entries)] = path
                entries.append(inner)
        return entries

    def _with_sources_named(self, document: dict[str, Any]) -> dict[str, Any]:
        """Replace names among the sources by the catalogue's blocks of these names."""
        sources, catalogue = document.get("sources"), document.get("catalogue")
        if not isinstance(sources, list):
            return document
        known = {
            entry["name"]: entry
            for entry in (catalogue if isinstance(catalogue, list) else [])
            if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
        }
        resolved: list[Any] = []
        for entry in sources:
            if not isinstance(entry, str):
                resolved.append(entry)
            elif entry in known:
                self._named.add(("sources", len(resolved)))
                resolved.append(known[entry])
            else:
                self.problems.append(f"sources: {_describe_unknown(entry, list(known))}")
        return document | {"sources": resolved}


def _describe_unknown(name: str, known: list[str]) -> str:
    if not known:
        return f"{name!r} is a name, and the recipe has no catalogue; write the source's settings here"
    hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
    return f"the catalogue has no source {name!r}; {hint}"
