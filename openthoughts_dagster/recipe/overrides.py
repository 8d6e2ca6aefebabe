"""Finds parameters of servers that take the place of settings of the recipe, although a recipe may have them."""

from typing import TYPE_CHECKING

from openthoughts_dagster.recipe.models import ModelReference

if TYPE_CHECKING:
    from openthoughts_dagster.recipe.recipe import Recipe


def overridden_settings(recipe: "Recipe") -> list[str]:
    """Write a sentence for each entry of `parameters.extra` that takes the place of a setting of `sampling`.

    Such entries are not refused, because they are part of a completion's key: whoever moves one pays for its answers
    again.

    Args:
        recipe: The recipe.

    Returns:
        Sentences that name the parameter, the setting and the values of both; usually none.
    """
    models: list[tuple[str, ModelReference]] = [(f"judges.{judge.name}", judge) for judge in recipe.judges]
    models += [(f"teachers.{teacher.name}", teacher) for teacher in recipe.teachers]
    models += [("student", recipe.student)]
    models += [(f"evaluation.references.{model.name}", model) for model in recipe.evaluation.references]
    return [
        f"{where}.parameters.extra.{name}: {sent!r} is sent in place of sampling.{setting} ({wanted!r})"
        + (", so that all samples of a prompt share their random numbers" if setting == "seed" else "")
        + f": set sampling.{setting} instead. Answers that were paid for with it are asked again then; to keep them, "
        "leave it: the ledger's column `engine` records it"
        for where, model in models
        for name, setting in model.parameters.overridden().items()
        if (sent := model.parameters.extra[name]) != (wanted := getattr(model.sampling, setting)) or setting == "seed"
    ]
