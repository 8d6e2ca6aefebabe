"""Chooses the rows of a release from the answers of one teacher, and says of everything else why it is left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.answers import FilterTools
from openthoughts_dagster.answers.filters import FilterContext, dropped_answers
from openthoughts_dagster.evaluation import RankingError, benchmark_questions, best_sources
from openthoughts_dagster.lake import REASONING_DATASET, SCORED_QUESTIONS, text_hashes
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.questions import Texts, compared_questions, deduplicate_sources, find_leaks, source_sample
from openthoughts_dagster.questions.dedup import deduplicate
from openthoughts_dagster.recipe import AnswerFilter, Dedup, Recipe, Release
from openthoughts_dagster.recipe.answers import MajorityAnswers
from openthoughts_dagster.recipe.recipe import UnknownNameError
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.older import older_questions
from openthoughts_dagster.release.pool import QUESTION, ROW, Pool, as_evidence, read_pool
from openthoughts_dagster.release.shortfall import describe_shortfalls

STEPS = ("asked", "answered", "answer_filter", "against", "decontamination", "dedup", "sizes", "answers_per_question")
"""The steps in their order. A filter drops answers before questions are drawn, so that each drawn question has some."""


@dataclass(frozen=True)
class ReleaseRows:
    """The rows of a release and what became of everything else.

    Args:
        rows: Rows of reasoning_dataset, in the release's order.
        rejected: Rows of rejected_release.
        funnel: Rows of release_funnel.
        shortfalls: Sentences that say by how much the release is short, and why; empty when it is not.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    funnel: pl.DataFrame
    shortfalls: tuple[str, ...]


def choose_rows(
    lake: LakeReader,
    recipe: Recipe,
    teacher: str,
    benchmarks: pl.DataFrame | None = None,
    tools: FilterTools | None = None,
) -> ReleaseRows:
    """Choose the rows of the recipe's release from the answers of one teacher.

    The steps follow OpenThoughts3 (arXiv 2506.04178, section 3: filter, deduplicate, sample) over all sources together:
    an answer filter; questions of older releases; leaks of benchmarks; a question that several sources have stays with
    the source that `sources` names first; a uniform sample of each domain or source; at most
    `answers_per_question` answers of each question, those with the lowest sample index. A question with fewer answers
    stays with those that it has. Samples and the order of rows come from hashes, so that a smaller release is contained
    in a larger one, in the same order.

    Args:
        lake: The tables, with deduped_questions, teacher_answers and completions of the release's sources.
        recipe: The recipe, which has a `release`.
        teacher: Name of the teacher.
        benchmarks: Columns benchmark, question and split: the questions that may not be trained on. By default those of
            the recipe's benchmarks and decontamination.
        tools: Judges and the student, for a filter that asks them.

    Returns:
        The rows, and a reason for each question and answer that is not among them.

    Raises:
        ReleaseError: The recipe has no release, a source has no answer, a ranking is not decided, nothing is left, or
            fewer questions are left than `sizes` asks for and `short` is false.
        AcceptedError: An older release cannot be read.

    Example:
        >>> chosen = choose_rows(lake, recipe, "qwq-32b")  # doctest: +SKIP
        >>> chosen.rows.height, chosen.shortfalls  # doctest: +SKIP
    """
    release = release_of(recipe)
    domains = {name: recipe.source(name).domain for name in release_sources(lake, recipe)}
    pool = read_pool(lake, recipe.teacher(teacher).name, domains)
    samples = release.answers_per_question or recipe.answers_per_question
    _filter_answers(lake, pool, release.answer_filter, tools or FilterTools())
    _drop_older(pool, recipe, release)
    _drop_leaks(lake, pool, recipe, benchmarks)
    _drop_duplicates(pool, release.dedup)
    _draw_questions(pool, release)
    _limit_answers(pool, samples)
    shortfalls, short = describe_shortfalls(pool, release.sizes, samples)
    if pool.answers.is_empty():
        raise ReleaseError(
            f"release {release.name} for teacher {teacher}: no row is left of what {lake.root} has for "
            f"{', '.join(domains)}. {_count_reasons(pool)}"
        )
    if short and not release.short:
        raise ReleaseError(
            f"release {release.name} for teacher {teacher} is short: {' '.join(short)} Materialize more questions and "
            "answers, correct release.sizes, or publish it all the same with `short: true`"
        )
    rows = _publishable(lake, pool, recipe, release, tools or FilterTools())
    return ReleaseRows(rows, pool.rejected, pool.funnel, tuple(shortfalls))


