"""Settings of studies, which are controlled comparisons of variants of the recipe."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from openthoughts_dagster.recipe.answers import AnswerFilter
from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel, Slug
from openthoughts_dagster.recipe.identity import Identity
from openthoughts_dagster.recipe.questions import Dedup, Selection

MOST_STUDENTS = 200


class BestSources(RecipeModel):
    """The best sources of a ranking, instead of names."""

    best: Positive = Field(description="How many sources of each domain, the best of source_ranking first.")
    domains: list[Slug] | None = Field(None, description="Domains to take sources from; all when absent.")


class ArmSettings(RecipeModel):
    """The settings that an arm changes. An absent setting is taken from the base, and otherwise from the recipe."""

    sources: list[Slug] | BestSources | None = Field(
        None, description="Sources of the questions, by name, or `best: n` of source_ranking for each domain."
    )
    shares: dict[Slug, float] | None = Field(
        None, description="Share of each source in `questions`, from 0 to 1 and together 1; equal shares when absent."
    )
    selection: Selection | None = Field(
        None, description="Another ranking of the scored questions; its `count` is for each source."
    )
    dedup: Dedup | None = Field(None, description="Another way to find duplicates.")
    questions: Positive | None = Field(None, description="Questions over all sources; all that are kept when absent.")
    answers_per_question: Positive | None = Field(None, description="Answers of each question.")
    teacher: Slug | None = Field(None, description="The teacher that answers, by its name in the recipe.")
    sampling: dict[str, Any] | None = Field(None, description="Settings of the teacher's sampling that differ.")
    answer_filter: AnswerFilter | None = Field(None, description="Which answers the student may learn from.")
    rows: Positive | None = Field(
        None, description="Rows that a student learns from; all answers when neither arm nor base has it."
    )
    epochs: float | None = Field(None, gt=0, description="Passes over the rows.")
    student: dict[str, Any] | None = Field(
        None, description="Settings of the student that differ, such as {training: {learning_rate: 0.001}}."
    )


class Reported(RecipeModel):
    """Scores that somebody else published for such arms. They are shown beside the measured ones, and never mixed."""

    by: str = Field(description="Where they were published, such as 'arXiv 2506.04178, table 3'.")
    what: str = Field(
        description="What they are: the metric, the rows and the teacher, and what their errors are over."
    )
    scores: dict[Slug, float] = Field(
        min_length=1, description="Points from 0 to 100 by arm; also of arms that this study does not have."
    )


class Study(RecipeModel):
    """A question about the recipe, and the arms that are compared to answer it; each is trained with every seed."""

    name: Slug = Field(description="Name of the study; arms are called STUDY.ARM.")
    question: str = Field(description="What the study should find out, as a sentence.")
    hypothesis: str = Field("", description="What is expected, written down before the result is known.")
    base: ArmSettings = Field(default=ArmSettings(), description="What all arms have in common.")
    arms: dict[Slug, ArmSettings] = Field(default={}, description="The variants, by name.")
    grid: dict[str, list[Any]] = Field(
        default={}, description="Instead of arms: lists of values of settings; every combination of values is an arm."
    )
    seeds: Positive = Field(3, description="Students of each arm; each has its own seed of sampling and training.")
    match: Literal["rows", "tokens", "steps", "none"] = Field(
        "rows",
        description="What must be equal within 2% in all arms, so that a difference comes from the arms alone; none if "
        "the study asks about that size itself.",
    )
    metric: str = Field(
        "mean",
        description="What decides: a benchmark of role dev, mean (of all of them), or z_mean (their mean z-score).",
    )
    margin: float | None = Field(
        None,
        gt=0,
        description="Difference in score, from 0 to 1 (of z_mean in standard deviations), that does not matter: asks "
        "whether arms are equivalent, beside whether they differ.",
    )
    decision: Literal["best", "simplest_within_margin"] = Field(
        "best",
        description="best: the arm with the highest score, if it can be told apart; simplest_within_margin: the first "
        "arm that is no worse than the best by more than the margin.",
    )
    best: Annotated[Positive, Identity.NEVER] = Field(
        1,
        description="How many arms count as the best: the report says how probable it is that an arm is among them.",
    )
    reported: Annotated[Reported | None, Identity.NEVER] = Field(
        None, description="What others published about the same question; shown in the report, and decides nothing."
    )
    price_limit: float | None = Field(
        None, gt=0, description="Most money that the study's answers may cost, in the teachers' currency."
    )

    def variants(self) -> dict[str, ArmSettings]:
        """Return the arms by name, each merged with the base; arms of a grid are named after their values."""
        return {name: merged_settings(self.base, arm) for name, arm in (self.arms or self._grid_arms()).items()}

    def _grid_arms(self) -> dict[str, ArmSettings]:
        arms = {}
        for values in product(*self.grid.values()):
            settings = dict(zip(self.grid, values, strict=True))
            name = "_".join(f"{key.replace('_', '-')}-{_slug_of(value)}" for key, value in settings.items())
            arms[name] = ArmSettings.model_validate(settings)
        return arms

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find arms beside a grid or neither, a grid of wrong values, equal arms, and a missing margin."""
        arms, grid = raw.get("arms"), raw.get("grid")
        if bool(arms) == bool(grid):
            yield (), "give arms, or a grid: exactly one of the two"
            return
        if isinstance(arms, Mapping):
            yield from _find_equal_arms(arms)
        if isinstance(grid, Mapping):
            yield from _grid_problems(grid)
        if raw.get("decision") == "simplest_within_margin" and raw.get("margin") is None:
            yield ("margin",), "is what decision: simplest_within_margin needs; say which difference does not matter"


