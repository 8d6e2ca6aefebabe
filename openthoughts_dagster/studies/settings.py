"""The settings that decide which questions and answers an arm has, and whether the lake's rows were made with them."""

from collections.abc import Iterable, Mapping
from typing import Any

from openthoughts_dagster.lake import ARM_ANSWERS, DEDUPED_QUESTIONS, Lake, other_settings
from openthoughts_dagster.landing.versions import definition_of
from openthoughts_dagster.recipe import AnswerFilter, DomainQuestions, Recipe, identity_of
from openthoughts_dagster.recipe.answers import LikelyAnswers, RandomAnswers
from openthoughts_dagster.recipe.arm_settings import student_of_arm, teacher_of_arm
from openthoughts_dagster.recipe.studies import ArmSettings, BestSources
from openthoughts_dagster.studies.arms import Arm, StudyError

_OF_SCORING = ("role", "repeats", "items", "match", "prompt", "size", "seconds", "memory_megabytes")


def deciding_settings(recipe: Recipe, settings: ArmSettings) -> dict[str, Any]:
    """Return every setting that decides the students of an arm, whether the arm or the recipe has it."""
    chosen = settings.sources
    names: list[str] | None = None
    if isinstance(chosen, BestSources):
        domains = chosen.domains or sorted(recipe.domains)
        sources: Any = identity_of(chosen)
    else:
        names = [source.name for source in recipe.sources] if chosen is None else chosen
        sources = {name: definition_of(recipe.source(name)) for name in names}
        domains = sorted({recipe.source(name).domain for name in names})
    student = identity_of(student_of_arm(recipe.student, settings))
    asked = {name: _questions_of(recipe.domain(name), settings, names) for name in domains}
    return {
        "seed": recipe.seed,
        "sources": sources,
        "shares": settings.shares,
        "questions": settings.questions,
        "domains": asked,
        "scores": _scores(recipe, asked.values()),
        "decontamination": identity_of(recipe.decontamination),
        "teacher": _teacher(recipe, settings),
        "answers_per_question": settings.answers_per_question or recipe.answers_per_question,
        "answer_filter": identity_of(settings.answer_filter or recipe.answer_filter),
        "student": student | {"rows": settings.rows},  # the recipe's own rows are those of cells
    }


def question_settings(recipe: Recipe, source: str) -> dict[str, Any]:
    """Return the settings that decide which questions of a source are in `deduped_questions`."""
    domain = recipe.domain(recipe.source(source).domain)
    return _with_variables(recipe, _questions_of(domain, ArmSettings(), [source]) | _without_leaks(recipe))


def arm_settings(recipe: Recipe, arm: Arm) -> dict[str, Any]:
    """Return the settings that decide which questions and answers an arm has; those of its students are no part."""
    domains = {name: recipe.domain(recipe.source(name).domain) for name in arm.sources}
    compared = {"student": identity_of(arm.student)["model"]} if _reads_student(arm.keep) else {}
    settings = {
        "seed": recipe.seed,
        "sources": dict(arm.sources),
        "questions": arm.questions,
        "curation": {name: _questions_of(domain, arm.settings, [name]) for name, domain in domains.items()},
        "teacher": _teacher(recipe, arm.settings),
        "answers_per_question": arm.samples,
        "answer_filter": identity_of(arm.keep),
        **_without_leaks(recipe),
        **compared,
    }
    return _with_variables(recipe, settings)


def require_current_questions(lake: Lake, recipe: Recipe, arm: Arm) -> None:
    """Check that the questions that an arm takes from `deduped_questions` were chosen with the recipe's settings.

    Rows of earlier versions of this program, whose settings are not known, pass.

    Raises:
        StudyError: They were chosen with other settings.
    """
    if arm.settings.selection is not None or arm.settings.dedup is not None:
        return  # it curates the scored questions itself
    for source in arm.sources:
        if other := other_settings(lake, DEDUPED_QUESTIONS.name, source, question_settings(recipe, source)):
            raise StudyError(
                f"studies.{arm.key}: the questions of {source!r} were chosen with {other} than the recipe has now: "
                f"materialize deduped_questions of it first"
            )


def require_current_answers(lake: Lake, recipe: Recipe, arm: Arm) -> None:
    """Check that the answers of an arm were made with the settings that it has now, so that students learn from these.

    Raises:
        StudyError: They were made with other settings.
    """
    if other := other_settings(lake, ARM_ANSWERS.name, arm.key, arm_settings(recipe, arm)):
        raise StudyError(
            f"studies.{arm.key}: its answers were made with {other} than it has now: materialize arm_answers of it "
            "first (the job study_answers); completions that are there already cost nothing"
        )


def _with_variables(recipe: Recipe, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings that stay equal when the data are moved to another folder."""
    restored: dict[str, Any] = recipe.restore_variables(settings)
    return restored


def _teacher(recipe: Recipe, settings: ArmSettings) -> dict[str, Any]:
    """Return the teacher of an arm as the recipe names it, whether or not its published answers are copied here."""
    name = settings.teacher or recipe.teachers[0].name
    [teacher] = [teacher for teacher in recipe.teachers if teacher.name == name]
    return identity_of(teacher_of_arm(teacher, settings))


def _questions_of(domain: DomainQuestions, settings: ArmSettings, names: Iterable[str] | None) -> dict[str, Any]:
    """Return the selection, dedup and downsampling of a domain's sources with what an arm overrides."""
    selection, dedup = settings.selection or domain.selection, settings.dedup or domain.dedup
    own = settings.selection is not None or settings.dedup is not None  # then nothing is downsampled
    samples = {} if own else {name: n for name, n in domain.downsample.items() if names is None or name in names}
    return {"selection": identity_of(selection) if selection else None, "dedup": identity_of(dedup)} | (
        {"downsample": samples} if samples else {}
    )


def _scores(recipe: Recipe, asked: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the scores by which questions are selected, with the judges that give them."""
    selections = [each["selection"] for each in asked if each["selection"]]
    used = {name for selection in selections for name in (selection["by"], *selection.get("within", {}))}
    scores = {score.name: identity_of(score) for score in recipe.scores if score.name in used}
    judges = {score["judge"] for score in scores.values() if score.get("judge")}
    return scores | {f"judge {name}": identity_of(recipe.judge(name)) for name in sorted(judges)}


def _without_leaks(recipe: Recipe) -> dict[str, Any]:
    """Return what decides which questions leak: the recipe's rule, and whose questions are compared."""
    compared = [identity_of(benchmark) for benchmark in recipe.evaluation.benchmarks]
    benchmarks = [{name: value for name, value in each.items() if name not in _OF_SCORING} for each in compared]
    return {"decontamination": identity_of(recipe.decontamination), "benchmarks": benchmarks}


def _reads_student(keep: AnswerFilter) -> bool:
    return isinstance(keep.as_many_as if isinstance(keep, RandomAnswers) else keep, LikelyAnswers)
