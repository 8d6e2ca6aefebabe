"""Computes what generation costs by the recipe's prices."""

from openthoughts_dagster.recipe import ModelReference

_AMOUNTS = {"prompt_million", "completion_million", "accelerator_hour"}


def cost_of(model: ModelReference, prompt_tokens: float, completion_tokens: float, engine_seconds: float) -> float:
    """Return the price of tokens and accelerator time, in the currency of the model's price.

    An API has a price per token, and your own machines have a price per accelerator-hour; a model can have both.
    Tokens of batches cost the part that `batch.price_factor` says.
    """
    tokens = prompt_tokens * model.price.prompt_million + completion_tokens * model.price.completion_million
    if model.mode == "batch":
        tokens *= model.batch.price_factor
    hours = engine_seconds / 3600 * model.hardware.count
    return tokens / 1e6 + hours * model.price.accelerator_hour


def has_price(model: ModelReference) -> bool:
    """Return whether the recipe gives a price for a model. A price of 0 is one; without any it is unknown."""
    return bool(_AMOUNTS & model.price.model_fields_set)
