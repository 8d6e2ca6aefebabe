"""Checks that the names in a recipe's studies refer to something; reads the raw document, as cross_references does."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openthoughts_dagster.recipe.studies import MOST_STUDENTS
from openthoughts_dagster.recipe.suggestions import did_you_mean

_SUMMARY_METRICS = ("mean", "z_mean")
_ADD_TO = {
    "sources": "add it to sources (again, if it was retired)",
    "teacher": "add it to teachers",
    "selection.by": "add it to scores",
    "selection.within": "add it to scores",
}
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
        problems += _size_problems(study, document)
        problems += _currency_problems(study, document)
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
    described = _names_of(document, "catalogue")
    for setting, values in used.items():
        for value in values:
            if isinstance(value, str) and value not in known[setting]:
                there = ", ".join(dict.fromkeys(known[setting]))
                retired = setting == "sources" and value in described
                state = f"{value!r} is only in the catalogue" if retired else f"the recipe has no {value!r}"
                state += " (every arm takes it from the base)" if where.endswith(".base") else ""
                hint = "" if retired else did_you_mean(value, known[setting])
                remedy = f"name another of {there}, or {_ADD_TO[setting]}" if there else _ADD_TO[setting]
                yield f"{where}.{setting}: {state}; {f'{hint} Otherwise ' if hint else ''}{remedy}"


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


def _size_problems(study: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    """Refuse a study of too many students, with what it would ask of its teachers at most."""
    grid, arms, seeds = study.get("grid"), study.get("arms"), study.get("seeds", 3)
    if not isinstance(seeds, int) or isinstance(seeds, bool):
        return
    if isinstance(arms, Mapping) and arms:
        declared, count, asked = "arms", len(arms), [_asked_of(arm, study, document) for arm in arms.values()]
    elif isinstance(grid, Mapping) and grid and all(isinstance(values, list) and values for values in grid.values()):
        # Not its arms one by one, of which there may be millions: each value is in equally many of them.
        declared, count = "grid", math.prod(map(len, grid.values()))
        asked = [_asked_of_grid(grid, count, teacher, study, document) for teacher in grid.get("teacher", [None])]
    else:
        return
    if count * seeds <= MOST_STUDENTS:
        return
    known = [completions for completions, _ in asked if completions is not None]
    total = sum(known) if len(known) == len(asked) else None
    shown = "an unknown number of completions" if total is None else f"{total:,.0f} completions at most"
    yield (
        f"studies.{study.get('name')}.{declared}: makes {count:,} arms, with {seeds:,} seeds {count * seeds:,} "
        f"students; at most {MOST_STUDENTS} are trained for one study. It would ask for {shown}, "
        f"{_price_of(asked, document)}. Take fewer {'values' if declared == 'grid' else 'arms'} or seeds, or split it "
        "into several studies"
    )


def _asked_of(arm: Any, study: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the completions of one arm, None if they are not known, and the name of its teacher."""
    base = study.get("base")
    questions, answers, teacher = (
        _get_field(arm, name) or _get_field(base, name) for name in ("questions", "answers_per_question", "teacher")
    )
    answers = answers or document.get("answers_per_question", 16)
    known = isinstance(questions, int) and isinstance(answers, int)
    return questions * answers if known else None, str(teacher or next(iter(_names_of(document, "teachers")), ""))


def _asked_of_grid(
    grid: Mapping[str, Any], arms: int, teacher: Any, study: Mapping[str, Any], document: Mapping[str, Any]
) -> tuple[float | None, str]:
    """Return the completions of all arms of a grid that one teacher answers, and its name."""
    _, name = _asked_of({"teacher": teacher}, study, document)
    means = []
    for setting, fallback in (("questions", None), ("answers_per_question", document.get("answers_per_question", 16))):
        values = grid.get(setting) or [_get_field(study.get("base"), setting) or fallback]
        if not all(isinstance(value, int) for value in values):
            return None, name
        means.append(sum(values) / len(values))
    return math.prod(means) * arms / len(grid.get("teacher", [None])), name


def _price_of(asked: Sequence[tuple[float | None, str]], document: Mapping[str, Any]) -> str:
    """Say what completions cost by the prices of their teachers and the tokens that the recipe expects."""
    teachers = {str(_get_field(entry, "name")): entry for entry in _as_list(document.get("teachers"))}
    sums: dict[str, float] = {}
    for completions, name in asked:
        price = _get_field(teachers.get(name), "price")
        each = _get_field(price, "completion_million")
        tokens = _get_field(_get_field(teachers.get(name), "expected"), "completion_tokens")
        if completions is None or not isinstance(each, int | float) or not isinstance(tokens, int):
            return "at an unknown price"
        currency = str(_get_field(price, "currency") or "USD")
        sums[currency] = sums.get(currency, 0.0) + completions * tokens / 1e6 * each
    names = ", ".join(dict.fromkeys(name for _, name in asked))
    shown = " and ".join(f"{money:,.2f} {currency}" for currency, money in sorted(sums.items()))
    return f"about {shown} for the tokens of {names}'s answers"


def _currency_problems(study: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    """Refuse a limit of money for teachers whose prices cannot be added up."""
    if study.get("price_limit") is None:
        return
    teachers = {str(_get_field(entry, "name")): entry for entry in _as_list(document.get("teachers"))}
    default = _get_field(study.get("base"), "teacher") or next(iter(teachers), None)
    arms, grid = study.get("arms"), _as_list(_get_field(study.get("grid"), "teacher"))
    own = [_get_field(arm, "teacher") or default for arm in arms.values()] if isinstance(arms, Mapping) else []
    prices = {name: _get_field(teachers.get(name), "price") for name in map(str, own or grid or [default])}
    currencies = {name: price.get("currency") or "USD" for name, price in prices.items() if isinstance(price, Mapping)}
    if len(set(currencies.values())) > 1:
        shown = ", ".join(f"{name} in {currency}" for name, currency in sorted(currencies.items()))
        yield (
            f"studies.{study.get('name')}.price_limit: the prices of its teachers are in several currencies ({shown}); "
            "give them in one"
        )


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
