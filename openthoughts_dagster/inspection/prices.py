"""What the missing parts of a recipe would cost, part by part; nothing is started and nothing is written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.estimate import CostEstimate, Rates, estimate, expected_rates, measure_rates
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.requests import ModelIdentity
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, RAW_SOURCES, SCORED_QUESTIONS, Lake
from openthoughts_dagster.recipe import ModelReference, Recipe, Sampling
from openthoughts_dagster.storage import Folders, StorageError

STAGES = ("judges", "teachers", "students", "evaluation", "references", "studies", "release")
"""The stages in which rows stand, in their order."""


@dataclass(frozen=True)
class PriceRow:
    """One part of what is missing, with its price. A number that is not known is None and never 0.

    Args:
        stage: One of STAGES.
        of: What it is about, such as a cell or an arm.
        model: The model that is asked or trained.
        basis: Where the numbers come from, in words.
        completions: Completions to generate.
        reused: Completions that the ledger has already.
        trainings: Students to train.
        tokens: Tokens of the completions.
        hours: Hours of accelerators; of a training without any, hours of its machine.
        cost: Money in `currency`.
        currency: Currency of `cost`.
    """

    stage: str
    of: str
    model: str
    basis: str
    completions: int | None = None
    reused: int | None = None
    trainings: int = 0
    tokens: float | None = None
    hours: float | None = None
    cost: float | None = None
    currency: str = "USD"


@dataclass(frozen=True)
class Prices:
    """Looks up what prices are made of: a recipe, its tables, and the folders of models."""

    recipe: Recipe
    lake: Lake
    folders: Folders

    def located(self, reference: ModelReference) -> tuple[Model, str]:
        """Return a model, and why it could not be found here; empty if it was. Its price does not need the weights."""
        try:
            return locate(reference, Path(self.recipe.folder), self.folders, weights=False), ""
        except (EngineError, StorageError) as error:
            says = f"{reference.name} was not found here ({type(error).__name__}: `openthoughts doctor` says why)"
            return Model(reference, "", ModelIdentity("", "")), says

    def measured(self, model: Model, problem: str, sampling: Sampling, source: str) -> Rates:
        """Return the measured rates of a model, or the recipe's expectations where it could not be found."""
        if not problem:
            return measure_rates(self.lake, model, sampling, source)
        known = expected_rates(model.reference, sampling)
        return replace(known, basis=f"{known.basis}; {problem}")

    def questions_of(self, source: str) -> tuple[int | None, str]:
        """Return how many questions of a source teachers are asked, or will be at most, and where that is from."""
        curated = self.count(DEDUPED_QUESTIONS.name, source)
        if curated:
            return curated, "curated questions"
        settings = self.recipe.source(source)
        read, says = self.rows_of(source)
        if read is None:
            return None, says
        domain = self.recipe.domain(settings.domain)
        limits = [read, *([domain.selection.count] if domain.selection else []), domain.downsample.get(source, read)]
        return min(limits), f"at most, before curation: {says}"

    def rows_of(self, source: str) -> tuple[int | None, str]:
        """Return how many questions a source has, or will have at most, and where that is from."""
        if (read := self.count(RAW_SOURCES.name, source)) != 0:
            return read, "questions that were read"
        settings = self.recipe.source(source)
        size, facts = getattr(settings, "size", None), getattr(settings, "paper", None)
        known = [count for count in (settings.limit, size) if count is not None]
        if known:
            return min(known), "the recipe's limit of the source"
        if facts is not None and facts.questions is not None:
            return facts.questions, "the size that the paper read"
        return None, "how many questions the source has is known once it is read"

    def count(self, table: str, source: str) -> int:
        """Return how many questions of a source a table has."""
        known = {each.name: each for each in (RAW_SOURCES, SCORED_QUESTIONS, DEDUPED_QUESTIONS)}
        return int(self.lake.scan(known[table], source=source).select(pl.len()).collect().item())

    def characters_of(self, source: str) -> float | None:
        """Return the mean length of a source's questions in characters; None before it is read."""
        mean = self.lake.scan(RAW_SOURCES, source=source).select(pl.col("question").str.len_chars().mean())
        value = mean.collect().item()
        return None if value is None else float(value)


def generation_row(
    stage: str, of: str, model: Model, known: Rates, completions: int, reused: int, characters: float | None, says: str
) -> PriceRow:
    """Price completions of a length that was measured or is expected.

    Args:
        stage: One of STAGES.
        of: What the completions are for.
        model: The model that is asked.
        known: Length and speed of its completions.
        completions: Completions to generate.
        reused: Completions that are there.
        characters: Characters of one prompt; None where they are not known, which leaves prompts out of the price.
        says: Where the number of completions is from.
    """
    tokens = completions * known.completion_tokens
    made = estimate(model, known, completions, reused, tokens, completions * (characters or 0.0))
    if characters is None and known.prompt_tokens is None and model.reference.price.prompt_million:
        says += "; prompts are not in the price, their length is unknown"
    return row_of(stage, of, model.reference, made, f"{says}; {made.basis}")


def row_of(stage: str, of: str, reference: ModelReference, made: CostEstimate, basis: str) -> PriceRow:
    """Make the row of an estimate."""
    return PriceRow(
        stage,
        of,
        reference.name,
        basis if made.completions else "nothing is missing",
        completions=made.completions,
        reused=made.reused,
        tokens=made.completion_tokens,
        hours=made.accelerator_hours if reference.hardware.count or not made.completions else None,
        cost=made.cost if made.completions else 0.0,
        currency=made.currency,
    )


def totals(rows: Iterable[PriceRow]) -> str:
    """Sum rows in a sentence: completions, trainings, money by currency, and how many parts are not in the sum."""
    listed: Sequence[PriceRow] = list(rows)
    money: Counter[str] = Counter()
    for row in listed:
        if row.cost:
            money[row.currency] += row.cost  # type: ignore[assignment]
    unknown = sum(row.cost is None for row in listed)
    completions, trainings = sum(row.completions or 0 for row in listed), sum(row.trainings for row in listed)
    total = ", ".join(f"about {amount:,.2f} {currency}" for currency, amount in sorted(money.items()))
    known = total or ("at no cost" if not unknown else "the cost is unknown")
    gaps = f"; this leaves out {unknown:,} row{'s' * (unknown > 1)} whose cost is unknown" if unknown and total else ""
    trained = f" and {trainings:,} training{'s' * (trainings > 1)}" if trainings else ""
    return f"{completions:,} completions to generate{trained}, {known}{gaps}"
