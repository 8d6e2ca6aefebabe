"""Checks that the names in a recipe's release refer to something; reads the raw document, as cross_references does."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe.models import Student
from openthoughts_dagster.recipe.release import CARD_FIELDS, fields_of_card
from openthoughts_dagster.recipe.suggestions import did_you_mean


def release_problems(document: Mapping[str, Any]) -> list[str]:
    """List references of the release to sources and domains that do not exist or contradict each other.

    Args:
        document: The raw document. Values of a wrong type are skipped, because pydantic reports them.

    Returns:
        One line for each problem, with the setting and the remedy.
    """
    release = document.get("release")
    return list(_find_problems(release, document)) if isinstance(release, Mapping) else []


def card_problems(document: Mapping[str, Any], folder: Path) -> list[str]:
    """List what is wrong with the release's card template: no such file, or a field that nothing is put in for.

    Args:
        document: The raw document.
        folder: The recipe's folder, at which the template's path starts.
    """
    release = document.get("release")
    name = release.get("card") if isinstance(release, Mapping) else None
    if not isinstance(name, str):
        return []
    try:
        template = (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [f"release.card: {folder / name} cannot be read: {error}; the path starts at the recipe's folder"]
    return [
        f"release.card: {name} has the field {{{field}}}, which nothing is put in for; {_suggest(field, CARD_FIELDS)}. "
        f"Write {{{{{field}}}}} for braces that stay"
        for field in fields_of_card(template)
        if field not in CARD_FIELDS
    ]


def _find_problems(release: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    domains = {
        str(entry["name"]): str(entry.get("domain"))
        for entry in _as_list(document.get("sources"))
        if isinstance(entry, Mapping) and "name" in entry
    }
    named = release.get("sources")
    if isinstance(named, Mapping):
        wanted = _as_list(named.get("domains"))
        chosen = [name for name, domain in domains.items() if domain in (wanted or domains.values())]
        for domain in wanted:
            if domain not in domains.values():
                known = _suggest(domain, domains.values())
                yield f"release.sources.domains: no source has the domain {domain!r}; {known}"
    else:
        chosen = [name for name in _as_list(named) if isinstance(name, str)]
        for name in dict.fromkeys(chosen):
            if name not in domains:
                yield f"release.sources: the recipe has no source {name!r}; {_suggest(name, domains)}"
            if chosen.count(name) > 1:
                yield f"release.sources: {name!r} is named {chosen.count(name)} times; name it once"
        if named == []:
            yield "release.sources: needs at least one source; name one, or write `best: n`"
    yield from _size_problems(release.get("sizes"), chosen, domains)
    dedup = release.get("dedup")
    if isinstance(dedup, Mapping) and dedup.get("against"):
        yield "release.dedup.against: is written as release.against"
    student = release.get("student")
    for setting in student if isinstance(student, Mapping) else ():
        if setting not in Student.model_fields:
            yield f"release.student.{setting}: is not a setting of a student; {_suggest(setting, Student.model_fields)}"
    gates = release.get("gates")
    for waiver in _as_list(gates.get("waive")) if isinstance(gates, Mapping) else ():
        source = waiver.get("source") if isinstance(waiver, Mapping) else None
        if isinstance(source, str) and source not in chosen:
            yield f"release.gates.waive: {source!r} is no source of the release; {_suggest(source, chosen)}"


def _size_problems(sizes: Any, chosen: list[str], domains: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(sizes, Mapping):
        return
    own = {domains[name] for name in chosen if name in domains}
    for name in map(str, sizes):
        if name in domains and name in own:
            yield f"release.sizes.{name}: is a source as well as a domain; rename one of them in the recipe"
        elif name in domains and name not in chosen:
            yield f"release.sizes.{name}: is no source of the release; add it to release.sources, or remove this size"
        elif name not in domains and name not in own:
            yield (
                f"release.sizes.{name}: is neither a source of the release nor a domain of one; "
                f"{_suggest(name, [*own, *chosen])}"
            )
        elif name in domains and domains[name] in map(str, sizes):
            yield (
                f"release.sizes: {name!r} has a size, and so has its domain {domains[name]!r}: remove one, or give "
                "every source of the domain a size"
            )


def _suggest(name: Any, known: Iterable[str]) -> str:
    names = sorted(set(known))
    hint = did_you_mean(str(name), names)
    return f"{hint} There are {', '.join(names)}" if hint else f"there are {', '.join(names) or 'none'}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
