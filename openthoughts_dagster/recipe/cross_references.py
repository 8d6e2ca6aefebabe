"""Checks that the names in a recipe refer to something; reads the raw document, to list all errors at once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from openthoughts_dagster.recipe.domains import nearly_equal
from openthoughts_dagster.recipe.release_references import release_problems
from openthoughts_dagster.recipe.study_references import filter_problems, study_problems
from openthoughts_dagster.recipe.suggestions import did_you_mean


def reference_problems(document: Mapping[str, Any]) -> list[str]:
    """List repeated names, and references to judges, scores and domains that do not exist.

    Pydantic runs a model's own validators only when all of its fields are valid, and a person who corrects a recipe
    wants to see all problems together. Values of a wrong type are skipped, because pydantic reports them.
    """
    sources, judges, scores = (_entries(document, key) for key in ("sources", "judges", "scores"))
    evaluation = document.get("evaluation")
    catalogue = _entries(document, "catalogue")
    described = set(_texts_of(catalogue, "name"))
    problems = [
        f"sources: {name!r} is in the catalogue as well; name it there, or rename one"
        for name in sorted({str(s.get("name")) for s in sources if s not in catalogue} & described)
    ]
    problems += [
        problem
        for kind, entries in {
            "sources": sources,
            "catalogue": catalogue,
            "teachers": _entries(document, "teachers"),
            "judges": judges,
            "scores": scores,
            "evaluation.benchmarks": _entries(evaluation, "benchmarks") if isinstance(evaluation, Mapping) else [],
            "teachers and evaluation.references": [*_references(document), *_entries(document, "teachers")],
        }.items()
        for problem in _find_repeated(kind, _texts_of(entries, "name"))
    ]
    problems += _reserved_references(document)
    for kind, entries in (("sources", [s for s in sources if s not in catalogue]), ("catalogue", catalogue)):
        for source in entries:
            for setting, block in (("judge", source), ("rewrite.judge", source.get("rewrite"))):
                judge = block.get("judge") if isinstance(block, Mapping) else None
                if isinstance(judge, str) and judge not in (names := _texts_of(judges, "name")):
                    where = f"{kind}.{source.get('name')}.{setting}"
                    problems.append(f"{where}: no judge is called {judge!r}; {_suggest(judge, names, 'judges')}")
    domains = set(_texts_of(sources, "domain"))
    for score in scores:
        where, names = f"scores.{score.get('name')}", _texts_of(judges, "name")
        if isinstance(judge := score.get("judge"), str) and judge not in names:
            problems.append(f"{where}.judge: no judge is called {judge!r}; {_suggest(judge, names, 'judges')}")
        for side in ("positives", "negatives"):
            examples = score.get(side)
            for source in _as_list(examples.get("sources")) if isinstance(examples, Mapping) else []:
                if source not in _texts_of(sources, "name"):
                    known = _texts_of(sources, "name")
                    remedy = _suggest(str(source), known, "sources")
                    problems.append(f"{where}.{side}.sources: no source is called {source!r}; {remedy}")
        for domain in _as_list(score.get("domains")):
            if domain not in domains:
                problems.append(
                    f"{where}.domains: no source has the domain {domain!r}; {_suggest(domain, domains, 'domains')}"
                )
    settings = document.get("domains")
    for domain, chosen in settings.items() if isinstance(settings, Mapping) else ():
        problems += _domain_problems(str(domain), chosen, domains, scores)
        problems += _sample_problems(str(domain), chosen, [*sources, *catalogue])
    problems += filter_problems("answer_filter", document.get("answer_filter"), document)
    return [*problems, *study_problems(document), *release_problems(document)]


def _references(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    evaluation = document.get("evaluation")
    return _entries(evaluation, "references") if isinstance(evaluation, Mapping) else []


def _reserved_references(document: Mapping[str, Any]) -> list[str]:
    """Find references that are called as the untrained student is among them."""
    return [
        f"evaluation.references: the name {name!r} is that of the student before training; choose another name"
        for name in _texts_of(_references(document), "name")
        if name == "untrained"
    ]


def _domain_problems(domain: str, settings: Any, domains: set[str], scores: list[Mapping[str, Any]]) -> list[str]:
    if domain not in domains:
        return [f"domains.{domain}: no source has this domain; {_suggest(domain, domains, 'domains')}"]
    selection = settings.get("selection") if isinstance(settings, Mapping) else None
    by, within = (selection.get(name) if isinstance(selection, Mapping) else None for name in ("by", "within"))
    given = [score for score in scores if score.get("domains") is None or domain in _as_list(score.get("domains"))]
    names = _texts_of(given, "name")
    used = {"by": [by], "within": list(within) if isinstance(within, Mapping) else []}
    return [
        f"domains.{domain}.selection.{setting}: questions of this domain have no score {name!r}; "
        f"{_suggest(name, names, 'scores')}"
        for setting, values in used.items()
        for name in values
        if isinstance(name, str) and name not in names
    ]


def _sample_problems(domain: str, settings: Any, sources: list[Mapping[str, Any]]) -> Iterator[str]:
    """Find sizes in `downsample` that no source would get: of a source of another domain, or of a mistyped one.

    Other unknown names may be those of sources that land.
    """
    sizes = settings.get("downsample") if isinstance(settings, Mapping) else None
    sizes = sizes if isinstance(sizes, Mapping) else {}
    domains = {str(source.get("name")): source.get("domain") for source in sources}
    own = [name for name, its in domains.items() if its == domain]
    for name in sizes:
        where = f"domains.{domain}.downsample.{name}"
        if name in domains and name not in own:
            yield f"{where}: the domain of this source is {domains[name]}; move its size there"
        elif name not in domains and (
            meant := [other for other in own if other not in sizes and nearly_equal(str(name), other)]
        ):
            yield f"{where}: no source has this name; did you mean {meant[0]!r}?"


def _suggest(name: str, known: Iterable[str], kind: str) -> str:
    names = sorted(set(known))
    if hint := did_you_mean(name, names):
        return f"{hint} There are {', '.join(names)}"
    return f"there are {', '.join(names)}: use one of them, or add it" if names else f"the recipe has no {kind}: add it"


def _find_repeated(kind: str, names: list[str]) -> list[str]:
    return [
        f"{kind}: the name {name!r} is given {names.count(name)} times; names are keys, so rename all but one"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def _entries(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [entry for entry in _as_list(document.get(key)) if isinstance(entry, Mapping)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts_of(entries: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    return [value for entry in entries if isinstance(value := entry.get(key), str)]
