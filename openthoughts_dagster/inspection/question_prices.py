"""Prices of judges and teachers: what scoring and answering would cost, also before a source was read or curated."""

from collections.abc import Iterator

import polars as pl

from openthoughts_dagster.answers import cell_answers, plan_answers
from openthoughts_dagster.inspection.prices import PriceRow, Prices, generation_row, row_of
from openthoughts_dagster.lake import RAW_SOURCES, SCORED_QUESTIONS
from openthoughts_dagster.recipe import AnswerFilter, Judge, Score


def judge_prices(prices: Prices, sources: list[str]) -> Iterator[PriceRow]:
    """Price the scores of questions that have none yet, a row for each source and score that asks a judge."""
    for source in sources:
        domain = prices.recipe.source(source).domain
        for score in prices.recipe.scores_for(domain):
            if (judge := getattr(score, "judge", None)) is not None:
                yield _judge_price(prices, source, score, prices.recipe.judge(judge))


def _judge_price(prices: Prices, source: str, score: Score, judge: Judge) -> PriceRow:
    rows, says = prices.rows_of(source)
    of = f"{source}: {score.name}"
    if rows is None:
        return PriceRow("judges", of, judge.name, says, currency=judge.price.currency)
    done = _scored(prices, source, score.name)
    model, problem = prices.located(judge)
    known = prices.measured(model, problem, judge.sampling, source)
    characters = prices.characters_of(source)
    return generation_row("judges", of, model, known, max(0, rows - done), done, characters, says)


def _scored(prices: Prices, source: str, score: str) -> int:
    """Count the questions of a source that were asked about already: those that are scored and still there."""
    raw = prices.lake.scan(RAW_SOURCES, source=source).select("question_id")
    asked = pl.col("scores").str.contains(f'"{score}":', literal=True)
    scored = prices.lake.scan(SCORED_QUESTIONS, source=source).filter(asked).select("question_id")
    return int(scored.join(raw, on="question_id", how="semi").select(pl.len()).collect().item())


def teacher_prices(prices: Prices, sources: list[str], teachers: list[str]) -> Iterator[PriceRow]:
    """Price the missing answers, a row for each cell; before curation an upper bound from the size of the source."""
    for teacher in teachers:
        reference = prices.recipe.teacher(teacher)
        model, problem = prices.located(reference)
        for source in sources:
            of, samples = f"{source}/{teacher}", prices.recipe.answers_per_question
            questions, says = prices.questions_of(source)
            if questions is None:
                yield PriceRow("teachers", of, teacher, says, currency=reference.price.currency)
            elif says == "curated questions" and not problem:
                answers = cell_answers(prices.lake, source, teacher, samples)
                score = prices.recipe.length_score(prices.recipe.source(source).domain)
                made = plan_answers(prices.lake, model, answers, score).estimate
                yield (row := row_of("teachers", of, reference, made, made.basis))
                if row.completions:
                    yield from filter_price("teachers", of, prices.recipe.answer_filter)
            else:
                known = prices.measured(model, problem, reference.sampling, source)
                characters = prices.characters_of(source)
                yield generation_row("teachers", of, model, known, questions * samples, 0, characters, says)
                yield from filter_price("teachers", of, prices.recipe.answer_filter)


def filter_price(stage: str, of: str, keep: AnswerFilter | None) -> Iterator[PriceRow]:
    """Name the judge or student that an answer filter asks; how often is known once there are answers."""
    keep = getattr(keep, "as_many_as", keep)
    asked = getattr(keep, "judge", None) or ("student" if getattr(keep, "method", None) == "likely" else None)
    if asked is not None:
        yield PriceRow(stage, f"{of}: answer filter", asked, "how much it asks is known once there are answers")
