"""Checks that the names in a recipe's studies refer to something; reads the raw document, as cross_references does."""

from collections.abc import Iterator, Mapping
from typing import Any

_SUMMARY_METRICS = ("mean", "z_mean")
_CHECK = {"entry_point", "test"}  # a test as HumanEval has it; its prompt may be the question


def study_problems(document: Mapping[str, Any]) -> list[str]:
    """List references of studies to sources, teachers, benchmarks and scores that do not exist.

    Args:
        document: The raw document. Values of a wrong type are skipped, because pydantic reports them.

    Returns:
        One line for each problem, with study, arm, setting and remedy.
    """
    studies = [study for study in _as_list(document.get("studies")) if isinstance(study, Mapping)]
    names = [str(study.get("name")) for study in studies]
    repeated = sorted({name for name in names if names.count(name) > 1})
    problems = [
        f"studies: the name {name!r} is given {names.count(name)} times; rename all but one" for name in repeated
    ]
    for study in studies:
        problems += _metric_problems(study, document)
        asked = _get_field(study.get("base"), "sources")
        for where, settings in _settings(study):
            problems += _arm_problems(where, settings, document, asked)
    return problems


def _settings(study: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the location and the settings of the base, of every arm, and of every value of a grid."""
    where = f"studies.{study.get('name')}"
    if isinstance(base := study.get("base"), Mapping):
        yield f"{where}.base", base
    arms = study.get("arms")
    for name, settings in arms.items() if isinstance(arms, Mapping) else ():
        if isinstance(settings, Mapping):
            yield f"{where}.arms.{name}", settings
    grid = study.get("grid")
    for name, values in grid.items() if isinstance(grid, Mapping) else ():
        for value in _as_list(values):
            yield f"{where}.grid", {str(name): value}


def _arm_problems(where: str, settings: Mapping[str, Any], document: Mapping[str, Any], of_base: Any) -> Iterator[str]:
    known = {
        "sources": [
            *_names_of(document, "sources"),
            *(s for s in _as_list(document.get("sources")) if isinstance(s, str)),
        ],
        "teacher": _names_of(document, "teachers"),
        "selection.by": _names_of(document, "scores"),
        "selection.within": _names_of(document, "scores"),
    }
    within = _get_field(settings.get("selection"), "within")
    used = {
        "sources": _as_list(settings.get("sources")),
        "teacher": [settings.get("teacher")],
        "selection.by": [_get_field(settings.get("selection"), "by")],
        "selection.within": list(within) if isinstance(within, Mapping) else [],
    }
    asked = settings.get("sources", of_base)
    yield from filter_problems(f"{where}.answer_filter", settings.get("answer_filter"), document, asked)
    for setting, values in used.items():
        for value in values:
            if isinstance(value, str) and value not in known[setting]:
                there = ", ".join(known[setting]) or "none"
                yield f"{where}.{setting}: the recipe has no {value!r}; there are {there}"


def filter_problems(where: str, settings: Any, document: Mapping[str, Any], asked: Any = None) -> Iterator[str]:
    """Find judges and tests that an answer filter, or the one that it is the control of, needs and does not have.

    Args:
        where: The location of the filter in the recipe.
        settings: The filter.
        document: The raw document.
        asked: Names of the sources whose answers are filtered; all when it is no list.
    """
    judge, judges = _get_field(settings, "judge"), _names_of(document, "judges")
    if isinstance(judge, str) and judge not in judges:
        yield f"{where}.judge: no judge is called {judge!r}; there are {', '.join(judges) or 'none'}"
    if _get_field(settings, "match") == "tests":
        entries = [entry for entry in _as_list(document.get("sources")) if isinstance(entry, Mapping)]
        filtered = [entry for entry in entries if not isinstance(asked, list) or entry.get("name") in asked]
        if filtered and not any(map(_may_have_tests, filtered)):
            names = ", ".join(str(entry.get("name")) for entry in filtered)
            yield (
                f"{where}.match: tests needs tests beside the questions, and {names} can have none: map columns.answer "
                "or columns.metadata of a source to its tests, or use another match"
            )
    if (other := _get_field(settings, "as_many_as")) is not None:
        yield from filter_problems(f"{where}.as_many_as", other, document, asked)


def _may_have_tests(source: Mapping[str, Any]) -> bool:
    """Whether a source's reference answers or metadata may have tests; only its rows can tell for sure."""
    if source.get("reader") in ("pdf", "procedural", "stack_exchange"):
        return False
    columns = source.get("columns")
    metadata = _get_field(columns, "metadata")
    kept = set(map(str, metadata)) if isinstance(metadata, list) else None
    return kept is None or _get_field(columns, "answer") is not None or "tests" in kept or kept >= _CHECK


def _metric_problems(study: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    metric, where = study.get("metric", "mean"), f"studies.{study.get('name')}.metric"
    benchmarks = _as_list(_get_field(document.get("evaluation"), "benchmarks"))
    roles = {str(_get_field(entry, "name")): _get_field(entry, "role") or "dev" for entry in benchmarks}
    if not isinstance(metric, str) or metric in _SUMMARY_METRICS:
        return
    if metric not in roles:
        yield f"{where}: no benchmark is called {metric!r}; there are {', '.join([*roles, *_SUMMARY_METRICS])}"
    elif roles[metric] == "held_out":
        dev = ", ".join(name for name, role in roles.items() if role == "dev") or "none"
        yield (
            f"{where}: {metric} has role held_out, and what decides a study is no longer held out; take a benchmark of "
            f"role dev: {dev}"
        )


def _names_of(document: Mapping[str, Any], key: str) -> list[str]:
    return [
        str(entry["name"]) for entry in _as_list(document.get(key)) if isinstance(entry, Mapping) and "name" in entry
    ]


def _get_field(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