def release_of(recipe: Recipe) -> Release:
    """Return the recipe's release.

    Raises:
        ReleaseError: The recipe has none.
    """
    if recipe.release is None:
        raise ReleaseError(f"recipe {recipe.name!r} has no `release`: docs/release.md shows how to write one")
    return recipe.release


def release_sources(lake: LakeReader, recipe: Recipe) -> list[str]:
    """Return the sources of the release, the preferred ones first.

    Raises:
        ReleaseError: The sources come from a ranking that does not decide, or that is older than the recipe.
    """
    wanted = release_of(recipe).sources
    if isinstance(wanted, list):
        return wanted
    try:
        best = best_sources(lake, wanted.best, wanted.domains, decided=True)
        for name in best:
            recipe.source(name)
    except RankingError as error:
        raise ReleaseError(f"release.sources: {error}") from None
    except UnknownNameError as error:
        raise ReleaseError(
            f"release.sources: source_ranking is older than the recipe: {error}. Materialize source_ranking again, or "
            "name the sources"
        ) from None
    return best


def _filter_answers(lake: LakeReader, pool: Pool, settings: AnswerFilter | None, tools: FilterTools) -> None:
    """Apply the release's own filter. The recipe's was applied when the answers were published."""
    if settings is None:
        return
    questions = pool.questions.lazy().select(*QUESTION, "question")
    pool.drop_answers("answer_filter", dropped_answers(settings, FilterContext(lake, pool.answers, questions, tools)))


def _drop_older(pool: Pool, recipe: Recipe, release: Release) -> None:
    if not release.against:
        return
    older = older_questions(release.against, recipe.path)
    settings = release.dedup if release.dedup.method != "none" else Dedup(method="exact")
    ids, rank = pool.questions["question_id"], pl.Series(range(pool.questions.height)).to_numpy()
    decisions = deduplicate(Texts.of(pool.questions["question"]), ids, rank, settings, older)
    found = {at: why for at, why in decisions.items() if why.reason.startswith("accepted")}
    rows = pool.questions[sorted(found)].select(QUESTION)
    reasons = [found[at].reason.replace("accepted", "older_release") for at in sorted(found)]
    evidence = [as_evidence(found[at].evidence) for at in sorted(found)]
    pool.drop_questions("against", _with_reasons(rows, reasons, evidence))


def _drop_leaks(lake: LakeReader, pool: Pool, recipe: Recipe, benchmarks: pl.DataFrame | None) -> None:
    """Compare with the benchmarks as they are now; instructions are counted in each source, as they were before."""
    if benchmarks is None:
        own, _ = benchmark_questions(recipe.evaluation, recipe.path)
        benchmarks = compared_questions(own, recipe.evaluation, recipe.decontamination, recipe.path)
    parts = [_with_reasons(pool.questions.head(0).select(QUESTION), [], [])]
    for source in pool.domains:
        questions = pool.questions.filter(source=source)
        if benchmarks.is_empty() or questions.is_empty():
            continue
        scored = lake.scan(SCORED_QUESTIONS, source=source).select("question_id", "question")
        ids = scored.select("question_id").collect()["question_id"]
        sample = source_sample(scored, ids) if len(ids) else None
        leaks = find_leaks(Texts.of(questions["question"]), recipe.decontamination, benchmarks, sample).decisions
        at = sorted(leaks)
        reasons, evidence = [leaks[i].reason for i in at], [as_evidence(leaks[i].evidence) for i in at]
        parts.append(_with_reasons(questions[at].select(QUESTION), reasons, evidence))
    pool.drop_questions("decontamination", pl.concat(parts))


def _drop_duplicates(pool: Pool, settings: Dedup) -> None:
    _, dropped = deduplicate_sources(
        pool.questions.select(*QUESTION, "question"), settings, list(pool.domains), within=False
    )
    if dropped.is_empty():
        dropped = _with_reasons(dropped.select(QUESTION), [], [])
    else:
        evidence = [as_evidence(row) for row in dropped.select("of_source", "of", "similarity").iter_rows(named=True)]
        dropped = _with_reasons(dropped.select(QUESTION), dropped["reason"].to_list(), evidence)
    pool.drop_questions("dedup", dropped)


def _draw_questions(pool: Pool, release: Release) -> None:
    """Draw the questions with the lowest seeded hash of each domain or source that has a size."""
    parts, notes = [_with_reasons(pool.questions.head(0).select(QUESTION), [], [])], dict[str, str]()
    order = _hash_order(pool.questions, QUESTION, release.seed)
    ordered = pool.questions.select(*QUESTION, "domain").with_columns(order).sort("order", "source")
    for name, count in release.sizes.items():
        own = ordered.filter(pl.col("source" if name in pool.domains else "domain") == name)
        beyond = own.slice(count).select(QUESTION)
        evidence = f"{count:,} of {own.height:,} questions of {name} are drawn with seed {release.seed}"
        parts.append(_with_reasons(beyond, ["not_drawn"] * beyond.height, [evidence] * beyond.height))
        notes |= dict.fromkeys(own["source"].unique(), f"{count:,} of {name}")
    pool.drop_questions("sizes", pl.concat(parts), notes)


