"""Writes a study's report as one HTML file that needs no network."""

import json
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
import yaml

from openthoughts_dagster.pages import Html, figure, heading, note, page, paragraph, preformatted, table
from openthoughts_dagster.pages.html import new_figure
from openthoughts_dagster.recipe import identity_of
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies.results import StudyResult, p_value


def adopted_settings(study: Study, arm: str) -> str:
    """Return the settings that an arm and its base override, as YAML for the recipe.

    Args:
        study: The study.
        arm: Name of one of its arms.

    Raises:
        KeyError: The study has no such arm.
    """
    chosen = study.variants()[arm]
    over = {name: value for name, value in identity_of(chosen).items() if name in chosen.model_fields_set}
    return str(yaml.safe_dump(json.loads(json.dumps(over, default=str)), sort_keys=False, allow_unicode=True))


def study_report(
    study: Study,
    result: StudyResult,
    versions: pl.DataFrame,
    older: Sequence[str] = (),
    costs: pl.DataFrame | None = None,
) -> str:
    """Return the report as HTML. Every text from the recipe or the tables is escaped.

    Args:
        study: The study.
        result: Its result.
        versions: Rows of study_versions of this study.
        older: Decisions of older versions, as sentences.
        costs: What the arms took, as `arm_costs` returns it; the report says nothing of it when None.
    """
    return page(
        study.name,
        heading(study.name, 1),
        paragraph(study.question),
        note(f"Expected before: {study.hypothesis}" if study.hypothesis else ""),
        paragraph(result.decision, "lead"),
        _format_missing(result.missing),
        heading("Arms"),
        _plot_scores(result.arms, study.metric),
        table(_arm_cells(result.arms)),
        *_format_reported(study),
        heading("Differences"),
        note(
            "Paired on the same items and seeds; p-values are corrected for all pairs (Holm). 'Could see' is the "
            "smallest true difference that this design finds in four of five studies."
        ),
        table(_comparison_cells(result.comparisons)),
        heading("What was held equal"),
        paragraph(_describe_match(study, result.arms)),
        *_format_costs(costs),
        heading("What to change in the recipe"),
        *_format_adoption(study, result.winner),
        heading("Versions"),
        table(_version_cells(versions)),
        *(note(text) for text in older),
    )


def _format_missing(keys: Sequence[str]) -> Html:
    few = ", ".join(keys[:6]) + (" ..." if len(keys) > 6 else "")
    return note(f"{len(keys)} students have no scores yet and are not compared: {few}" if keys else "")


def _arm_cells(arms: pl.DataFrame) -> Iterable[Mapping[str, str]]:
    for row in arms.iter_rows(named=True):
        seeds = "one seed" if row["error_seeds"] is None else f"{100 * row['error_seeds']:.1f}"
        yield {
            "arm": row["arm_name"],
            "score": f"{100 * row['score']:.1f}",
            "± both": f"{100 * row['error']:.1f}",
            "± items": f"{100 * row['error_items']:.1f}",
            "± seeds": seeds,
            "best in": f"{row['chance_best']:.0%}",
            "questions": f"{row['questions']:,}",
            "rows": f"{row['rows'] or 0:,.0f}",
            "tokens": f"{row['train_tokens'] or 0:,.0f}",
            "steps": f"{row['steps'] or 0:,.0f}",
            "cut off": f"{row['truncated']:.1%}",
        }


def _format_costs(costs: pl.DataFrame | None) -> Sequence[Html]:
    if costs is None:
        return []
    cells = [
        {
            "arm": row["arm"],
            "answers generated": f"{row['completions']:,}",
            "tokens": f"{row['completion_tokens']:,}",
            "engine seconds": f"{row['engine_seconds']:,.1f}",
            "cost": row["cost"],
            "students": str(row["students"]),
            "training seconds": f"{row['training_seconds']:,.1f}",
        }
        for row in costs.iter_rows(named=True)
    ]
    return [
        heading("Cost"),
        note("What the arms share is counted in each of them, and once in all arms. Evaluations are not counted."),
        table(cells),
    ]


def _format_reported(study: Study) -> Iterable[Html]:
    if study.reported is None:
        return []
    return [
        heading("What others reported"),
        note(f"Not measured here, and in no comparison: {study.reported.what}. {study.reported.by}."),
        table(reported_cells(study)),
    ]


def reported_cells(study: Study) -> list[dict[str, str]]:
    """Return the published scores, the best first, with whether the study has an arm of the name."""
    arms, reported = study.variants(), study.reported
    scores = sorted(reported.scores.items(), key=lambda entry: -entry[1]) if reported else []
    return [
        {"arm": arm, "reported score": f"{score:.1f}", "an arm here": "yes" if arm in arms else "no"}
        for arm, score in scores
    ]


def _comparison_cells(rows: pl.DataFrame) -> Iterable[Mapping[str, str]]:
    for row in rows.iter_rows(named=True):
        yield {
            "arms": f"{row['first']} - {row['second']}",
            "difference": f"{100 * row['difference']:+.1f}",
            "±": f"{100 * row['error']:.1f}",
            "p": p_value(row["p_holm"]).removeprefix("= "),
            "p beyond margin": "" if row["p_equivalent"] is None else p_value(row["p_equivalent"]).removeprefix("= "),
            "could see": f"{100 * row['detectable']:.1f}",
            "seeds needed": "over 100" if row["seeds_needed"] is None else str(row["seeds_needed"]),
        }


def _version_cells(versions: pl.DataFrame) -> Iterable[Mapping[str, str]]:
    for row in versions.sort("number").iter_rows(named=True):
        yield {"version": f"{row['number']} ({row['version']})", "first student": f"{row['frozen_at']:%Y-%m-%d %H:%M}"}


def _describe_match(study: Study, arms: pl.DataFrame) -> str:
    parts = []
    for name in ("rows", "train_tokens", "steps"):
        values = arms[name].drop_nulls()
        if values.is_empty():
            continue
        low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
        word = name.replace("train_", "")
        parts.append(f"{word}: {low:,.0f}" if low == high else f"{word}: {low:,.0f} to {high:,.0f}")
    matched = "holds nothing equal" if study.match == "none" else f"matches its arms by {study.match}"
    return f"The study {matched}. {'; '.join(parts)} for each student."


def _format_adoption(study: Study, winner: str | None) -> Sequence[Html]:
    if winner is None:
        return [paragraph("Nothing: the arms cannot be told apart, or they are equivalent.")]
    command = f"openthoughts study adopt {study.name}"
    return [paragraph(f"The settings of {winner} ({command}):"), preformatted(adopted_settings(study, winner))]


def _plot_scores(arms: pl.DataFrame, metric: str) -> Html:
    """Plot the scores as SVG with the 95% intervals over items and seeds and, darker, over items alone."""
    made, axes = new_figure(0.6 + 0.36 * arms.height)
    names, scores = arms["arm_name"].to_list()[::-1], [100 * value for value in arms["score"].to_list()[::-1]]
    both = [196 * value for value in arms["error"].to_list()[::-1]]
    items = [196 * value for value in arms["error_items"].to_list()[::-1]]
    axes.errorbar(scores, names, xerr=both, fmt="none", ecolor="#9db7d5", elinewidth=5)
    axes.errorbar(scores, names, xerr=items, fmt="o", color="#20446e", ecolor="#20446e", elinewidth=1.5)
    axes.set_xlabel(f"{metric}, points (bars: 1.96 standard errors over items and seeds; thin: items alone)")
    return figure(made)
