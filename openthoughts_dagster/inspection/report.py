"""The report: the funnel, costs, rankings, studies and release of a recipe, on one page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation import OVERALL, clustered_mean, reference_means, reported_scores, teacher_facts
from openthoughts_dagster.evaluation.statistics import errors_over
from openthoughts_dagster.generation.usage import sum_generation_costs
from openthoughts_dagster.lake import (
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REJECTED_QUESTIONS,
    RELEASE_FUNNEL,
    RELEASE_SCORES,
    RELEASE_VERSIONS,
    SCORED_QUESTIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    STUDY_RESULTS,
    TEACHER_ANSWERS,
    TEACHER_RANKING,
    Lake,
    Table,
)
from openthoughts_dagster.pages import Html, heading, link, note, page, paragraph, table
from openthoughts_dagster.pages.html import bar_chart
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.reported_scores import NOTE
from openthoughts_dagster.studies import current_version, decision_of, p_value

Row = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of the report: a table with a title and what has to be said about it.

    Args:
        title: The title.
        rows: The rows as texts and counts.
        says: Sentences above the table.
        asset: The asset whose page in the UI has more.
        chart: Names and values of a bar chart.
        empty: What is said when there is no row.
    """

    title: str
    rows: list[Row]
    says: Sequence[str] = ()
    asset: str = ""
    chart: dict[str, int] = field(default_factory=dict)
    empty: str = "nothing yet"


def report_sections(lake: Lake, recipe: Recipe) -> Iterator[Section]:
    """Yield the sections of the report, from the tables as they are.

    Args:
        lake: The tables.
        recipe: The recipe, which says what the report is about.
    """
    yield _funnel(lake, recipe)
    yield Section("Rejected questions", _rejected(lake), asset=DEDUPED_QUESTIONS.name, empty="none was rejected")
    yield _costs(lake)
    for ranking, by in ((SOURCE_RANKING, "source"), (TEACHER_RANKING, "teacher")):
        yield Section(f"Which {by} makes the better student?", _ranking(lake, ranking, by), asset=ranking.name)
    yield _teachers(lake, recipe)
    yield Section(
        "References, measured here", _references(lake, recipe), asset="reference_scores", empty="none was scored"
    )
    if reported := _reported(recipe):
        yield Section("Reported, not measured here", reported, says=[NOTE])
    if recipe.studies:
        yield Section("Studies", _studies(lake, recipe), asset=STUDY_RESULTS.name)
    if recipe.release is not None:
        yield from _release(lake)


def report_page(lake: Lake, recipe: Recipe, ui: str) -> str:
    """Return the report as one HTML page that needs no network.

    Args:
        lake: The tables.
        recipe: The recipe.
        ui: The address of the UI, to which the sections link.
    """
    parts: list[Html] = [
        heading(f"Report of {recipe.name}", 1),
        paragraph(recipe.description),
        note(f"Made on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {lake.root}."),
    ]
    for section in report_sections(lake, recipe):
        parts.append(heading(section.title))
        parts += [paragraph(text) for text in section.says]
        if section.chart:
            parts.append(bar_chart(list(section.chart), list(section.chart.values())))
        sentences = any(len(str(value)) > 60 for row in section.rows for value in row.values())
        parts.append(table(section.rows, texts=sentences) if section.rows else note(section.empty))
        if section.asset:
            parts.append(note(link(f"{section.asset} in the UI", f"{ui.rstrip('/')}/assets/{section.asset}")))
    return page(f"Report of {recipe.name}", *parts)


def _funnel(lake: Lake, recipe: Recipe) -> Section:
    counts = {table.name: _counts(lake, table) for table in (RAW_SOURCES, SCORED_QUESTIONS, DEDUPED_QUESTIONS)}
    answers, students = _counts(lake, TEACHER_ANSWERS), _counts(lake, STUDENT_CHECKPOINTS)
    names = list(dict.fromkeys([*(source.name for source in recipe.sources), *counts[RAW_SOURCES.name]]))
    rows = [
        {
            "source": name,
            "read": counts[RAW_SOURCES.name].get(name, 0),
            "scored": counts[SCORED_QUESTIONS.name].get(name, 0),
            "selected and clean": counts[DEDUPED_QUESTIONS.name].get(name, 0),
            "answers": answers.get(name, 0),
            "students": students.get(name, 0),
        }
        for name in names
    ]
    steps = ("read", "scored", "selected and clean", "answers")
    return Section(
        "From questions to students",
        [{name: f"{value:,}" if isinstance(value, int) else value for name, value in row.items()} for row in rows],
        asset=RAW_SOURCES.name,
        chart={step: sum(row[step] for row in rows) for step in steps},  # type: ignore[misc]
    )


def _counts(lake: Lake, of: Table) -> dict[str, int]:
    return dict(lake.scan(of).group_by("source").len().collect().iter_rows())


def _rejected(lake: Lake) -> list[Row]:
    rows = lake.scan(REJECTED_QUESTIONS).group_by("stage", "reason").agg(count=pl.len())
    found = rows.sort("count", "stage", "reason", descending=[True, False, False]).collect()
    return [row | {"count": f"{row['count']:,}"} for row in found.iter_rows(named=True)]


