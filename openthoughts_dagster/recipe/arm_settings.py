"""The settings of a study's arms applied to the recipe's teacher and student, and what is wrong with them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from openthoughts_dagster.recipe.identity import identity_of
from openthoughts_dagster.recipe.models import Sampling, Student, Teacher
from openthoughts_dagster.recipe.presets import with_overrides
from openthoughts_dagster.recipe.studies import ArmSettings

if TYPE_CHECKING:
    from openthoughts_dagster.recipe.recipe import Recipe


_NOT_OF_AN_ARM = {
    "rows": "write rows beside student",
    "seed": "the study's seeds begin at the recipe's student.seed",
    "seeds": "write seeds of the study",
}


def teacher_of_arm(teacher: Teacher, settings: ArmSettings) -> Teacher:
    """Return the teacher with an arm's sampling. Raises ValidationError if the sampling is not valid."""
    if not settings.sampling:
        return teacher
    sampling = Sampling.model_validate(teacher.sampling.model_dump() | settings.sampling)
    return teacher.model_copy(update={"sampling": sampling})


def student_of_arm(student: Student, settings: ArmSettings) -> Student:
    """Return the student with an arm's settings. Raises ValidationError if they are not valid together."""
    raw: dict[str, Any] = student.model_dump(exclude_unset=True)
    over = dict(settings.student or {})
    merged = raw | over
    if isinstance(over.get("training"), Mapping):
        merged["training"] = with_overrides(student.settings(), over["training"])
        merged.pop("preset", None)
    if settings.epochs is not None:
        given = merged.get("training") or student.settings().model_dump()
        merged["training"] = {**given, "epochs": settings.epochs, "steps": None, "tokens": None}
        merged.pop("preset", None)
    return Student.model_validate(merged)


def shares_problem(sources: list[str], shares: Mapping[str, float]) -> str:
    """Return what is wrong with an arm's shares; an empty text if nothing is."""
    if set(shares) != set(sources):
        return f"names {', '.join(shares)}, and the arm's sources are {', '.join(sources)}: give each of them a share"
    if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) <= 0:
        return f"must be above 0 and sum to 1, got {sum(shares.values()):g}"
    return ""


def split_questions(
    sources: Sequence[str], shares: Mapping[str, float] | None, questions: int | None
) -> dict[str, int | None]:
    """Split an arm's questions over its sources, rounded by largest remainders; None means all of a source."""
    if questions is None:
        return dict.fromkeys(sources)
    exact = {source: (shares[source] if shares else 1 / len(sources)) * questions for source in sources}
    counts: dict[str, int | None] = {source: math.floor(value) for source, value in exact.items()}
    left = sorted(exact, key=lambda source: (math.floor(exact[source]) - exact[source], source))
    for source in left[: questions - sum(map(math.floor, exact.values()))]:
        counts[source] = math.floor(exact[source]) + 1
    return counts


def find_arm_problems(recipe: "Recipe") -> Iterator[str]:
    """Yield what is wrong with the arms of a recipe's studies, each with study, arm, setting and remedy.

    Settings of the teacher and the student are only valid together with the recipe's, so they are checked here and not
    with the study; otherwise a mistake would come out when the arms before it were paid for.
    """
    for study in recipe.studies:
        seen: dict[str, str] = {}
        for name, settings in study.variants().items():
            where = f"studies.{study.name}.{name}"
            yield from _problems(recipe, settings, where)
            same = seen.setdefault(_effective(recipe, settings), name)
            if same != name:
                yield f"{where}: is the same as arm {same!r}, with the base: change a setting of one, or remove it"


def _problems(recipe: "Recipe", settings: ArmSettings, where: str) -> Iterator[str]:
    teachers = {teacher.name: teacher for teacher in recipe.teachers}
    teacher = teachers.get(settings.teacher or recipe.teachers[0].name)
    try:
        if teacher is not None:  # otherwise its name is reported
            teacher_of_arm(teacher, settings)
    except ValidationError as error:
        yield f"{where}.sampling.{_describe(error)}"
    try:
        student_of_arm(recipe.student, settings)
    except ValidationError as error:
        yield f"{where}.student.{_describe(error)}"
    for name, remedy in _NOT_OF_AN_ARM.items():
        if name in (settings.student or {}):
            yield f"{where}.student.{name}: has no effect in an arm: {remedy}"
    if not isinstance(settings.sources, list | None):
        return
    sources = [source.name for source in recipe.sources] if settings.sources is None else settings.sources
    if not sources:
        yield f"{where}.sources: is empty, so that the arm has no questions: name a source, or leave it out for all"
    elif len(set(sources)) < len(sources):
        yield f"{where}.sources: names a source twice, got {', '.join(sources)}: name each once; shares say how much"
    elif settings.shares and (problem := shares_problem(sources, settings.shares)):
        yield f"{where}.shares: {problem}"


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"


def _effective(recipe: "Recipe", settings: ArmSettings) -> str:
    """Return the settings with the recipe's for those that they lack: two arms with equal ones ask the same."""
    fallback = {
        "sources": [source.name for source in recipe.sources],
        "teacher": recipe.teachers[0].name,
        "answers_per_question": recipe.answers_per_question,
        "answer_filter": identity_of(recipe.answer_filter),
    }
    return json.dumps(fallback | identity_of(settings), sort_keys=True, default=str)
