"""The change of the recipe that an arm stands for, as YAML in the recipe's shape."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from openthoughts_dagster.recipe import Recipe, identity_of
from openthoughts_dagster.recipe.arm_settings import split_questions
from openthoughts_dagster.recipe.studies import ArmSettings, BestSources, Study


def adopted_settings(recipe: Recipe, study: Study, arm: str) -> str:
    """Return the settings of the recipe that an arm and its base stand for.

    Every setting is where the recipe has it: `rows` of an arm is `student.rows`, and a draw of its questions is
    `domains.DOMAIN.downsample`. Lists of named entries, such as teachers, have the entries that change. What the recipe
    has no setting for is a comment.

    Args:
        recipe: The recipe with the study.
        study: The study.
        arm: Name of one of its arms.

    Returns:
        YAML to merge into the recipe.

    Raises:
        KeyError: The study has no such arm.
    """
    settings = study.variants()[arm]
    changes: dict[str, Any] = {}
    for change in _changes(recipe, settings):
        _merge(changes, change)
    shown = yaml.safe_dump(json.loads(json.dumps(changes, default=str)), sort_keys=False, allow_unicode=True)
    return "".join(f"# {comment}\n" for comment in _comments(recipe, settings)) + (shown if changes else "")


def _changes(recipe: Recipe, settings: ArmSettings) -> Iterator[dict[str, Any]]:
    """Yield the changes, each as a part of the recipe's document."""
    over = identity_of(settings)
    for name in ("answers_per_question", "answer_filter"):
        if name in over:
            yield {name: over[name]}
    if settings.sampling:
        yield {"teachers": [{"name": settings.teacher or recipe.teachers[0].name, "sampling": settings.sampling}]}
    student = dict(settings.student or {})
    if settings.rows is not None:
        student["rows"] = settings.rows
    if student:
        yield {"student": student}
    if settings.epochs is not None:
        # What bounds the recipe's student goes, because a training has one bound.
        bounds = {name: None for name in ("steps", "tokens") if getattr(recipe.student.settings(), name) is not None}
        yield {"student": {"training": {"epochs": settings.epochs, **bounds}}}
    yield from _question_changes(recipe, settings, over)
    if settings.sources is not None and recipe.release is not None:
        yield {"release": {"sources": over["sources"]}}


def _question_changes(recipe: Recipe, settings: ArmSettings, over: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    names = _named_sources(recipe, settings)
    domains = {name: recipe.source(name).domain for name in names}
    counts = split_questions(names, settings.shares, settings.questions) if names else {}
    for name, domain in domains.items():
        for setting in ("selection", "dedup"):
            if setting in over:
                yield {"domains": {domain: {setting: over[setting]}}}
        if counts.get(name) is None:
            continue
        if settings.selection is None:
            yield {"domains": {domain: {"downsample": {name: counts[name]}}}}
        else:  # the best of them, and not a sample
            yield {"domains": {domain: {"selection": {"count": counts[name]}}}}


def _comments(recipe: Recipe, settings: ArmSettings) -> Iterator[str]:
    if settings.teacher is not None:
        yield f"teacher {settings.teacher}: launch its cells and its release; the first of `teachers` is that of arms"
    if isinstance(settings.sources, BestSources) and settings.questions is not None:
        yield f"{settings.questions:,} questions over all sources: give each of them its domains.DOMAIN.downsample"
    if settings.sources is not None and recipe.release is None:
        shown = ", ".join(_named_sources(recipe, settings)) or "the best of source_ranking"
        yield f"sources {shown}: keep these in `sources`, or name them in a `release`"


def _named_sources(recipe: Recipe, settings: ArmSettings) -> list[str]:
    """Return the sources of an arm; none if a ranking chooses them."""
    if settings.sources is None:
        return [source.name for source in recipe.sources]
    return [] if isinstance(settings.sources, BestSources) else list(settings.sources)


def _merge(into: dict[str, Any], change: Mapping[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value