def merged_settings(base: ArmSettings, arm: ArmSettings) -> ArmSettings:
    """Merge the settings of an arm into those of the base.

    Args:
        base: Settings of all arms.
        arm: Settings of one arm. They replace the base's, except that mappings of the student are merged.

    Returns:
        The merged settings.
    """
    values = {name: getattr(base, name) for name in base.model_fields_set}
    values |= {name: getattr(arm, name) for name in arm.model_fields_set}
    if base.student and arm.student:
        values["student"] = _merge_mappings(base.student, arm.student)
    return ArmSettings.model_construct(_fields_set=set(values), **ArmSettings().model_dump() | values)


def _merge_mappings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {k for k in base.keys() & over.keys() if isinstance(base[k], Mapping) and isinstance(over[k], Mapping)}
    return {**base, **over, **{key: _merge_mappings(base[key], over[key]) for key in both}}


def _slug_of(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("method", "-".join(map(str, value.values())))
    if isinstance(value, list):
        value = "-".join(map(str, value))
    return "".join(c if c.isalnum() or c == "-" else "-" for c in str(value))


def _find_equal_arms(arms: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, settings in arms.items():
        same = seen.setdefault(repr(settings), str(name))
        if same != name:
            yield ("arms", name), f"is the same as arm {same!r}: change a setting of one, or remove it"


def _value_problems(name: str, values: list[Any]) -> Iterator[Problem]:
    for number, value in enumerate(values):
        try:
            ArmSettings.model_validate({name: value})
        except ValidationError as error:
            first = error.errors()[0]
            yield ("grid", name, number), f"{first['msg']}, got {value!r}"
    if len({_slug_of(value) for value in values}) < len(values):
        yield (
            ("grid", name),
            "has two values that give an arm the same name: write `arms` with names of their own instead",
        )


def _grid_problems(grid: Mapping[str, Any]) -> Iterator[Problem]:
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            yield ("grid", name), f"must be a list of values, got {values!r}"
            return
        if name not in ArmSettings.model_fields:
            yield ("grid", name), f"is no setting of an arm; there are {', '.join(ArmSettings.model_fields)}"
        elif name in ("student", "sampling", "shares"):
            yield ("grid", name), "cannot be in a grid, since arms are named after their values: write `arms` instead"
        else:
            yield from _value_problems(str(name), values)
