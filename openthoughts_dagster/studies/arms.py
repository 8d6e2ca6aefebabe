"""Arms, which are the recipe with a study's overrides, and the partition keys of their answers and students."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from openthoughts_dagster import evaluation
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import AnswerFilter, Recipe, Student, Teacher
from openthoughts_dagster.recipe.arm_settings import shares_problem, student_of_arm, teacher_of_arm
from openthoughts_dagster.recipe.studies import ArmSettings, BestSources, Study


class StudyError(ValueError):
    """The study cannot be run as it is written; the message names study, arm, setting, value and remedy."""


@dataclass(frozen=True)
class Arm:
    """One variant of the recipe in a study, with every setting decided.

    Args:
        study: The study.
        name: Name of the arm in the study.
        settings: The settings that the arm overrides.
        sources: The sources of its questions and their shares, which sum to 1.
        questions: Questions over all sources; None for all that are kept.
        samples: Answers of each question.
        teacher: The teacher that answers, with the arm's sampling.
        keep: Its answer filter.
        student: The student's settings; its seed is the first of the study's.
        rows: Rows that a student learns from; None for all.
    """

    study: Study
    name: str
    settings: ArmSettings
    sources: Mapping[str, float]
    questions: int | None
    samples: int
    teacher: Teacher
    keep: AnswerFilter
    student: Student
    rows: int | None

    @property
    def key(self) -> str:
        """The partition key of the arm's answers: STUDY.ARM."""
        return f"{self.study.name}.{self.name}"

    @property
    def seeds(self) -> list[int]:
        """The seeds of its students; the first one is the recipe's own seed."""
        return [self.student.seed + number for number in range(self.study.seeds)]

    def student_of(self, seed: int) -> Student:
        """Return the student's settings with one of the seeds."""
        return self.student.model_copy(update={"seed": seed})


def split_key(key: str) -> tuple[str, str, int | None]:
    """Split a partition key into study, arm and seed; the seed of STUDY.ARM is None. Names contain no dot."""
    study, arm, *seed = key.split(".")
    return study, arm, int(seed[0]) if seed else None


def study_named(recipe: Recipe, name: str) -> Study:
    """Return the recipe's study of a name.

    Raises:
        StudyError: There is no such study; the message lists the recipe's studies.
    """
    for study in recipe.studies:
        if study.name == name:
            return study
    known = ", ".join(study.name for study in recipe.studies) or "none"
    raise StudyError(f"recipe {recipe.name!r} has no study {name!r}; there are {known}")


def arm_keys(recipe: Recipe) -> list[str]:
    """Return the partition keys of all arms: STUDY.ARM."""
    return [f"{study.name}.{arm}" for study in recipe.studies for arm in study.variants()]


def student_keys(recipe: Recipe) -> list[str]:
    """Return the partition keys of all students of all arms: STUDY.ARM.SEED."""
    return [
        f"{study.name}.{arm}.{recipe.student.seed + number}"
        for study in recipe.studies
        for arm in study.variants()
        for number in range(study.seeds)
    ]


def arm_teacher(recipe: Recipe, key: str) -> str:
    """Return the name of the teacher of an arm, whose key is STUDY.ARM."""
    study, arm, _ = split_key(key)
    return study_named(recipe, study).variants()[arm].teacher or recipe.teachers[0].name


def arm_named(recipe: Recipe, lake: Lake, key: str) -> Arm:
    """Return the arm of a partition key STUDY.ARM or STUDY.ARM.SEED, with every setting decided.

    Args:
        recipe: The recipe with its studies.
        lake: The tables; they are read if an arm takes the best sources of a ranking.
        key: The partition key.

    Raises:
        StudyError: The recipe has no such study or arm, or the settings of the arm do not fit it.
    """
    name, arm, _ = split_key(key)
    study = study_named(recipe, name)
    variants = study.variants()
    if arm not in variants:
        raise StudyError(f"study {name} has no arm {arm!r}; there are {', '.join(variants)}")
    return _decide_arm(recipe, lake, study, arm, variants[arm])


def arms_of(recipe: Recipe, lake: Lake, study: Study) -> Iterator[Arm]:
    """Yield every arm of a study, with every setting decided.

    Args:
        recipe: The recipe with its studies.
        lake: The tables; they are read if an arm takes the best sources of a ranking.
        study: The study.

    Raises:
        StudyError: The settings of an arm do not fit the recipe, or nothing is ranked yet.
    """
    for name, settings in study.variants().items():
        yield _decide_arm(recipe, lake, study, name, settings)


def _decide_arm(recipe: Recipe, lake: Lake, study: Study, name: str, settings: ArmSettings) -> Arm:
    where = f"studies.{study.name}.{name}"
    sources = _choose_sources(recipe, lake, settings, where)
    try:
        teacher = teacher_of_arm(recipe.teacher(settings.teacher or recipe.teachers[0].name), settings)
        student = student_of_arm(recipe.student, settings)
    except (ValidationError, KeyError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        says = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else str(error.args[0])
        raise StudyError(f"{where}: {says}") from error
    return Arm(
        study=study,
        name=name,
        settings=settings,
        sources=_choose_shares(sources, settings, where),
        questions=settings.questions,
        samples=settings.answers_per_question or recipe.answers_per_question,
        teacher=teacher,
        keep=settings.answer_filter or recipe.answer_filter,
        student=student,
        rows=settings.rows,
    )


def _choose_sources(recipe: Recipe, lake: Lake, settings: ArmSettings, where: str) -> list[str]:
    if settings.sources is None:
        return [source.name for source in recipe.sources]
    ranked = isinstance(settings.sources, BestSources)
    chosen = settings.sources
    names = best_sources(lake, chosen, where) if isinstance(chosen, BestSources) else chosen
    for name in names:
        try:
            recipe.source(name)
        except KeyError as error:
            remedy = "; source_ranking still has it: materialize source_ranking again" if ranked else ""
            raise StudyError(f"{where}.sources: {error.args[0]}{remedy}") from None
    return list(names)


def best_sources(lake: Lake, wanted: BestSources, where: str) -> list[str]:
    """Return the best sources of each domain, by the table source_ranking.

    Args:
        lake: The tables.
        wanted: The number of sources, and the domains.
        where: The location of the setting, for messages.

    Raises:
        StudyError: Nothing is ranked, or a domain has fewer ranked sources.
    """
    try:
        return evaluation.best_sources(lake, wanted.best, wanted.domains)
    except evaluation.RankingError as error:
        raise StudyError(f"{where}.sources: {error}") from None


def _choose_shares(sources: list[str], settings: ArmSettings, where: str) -> dict[str, float]:
    shares = settings.shares or dict.fromkeys(sources, 1 / len(sources))
    if problem := shares_problem(sources, shares):
        raise StudyError(f"{where}.shares: {problem}")
    return {source: shares[source] for source in sources}
