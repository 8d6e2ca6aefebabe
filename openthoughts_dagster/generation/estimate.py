"""Estimates what a generation would cost before it is launched."""

from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.prices import cost_of, has_price
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import ModelReference, Sampling

_ENOUGH = 20  # the fewest completions from which a mean is taken
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Rates:
    """The mean length of a completion and the speed of an engine; None where a number is not known.

    Args:
        completion_tokens: Tokens of a completion.
        prompt_tokens: Tokens of its prompt.
        tokens_per_second: Completion tokens per second of the engine.
        basis: Where the numbers come from, in words.
    """

    completion_tokens: float
    prompt_tokens: float | None
    tokens_per_second: float | None
    basis: str


@dataclass(frozen=True)
class CostEstimate:
    """The estimated tokens, time and money of a generation.

    Args:
        completions: Completions to generate.
        reused: Completions that are in the ledger already.
        prompt_tokens: Tokens of all prompts.
        completion_tokens: Tokens of all completions.
        accelerator_hours: Hours of one accelerator; None if they are not known.
        cost: Money in `currency`; None if it is not known.
        currency: Currency of `cost`, such as USD.
        basis: Where the numbers come from, in words.
    """

    completions: int
    reused: int
    prompt_tokens: float
    completion_tokens: float
    accelerator_hours: float | None
    cost: float | None
    currency: str
    basis: str

    def says(self) -> str:
        """Return the estimate as one line for a log."""
        if not self.completions:
            return f"nothing to generate: all {self.reused:,} completions are in the ledger"
        parts = [f"about {self.completion_tokens:,.0f} tokens"]
        if self.accelerator_hours:  # none without accelerators
            parts.append(f"{self.accelerator_hours:,.1f} accelerator-hours")
        parts.append("cost unknown" if self.cost is None else f"cost {self.cost:,.2f} {self.currency}")
        return (
            f"{self.completions:,} completions to generate ({self.reused:,} reused): {', '.join(parts)} "
            f"(estimated {self.basis})"
        )


def measure_rates(lake: Lake, model: Model, sampling: Sampling, source: str) -> Rates:
    """Measure the length and speed of a model's completions in the ledger.

    Args:
        lake: The tables.
        model: The model.
        sampling: The sampling of the completions that count.
        source: The source of the completions that count, if it has at least 20; otherwise all sources count.

    Returns:
        The measured rates. With fewer than 20 completions in the ledger they are the recipe's expectations.
    """
    measured = (
        lake.scan(COMPLETIONS, model=model.identity.partition)
        .filter(pl.col("error").is_null(), pl.col("sampling") == sampling.model_dump_json(exclude_none=True))
        .group_by("source")
        .agg(
            completions=pl.len(),
            prompt_tokens=pl.col("prompt_tokens").sum(),
            completion_tokens=pl.col("completion_tokens").sum(),
            engine_seconds=pl.col("engine_seconds").sum(),
        )
        .collect(engine="streaming")
    )
    own = measured.filter(source=source)
    chosen, of = (own, f"of {source}") if own["completions"].sum() >= _ENOUGH else (measured, "of other sources")
    count, prompt_tokens, tokens, seconds = (
        float(chosen[name].cast(pl.Float64).to_numpy().sum())
        for name in ("completions", "prompt_tokens", "completion_tokens", "engine_seconds")
    )
    expected = model.reference.expected
    if count < _ENOUGH:
        return expected_rates(model.reference, sampling)
    speed = tokens / seconds if seconds and tokens else expected.tokens_per_second
    return Rates(tokens / count, prompt_tokens / count, speed, f"by {count:,.0f} completions {of}")


def expected_rates(reference: ModelReference, sampling: Sampling) -> Rates:
    """Return the length and speed that the recipe expects of a model of which nothing was measured."""
    expected = reference.expected
    guess = expected.completion_tokens or sampling.max_tokens
    says = "the recipe's expectation" if expected.completion_tokens else "max_tokens, an upper bound"
    return Rates(guess, None, expected.tokens_per_second, f"by {says}; nothing was measured yet")


def estimate(
    model: Model, known: Rates, completions: int, reused: int, tokens: float, characters: float
) -> CostEstimate:
    """Estimate the time and money of a generation.

    Args:
        model: The model, for its price and hardware.
        known: Length and speed of its completions.
        completions: Completions to generate.
        reused: Completions that are in the ledger already.
        tokens: Expected tokens of all completions.
        characters: Characters of all prompts; four count as a token if `known` has no length of prompts.
    """
    prompt_tokens = (
        characters / _CHARACTERS_PER_TOKEN if known.prompt_tokens is None else completions * known.prompt_tokens
    )
    price, count = model.reference.price, model.reference.hardware.count
    seconds = None if known.tokens_per_second is None else tokens / known.tokens_per_second
    timed = bool(price.accelerator_hour and count)
    untimed, unpriced = timed and seconds is None, not has_price(model.reference)
    basis = known.basis
    if untimed:
        basis += "; give expected.tokens_per_second in the recipe for hours and money"
    if unpriced:
        basis += f"; the recipe gives no price for {model.reference.name}"
    return CostEstimate(
        completions,
        reused,
        prompt_tokens,
        tokens,
        None if seconds is None else seconds / 3600 * count,
        None if untimed or unpriced else cost_of(model.reference, prompt_tokens, tokens, seconds or 0.0),
        price.currency,
        basis,
    )
