"""Writes a study's report as one HTML file that needs no network."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

import polars as pl

from openthoughts_dagster.pages import Html, figure, heading, note, page, paragraph, preformatted, table
from openthoughts_dagster.pages.html import new_figure
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies.adoption import adopted_settings
from openthoughts_dagster.studies.contamination import ArmLeaks
from openthoughts_dagster.studies.costs import format_completion_costs, format_training_costs
from openthoughts_dagster.studies.decision import best_text, needed_text, p_value, score_text, score_unit
from openthoughts_dagster.studies.results import StudyResult

_LABEL = 36  # characters of a line of an arm's name beside the plot


def study_report(
    recipe: Recipe,
    study: Study,
    result: StudyResult,
    versions: pl.DataFrame,
    older: Sequence[str] = (),
    costs: pl.DataFrame | None = None,
    leaks: ArmLeaks | None = None,
    doubts: Sequence[str] = (),
) -> str:
    """Return the report as HTML. Every text from the recipe or the tables is escaped.

    Args:
        recipe: The recipe with the study.
        study: The study.
        result: Its result.
        versions: Rows of study_versions of this study.
        older: Decisions of older versions, as sentences.
        costs: What the arms took, as `arm_costs` returns it; the report says nothing of it when None.
        leaks: The training questions that leak from benchmarks; the report says nothing of them when None.
        doubts: Sentences about best sources that an arm takes although chance may have decided which ones these are.
    """
    return page(
        study.name,
        heading(study.name, 1),
        paragraph(study.question),
        note(f"Hypothesis: {study.hypothesis}" if study.hypothesis else ""),
        paragraph(result.decision, "lead"),
        _format_missing(result.missing),
        heading("Arms"),
        _plot_scores(study, result.arms),
        note(_explain_scores(study, result.arms)),
        table(_arm_cells(study, result.arms)),
        *_format_reported(study),
        heading("Differences"),
        note(
            f"In {score_unit(study)}, paired on the same items and seeds{_only_items(result.arms)}; p-values are "
            "corrected for all pairs (Holm). 'Could see' is the smallest true difference that this design finds in "
            "four of five studies; the seeds or items needed would find a difference of the measured size (-: over 100 "
            "seeds or 100 times the items, or not known from one seed)."
        ),
        table(_comparison_cells(study, result.comparisons)),
        heading("What was held equal"),
        paragraph(_describe_match(study, result.arms)),
        paragraph(leaks.says() if leaks else ""),
        *(note(f"{doubt}.") for doubt in doubts),
        *_format_costs(costs),
        heading("What to change in the recipe"),
        *_format_adoption(recipe, study, result.winner),
        heading("Versions"),
        table(_version_cells(versions)),
        *(note(text) for text in older),
    )


def _format_missing(keys: Sequence[str]) -> Html:
    few = ", ".join(keys[:6]) + (" ..." if len(keys) > 6 else "")
    return note(f"{len(keys)} students have no scores yet and are not compared: {few}" if keys else "")


def _only_items(arms: pl.DataFrame) -> str:
    return "" if int(arms["seeds"].min() or 0) > 1 else ". One seed: errors and p-values are over items only"  # type: ignore[arg-type]


def _explain_scores(study: Study, arms: pl.DataFrame) -> str:
    whose = "items and seeds" if int(arms["seeds"].min() or 0) > 1 else "items only (one seed)"  # type: ignore[arg-type]
    chance = "is the best" if study.best == 1 else f"is among the best {study.best}"
    return (
        f"Scores are {study.metric} in {score_unit(study)}, with standard errors; the bars are two standard errors "
        f"over {whose}, the thin lines over items alone. '{best_text(study).capitalize()}' is the probability that an "
        f"arm {chance}. Rows, tokens and steps are of one student."
    )


def _arm_cells(study: Study, arms: pl.DataFrame) -> Iterable[Mapping[str, str]]:
    for row in arms.iter_rows(named=True):
        one = row["error_seeds"] is None
        yield {
            "arm": row["arm_name"],
            "score": score_text(study, row["score"]),
            "± both": "unknown" if one else score_text(study, row["error"]),
            "± items": score_text(study, row["error_items"]),
            "± seeds": "one seed" if one else score_text(study, row["error_seeds"]),
            best_text(study): f"{row['chance_best']:.0%}",
            "questions": f"{row['questions']:,}",
            "rows": f"{row['rows'] or 0:,.0f}",
            "tokens": f"{row['train_tokens'] or 0:,.0f}",
            "steps": f"{row['steps'] or 0:,.0f}",
            "cut off": f"{row['truncated']:.1%}",
            "leaks": "unknown" if row["leaked_questions"] is None else f"{row['leaked_questions']:,}",
        }


def _format_costs(costs: pl.DataFrame | None) -> Sequence[Html]:
    if costs is None:
        return []
    cells, trainings = format_completion_costs(costs), format_training_costs(costs)
    return [
        heading("Cost"),
        note(
            "What the arms share is counted in each of them, and once in all arms. A judge's reply counts for the arm "
            "that asked first; the answers of the student before training, which serve all assets, are not counted."
        ),
        table(cells),
        table(trainings),
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


def _comparison_cells(study: Study, rows: pl.DataFrame) -> Iterable[Mapping[str, str]]:
    for row in rows.iter_rows(named=True):
        beyond = row["p_equivalent"]
        yield {
            "arms": f"{row['first']} - {row['second']}",
            "difference": score_text(study, row["difference"], "+"),
            "±": score_text(study, row["error"]),
            "p": p_value(row["p_holm"]).removeprefix("= "),
            **({"p beyond margin": p_value(beyond).removeprefix("= ")} if beyond is not None else {}),
            "could see": score_text(study, row["detectable"]),
            "seeds needed": needed_text(row["seeds_needed"]),
            "items needed": needed_text(row["items_needed"]),
        }


def _version_cells(versions: pl.DataFrame) -> Iterable[Mapping[str, str]]:
    for row in versions.sort("number").iter_rows(named=True):
        yield {
            "version": f"{row['number']} ({row['version']})",
            "first student": f"{row['frozen_at']:%Y-%m-%d %H:%M} UTC",
        }


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


def _format_adoption(recipe: Recipe, study: Study, winner: str | None) -> Sequence[Html]:
    if winner is None:
        return [paragraph("Nothing: the arms cannot be told apart, or they are equivalent.")]
    command = f"openthoughts study adopt {study.name}"
    return [paragraph(f"The settings of {winner} ({command}):"), preformatted(adopted_settings(recipe, study, winner))]


def _plot_scores(study: Study, arms: pl.DataFrame) -> Html:
    """Plot the scores as SVG with two standard errors over items and seeds and, thinner, over items alone."""
    labels = ["\n".join(wrap(name, _LABEL)) for name in arms["arm_name"].to_list()[::-1]]
    made, axes = new_figure(0.6 + sum(0.2 + 0.16 * (1 + label.count("\n")) for label in labels))
    scale, places = 1 if study.metric == "z_mean" else 100, list(range(arms.height))
    scores = [scale * value for value in arms["score"].to_list()[::-1]]
    both = [2 * scale * value for value in arms["error"].to_list()[::-1]]
    items = [2 * scale * value for value in arms["error_items"].to_list()[::-1]]
    axes.errorbar(scores, places, xerr=both, fmt="none", ecolor="#9db7d5", elinewidth=5)
    axes.errorbar(scores, places, xerr=items, fmt="o", color="#20446e", ecolor="#20446e", elinewidth=1.5)
    axes.set_yticks(places, labels)
    axes.margins(y=0.5 / (1 + arms.height))
    axes.set_xlabel(f"{study.metric}, {score_unit(study)}")
    return figure(made)