def _costs(lake: Lake) -> Section:
    costs = sum_generation_costs(lake)
    sums = [pl.col(name).sum() for name in ("completions", "completion_tokens", "engine_seconds", "cost")]
    rows = costs.group_by("asset", "teacher", "model", "currency").agg(sums).sort("asset", "teacher", "model")
    money = costs.group_by("currency").agg(pl.col("cost").sum()).sort("currency")
    total = ", ".join(f"{cost:,.2f} {currency}" for currency, cost in money.iter_rows() if cost)
    says = f"In all {total or 'no money: the recipe has no prices'}" if costs.height else ""
    return Section(
        "What it cost",
        [
            {
                "asset": row["asset"],
                "teacher": row["teacher"] or "",
                "model": row["model"],
                "completions": f"{row['completions']:,}",
                "tokens": f"{row['completion_tokens']:,}",
                "engine hours": f"{row['engine_seconds'] / 3600:,.2f}",
                "cost": f"{row['cost']:,.2f} {row['currency']}" if row["cost"] else "no price",
            }
            for row in rows.iter_rows(named=True)
        ],
        says=[f"{says}; {costs['completions'].sum():,} completions."] if says else [],
        asset="generation_costs",
    )


def _ranking(lake: Lake, ranking: Table, by: str) -> list[Row]:
    rows = lake.scan(ranking).collect().sort(pl.col("domain") != OVERALL, "domain", "rank", by, nulls_last=True)
    return [
        {
            by: row[by],
            "domain": row["domain"],
            "rank": row["rank"],
            "score": _share(row["score"]),
            "±": _share(row["standard_error"]),
            "ahead of the next by": _share(row["difference_to_next"]),
            "p": "" if row["p_value"] is None else p_value(row["p_value"]).removeprefix("= "),
            "errors": errors_over(row["seeds"]),
            "best": "yes" if row["best"] else "",
            "items": row["items"],
        }
        for row in rows.iter_rows(named=True)
    ]


def _teachers(lake: Lake, recipe: Recipe) -> Section:
    rows = [
        {
            "teacher": row["teacher"],
            "own score": _share(row["own_score"]) or "not scored",
            "±": _share(row["own_standard_error"]),
            "answers": f"{row['answers']:,}",
            "mean tokens": "" if row["answer_tokens"] is None else f"{row['answer_tokens']:,.0f}",
            "cut off": _share(row["truncated"]),
            "final loss of its students": "" if row["final_loss"] is None else f"{row['final_loss']:.3f}",
        }
        for row in teacher_facts(lake, recipe).iter_rows(named=True)
    ]
    return Section("Teachers", rows, ["The better model is not always the better teacher."], TEACHER_RANKING.name)


def _references(lake: Lake, recipe: Recipe) -> list[Row]:
    return [
        row | {"score": _share(row["score"]), "standard_error": _share(row["standard_error"])}
        for row in reference_means(lake, recipe).iter_rows(named=True)
    ]


def _reported(recipe: Recipe) -> list[Row]:
    rows = reported_scores(recipe).iter_rows(named=True)
    return [{name: value if name == "reported" else _share(value) for name, value in row.items()} for row in rows]


def _studies(lake: Lake, recipe: Recipe) -> list[Row]:
    rows = []
    for study in recipe.studies:
        arms = lake.scan(STUDY_RESULTS, study=study.name).filter(version=current_version(lake, recipe, study))
        scores = arms.sort("score", descending=True).select("arm_name", "score", "error").collect()
        shown = ", ".join(f"{arm} {score:.1%} ± {error:.1%}" for arm, score, error in scores.iter_rows())
        decision = decision_of(lake, recipe, study) or "no decision yet"
        rows.append({"study": study.name, "question": study.question, "arms": shown or "none", "decision": decision})
    return rows


def _release(lake: Lake) -> Iterator[Section]:
    versions = lake.scan(RELEASE_VERSIONS).sort("made_at", descending=True).collect()
    scored = lake.scan(RELEASE_SCORES).collect().partition_by("teacher", "version", as_dict=True)
    yield Section(
        "Versions of the release",
        [
            {
                "version": row["version"],
                "teacher": row["teacher"],
                "made": f"{row['made_at']:%Y-%m-%d %H:%M} UTC",
                "rows": f"{row['rows']:,}",
                "questions": f"{row['questions']:,}",
                "scores of its student": _scores(scored.get((row["teacher"], row["version"]))),
                "path": row["path"],
            }
            for row in versions.iter_rows(named=True)
        ],
        asset="reasoning_dataset",
    )
    funnel = lake.scan(RELEASE_FUNNEL).group_by("teacher", "order", "step").agg(pl.col("questions", "answers").sum())
    rows = funnel.sort("teacher", "order").collect()
    yield Section(
        "How the release was chosen",
        [
            {name: f"{row[name]:,}" if name in ("questions", "answers") else row[name]
             for name in ("step", "teacher", "questions", "answers")}
            for row in rows.iter_rows(named=True)
        ],
        asset="reasoning_dataset",
    )  # fmt: skip


def _scores(rows: pl.DataFrame | None) -> str:
    """Show the mean of each benchmark with its standard error over items."""
    if rows is None:
        return ""
    parts = sorted(rows.partition_by("benchmark", as_dict=True).items())
    means = [(name, clustered_mean(own)) for (name,), own in parts]
    return ", ".join(f"{name} {mean.percent}" for name, mean in means)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