def _limit_answers(pool: Pool, samples: int) -> None:
    place = pl.int_range(1, pl.len() + 1).over(QUESTION, order_by="sample_index")
    ranked = pool.answers.with_columns(place=place, there=pl.len().over(QUESTION))
    evidence = pl.format("answer {} of {}; the release has at most {} of each question", "place", "there", samples)
    beyond = ranked.filter(pl.col("place") > samples)
    pool.drop_answers("answers_per_question", beyond.select(*ROW, reason=pl.lit("more_than_asked"), evidence=evidence))


def _publishable(lake: LakeReader, pool: Pool, recipe: Recipe, release: Release, tools: FilterTools) -> pl.DataFrame:
    """Return the rows of reasoning_dataset, in their order."""
    questions = pool.questions.with_columns(difficulty=_difficulty(pool.questions, recipe)).drop("question", "scores")
    rows = pool.answers.join(questions, on=QUESTION, how="left", maintain_order="left")
    rows = rows.with_columns(_agreement(lake, pool, recipe, release, tools) if release.majority else _no_agreement())
    rows = rows.with_columns(_hash_order(rows, ROW, release.seed)).sort("order", "source")
    rows = rows.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64), teacher=pl.lit(pool.teacher))
    return rows.select(list(REASONING_DATASET.columns))


def _difficulty(questions: pl.DataFrame, recipe: Recipe) -> pl.Series:
    """Return the rating of each question by the score of method difficulty of its domain; null where there is none."""
    names = {
        domain: next((score.name for score in recipe.scores_for(domain) if score.method == "difficulty"), None)
        for domain in questions["domain"].unique()
    }
    rating = pl.lit(None, dtype=pl.Float64)
    for domain, name in names.items():
        if name is not None:
            own = pl.col("scores").str.json_path_match(f"$['{name}']").cast(pl.Float64, strict=False)
            rating = pl.when(pl.col("domain") == domain).then(own).otherwise(rating)
    return questions.with_columns(difficulty=rating.round().cast(pl.Int64))["difficulty"]


def _agreement(lake: LakeReader, pool: Pool, recipe: Recipe, release: Release, tools: FilterTools) -> list[pl.Series]:
    """Say which answers the majority filter would keep, and their share of the question's answers.

    Results are compared as the answer filter compares them, where it does.
    """
    keep = release.answer_filter or recipe.answer_filter
    match = getattr(keep, "match", "math")
    settings = MajorityAnswers(
        method="majority",
        match="math" if match == "tests" else match,
        judge=getattr(keep, "judge", None),
    )
    questions = pool.questions.lazy().select(*QUESTION, "question")
    others = dropped_answers(settings, FilterContext(lake, pool.answers, questions, tools))
    marked = pool.answers.join(others.select(*ROW, majority=False), on=ROW, how="left", maintain_order="left")
    majority = pl.col("majority").fill_null(True)
    agreement = (majority.sum().over(QUESTION) / pl.len().over(QUESTION)).alias("agreement")
    return marked.select(majority, agreement).get_columns()


def _no_agreement() -> list[pl.Expr]:
    return [
        pl.lit(None, dtype=pl.Boolean).alias("majority"),
        pl.lit(None, dtype=pl.Float64).alias("agreement"),
    ]


def _hash_order(rows: pl.DataFrame, columns: Sequence[str], seed: int) -> pl.Series:
    names = rows.select(pl.concat_str(columns, separator="|")).to_series()
    return pl.Series("order", text_hashes(["release", str(seed)], names, []), dtype=pl.String)


def _with_reasons(rows: pl.DataFrame, reasons: Sequence[str], evidence: Sequence[str]) -> pl.DataFrame:
    return rows.with_columns(
        pl.Series("reason", reasons, dtype=pl.String), pl.Series("evidence", evidence, dtype=pl.String)
    )


def _count_reasons(pool: Pool) -> str:
    counts = pool.rejected.group_by("step", "reason").len().sort("len", descending=True)
    listed = "; ".join(f"{step}: {count:,} went as {reason}" for step, reason, count in counts.iter_rows())
    return f"What took them: {listed}. Correct that setting of `release`, or look at rejected_release's reasons"
