"""The gates that look at the names and numbers of rows: licences, completeness, truncation."""

import polars as pl

from openthoughts_dagster.lake import REJECTED_ANSWERS, REJECTED_RELEASE, Lake
from openthoughts_dagster.recipe import Recipe, Release
from openthoughts_dagster.recipe.recipe import UnknownNameError
from openthoughts_dagster.recipe.studies import BestSources
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.gates.result import SHOWN, GateResult, waivers_of
from openthoughts_dagster.release.licences import find_licence_problems
from openthoughts_dagster.release.texts import scan_answers, scan_questions, scan_rows

_FAILURES = ("missing", "error")
"""Reasons in rejected_answers of answers that were asked for and are not there."""
_QUESTION = ["source", "question_id"]
_LICENCE_PROBLEMS = {"source": pl.String, "licence": pl.String, "rows": pl.Int64, "problem": pl.String}
_LOST = (pl.lit("completion"), pl.lit("question"))
_RENEW = "materialize raw_sources and what follows with the present licence, and then reasoning_dataset"


def check_licences(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """Every row has a licence that is known, allowed, and agrees with the licence of the release."""
    release = release_of(recipe)
    rows = scan_rows(lake, teacher).group_by("source", "licence").agg(rows=pl.len()).collect()
    problems = list(
        find_licence_problems(rows, release.licence, release.allowed_licences, waivers_of(release, "licence"))
    )
    shown = pl.DataFrame(
        [{"source": p.source, "licence": p.licence, "rows": p.rows, "problem": p.problem} for p in problems],
        schema=_LICENCE_PROBLEMS,
    )
    stale, lost, total = (
        _find_changed_licences(lake, recipe, teacher),
        int(shown["rows"].sum()),
        int(rows["rows"].sum()),
    )
    says = f"{rows.height} licences of {total:,} rows agree with {release.licence}"
    if problems:
        says = f"{lost:,} of {total:,} rows may not be in a release under {release.licence}"
    elif stale.height:
        says = f"{stale['rows'].sum():,} of {total:,} rows have another licence by now than they had in the release"
    remedies = [f"{p.source}: {p.remedy}" for p in problems]
    remedies += [f"{source}: {_RENEW}" for source in stale["source"].unique().sort()]
    return GateResult(
        "licence", not remedies, says, "\n".join(remedies), pl.concat([shown, stale]), {"rows_stopped": lost}
    )


def check_completeness(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """Every source has rows, every row has its texts, and few answers that should be there are missing."""
    release = release_of(recipe)
    waived = list(waivers_of(release, "completeness"))
    counts = _missing_by_source(lake, recipe, teacher).filter(~pl.col("source").is_in(waived))
    gone = _find_lost_texts(lake, teacher)
    there = set(scan_rows(lake, teacher).select(pl.col("source").unique()).collect()["source"])
    named = [] if isinstance(release.sources, BestSources) else release.sources
    absent = [name for name in named if name not in {*there, *waived}]
    strangers = sorted(there - {*named}) if named else []
    missing, wanted = int(counts["missing"].sum()), int(counts["wanted"].sum())
    share = missing / max(1, wanted)
    problems, remedies = [], []
    if absent:
        problems.append(f"no rows of {', '.join(absent)}")
        remedies.append(f"materialize teacher_answers of {', '.join(absent)} with {teacher}, and reasoning_dataset")
    if strangers:
        problems.append(f"rows of {', '.join(strangers)}, which release.sources does not name")
        remedies.append("materialize reasoning_dataset again")
    if wanted == 0:
        problems.append("there are no rows")
        remedies.append("materialize reasoning_dataset")
    if gone.height:
        problems.append(f"{gone.height:,} rows name a question or a completion that the lake does not have")
        remedies.append("materialize reasoning_dataset again")
    if share > release.gates.missing:
        problems.append(
            f"{missing:,} of {wanted:,} answers are missing ({share:.1%}, at most {release.gates.missing:.1%})"
        )
        asked, wants = recipe.answers_per_question, release.answers_per_question or 0
        more = f"raise answers_per_question, which is {asked}, to the release's {wants}, and " if wants > asked else ""
        remedies.append(
            f"{more}ask for the missing answers (openthoughts backfill --teacher {teacher}; openthoughts retry for "
            "those that were refused), or waive a source with a reason"
        )
    says = "; ".join(problems) or f"{wanted - missing:,} of {wanted:,} answers are there"
    shown = counts.filter(pl.col("missing") > 0).sort("missing", descending=True).head(SHOWN)
    shown = pl.concat([gone.head(SHOWN), shown], how="diagonal") if gone.height else shown
    return GateResult(
        "completeness", not problems, says, "\n".join(remedies), shown, {"wanted": wanted, "missing": missing}
    )


def check_truncation(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """At most the recipe's share of answers is cut off."""
    release = release_of(recipe)
    limit, waived = release.gates.truncated, list(waivers_of(release, "truncation"))
    by_source = (
        scan_answers(lake, teacher, "outcome")
        .group_by("source")
        .agg(answers=pl.len(), cut_off=(pl.col("outcome") == "unfinished").sum())
        .sort("source")
        .collect()
        .filter(~pl.col("source").is_in(waived))
    )
    answers, cut = int(by_source["answers"].sum()), int(by_source["cut_off"].sum())
    share = cut / max(1, answers)
    shares = by_source.with_columns(share=(pl.col("cut_off") / pl.col("answers")).round(4))
    passed = share <= limit
    remedy = (
        f"raise max_tokens of {teacher} and answer again, drop cut-off answers with an answer_filter, or raise "
        "release.gates.truncated"
    )
    says = f"{cut:,} of {answers:,} answers are cut off ({share:.1%}, at most {limit:.1%})"
    return GateResult(
        "truncation",
        passed,
        says,
        "" if passed else remedy,
        shares.sort("share", descending=True).head(SHOWN),
        {"cut_off": cut},
    )


def _missing_by_source(lake: Lake, recipe: Recipe, teacher: str) -> pl.DataFrame:
    """Count for each source the answers that should be there, and those that are missing though no filter dropped them.

    Questions of which every request failed count too, unless a size says how many questions are drawn: others were.
    """
    release = release_of(recipe)
    samples = release.answers_per_question or recipe.answers_per_question
    there = scan_rows(lake, teacher).group_by(_QUESTION).agg(there=pl.len().cast(pl.Int64))
    left_out = lake.scan(REJECTED_RELEASE, teacher=teacher)
    unanswered = left_out.filter(pl.col("reason") == "no_answer", ~pl.col("source").is_in(_sized(recipe, release)))
    dropped = [
        lake.scan(REJECTED_ANSWERS, teacher=teacher).filter(~pl.col("reason").is_in(_FAILURES)).select(_QUESTION),
        left_out.filter(pl.col("sample_index").is_not_null()).select(_QUESTION),
    ]
    filtered = pl.concat(dropped).group_by(_QUESTION).agg(dropped=pl.len().cast(pl.Int64))
    missing = samples - pl.col("there") - pl.col("dropped").fill_null(0)
    return (
        pl.concat([there, unanswered.select(*_QUESTION, there=pl.lit(0, dtype=pl.Int64))])
        .join(filtered, on=_QUESTION, how="left")
        .with_columns(missing=pl.max_horizontal(missing, 0))
        .group_by("source")
        .agg(wanted=(pl.col("there") + pl.col("missing")).sum(), missing=pl.col("missing").sum(), questions=pl.len())
        .sort("source")
        .collect()
    )


def _sized(recipe: Recipe, release: Release) -> list[str]:
    """List the sources of which a number of questions is drawn."""
    sources = [] if isinstance(release.sources, BestSources) else release.sources
    if not sources:
        return [source.name for source in recipe.sources if source.domain in release.sizes]
    return [name for name in sources if name in release.sizes or recipe.source(name).domain in release.sizes]


def _find_lost_texts(lake: Lake, teacher: str) -> pl.DataFrame:
    """Find the rows whose completion, or whose question, the lake does not have; a question counts once."""
    answers = scan_answers(lake, teacher).filter(~pl.col("found")).select(*_QUESTION, "sample_index", lost=_LOST[0])
    questions = scan_questions(lake, teacher).filter(pl.col("question").is_null()).select(*_QUESTION, lost=_LOST[1])
    return pl.concat([answers, questions], how="diagonal").sort(*_QUESTION, "sample_index").collect()


def _licence_in_recipe(recipe: Recipe, source: str) -> str | None:
    try:
        return recipe.source(source).licence
    except UnknownNameError:
        return None


def _find_changed_licences(lake: Lake, recipe: Recipe, teacher: str) -> pl.DataFrame:
    """Count the rows whose licence is no longer that of their question in the tables, or of their source in the recipe.

    A source that was read before its licence was corrected has the old one in every table.
    """
    now = scan_questions(lake, teacher).select(*_QUESTION, now="licence")
    rows = scan_rows(lake, teacher).select(*_QUESTION, "licence").join(now, on=_QUESTION, how="left")
    counted = rows.group_by("source", "licence", "now").agg(rows=pl.len().cast(pl.Int64)).collect()
    found = []
    for source, licence, read, count in counted.sort("source", "licence", "now").iter_rows():
        here = _licence_in_recipe(recipe, source) or licence
        others = {f"{read} in deduped_questions": read or licence, f"{here} in the recipe": here}
        if says := [text for text, value in others.items() if value != licence]:
            problem = f"is {' and '.join(says)}"
            found.append({"source": source, "licence": licence, "rows": count, "problem": problem})
    return pl.DataFrame(found, schema=_LICENCE_PROBLEMS)
