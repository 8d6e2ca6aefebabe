"""The sections of the card, each from the facts."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import yaml

from openthoughts_dagster.evaluation import clustered_mean
from openthoughts_dagster.landing.escaping import escape_markdown
from openthoughts_dagster.release.card.drawing import FUNNEL_PLOT
from openthoughts_dagster.release.card.facts import CardFacts
from openthoughts_dagster.release.card.markdown import format_seconds, format_share, format_table
from openthoughts_dagster.release.card.responsible import describe_responsible_use


def _summary(facts: CardFacts) -> str:
    rows, questions = int(facts.sources["answers"].sum()), int(facts.sources["questions"].sum())
    teacher = facts.recipe.teacher(facts.teacher)
    revision = f", revision `{teacher.revision}`" if teacher.revision else ""
    short = "".join(f"\n\n**Short:** {escape_markdown(text)}" for text in facts.shortfalls)
    return (
        f"{rows:,} answers of the model {escape_markdown(_model_name(teacher.model))}{revision} to {questions:,} "
        f"questions of {facts.sources['source'].n_unique()} sources, made with the recipe "
        f"*{escape_markdown(facts.recipe.name)}* on {facts.made_at:%Y-%m-%d}. Version `{facts.version}`, licence "
        f"{facts.release.licence}. This card is written from the tables that the data set was made from.{short}"
    )


def _model_name(model: str) -> str:
    """Return a model's id on the hub, or the name of its folder: paths of the machine that made it say nothing."""
    return model if model.count("/") <= 1 and not model.startswith(("/", ".")) else model.rstrip("/").rpartition("/")[2]


def _load(facts: CardFacts) -> str:
    hub = facts.release.hub
    where = hub.repository if hub else "path/to/this/folder"
    revision = f', revision="v{facts.version}"' if hub else ""
    return (
        "```python\n"
        "from datasets import load_dataset\n\n"
        f'rows = load_dataset("{where}", split="train"{revision})  # conversations, as OpenThoughts3 has them\n'
        f'chat = load_dataset("{where}", "messages", split="train"{revision})  # messages, for TRL\n'
        f'questions = load_dataset("{where}", "questions", split="train"{revision})  # with all answers\n'
        "```\n"
        "`metadata` has, in the order of the rows, where each question is from, its licence, the model, tokens, scores "
        "and cost; `rejected` has what was left out, and why."
    )


def _recipe(facts: CardFacts) -> str:
    """Show the settings from the record, which names no place of a machine."""
    recipe = facts.record.get("recipe") or facts.recipe.model_dump(mode="json", exclude_defaults=True)
    domains = set(facts.sources["domain"])
    teacher = next(each for each in recipe["teachers"] if each["name"] == facts.teacher)
    settings = {
        "teacher": {name: teacher[name] for name in ("name", "revision", "sampling", "parameters") if name in teacher},
        **{
            name: recipe[name]
            for name in ("answers_per_question", "answer_filter", "decontamination")
            if name in recipe
        },
        "domains": {name: value for name, value in recipe.get("domains", {}).items() if name in domains},
        "release": {k: v for k, v in recipe["release"].items() if k not in ("hub", "card", "student", "title")},
    }
    text = yaml.safe_dump(_without_unset(settings), sort_keys=False, allow_unicode=True).replace("```", "` ` `")
    return f"The settings that decided the rows:\n```yaml\n{text}```"


def _without_unset(value: Any) -> Any:
    """Leave out settings that are null or empty, except of decontamination, where null switches a rule off."""
    if not isinstance(value, Mapping):
        return value
    kept = {name: inner if name == "decontamination" else _without_unset(inner) for name, inner in value.items()}
    return {name: inner for name, inner in kept.items() if inner is not None and inner != [] and inner != {}}


def _funnel(facts: CardFacts) -> str:
    steps = (
        facts.funnel.group_by("order", "step", maintain_order=True)
        .agg(pl.col("questions").sum(), pl.col("answers").sum(), notes=pl.col("note").unique().sort())
        .sort("order")
    )
    rows = [
        {"step": row["step"].replace("_", " "), "questions": row["questions"], "answers": row["answers"]}
        | {"note": "; ".join(note for note in row["notes"] if note)}
        for row in steps.iter_rows(named=True)
    ]
    plot = f"![Questions and answers that every step left]({FUNNEL_PLOT})"
    return f"{plot}\n\n{format_table(rows)}\n\nBy source, at the end:\n\n{format_table(_last_by_source(facts))}"


def _last_by_source(facts: CardFacts) -> pl.DataFrame:
    first = facts.funnel.filter(pl.col("order") == pl.col("order").min())
    last = facts.funnel.filter(pl.col("order") == pl.col("order").max())
    joined = first.select("source", "domain", asked="questions").join(
        last.select("source", questions="questions", answers="answers"), on="source", how="left"
    )
    return joined.sort("domain", "source")


def _sources(facts: CardFacts) -> str:
    notes = {source.name: source.note or "" for source in facts.recipe.sources}
    rows = [
        {name: row[name] for name in ("source", "domain", "licence", "questions", "answers")}
        | {"note": notes.get(row["source"], "")}
        for row in facts.sources.iter_rows(named=True)
    ]
    text = f"The release as a whole is under {facts.release.licence}.\n\n{format_table(rows)}"
    waivers = [{"source": w.source, "gate": w.gate, "reason": w.reason} for w in facts.release.gates.waive]
    if waivers:
        text += f"\n\nGates that single sources need not pass, with the reasons:\n\n{format_table(waivers)}"
    return text


def _decontamination(facts: CardFacts) -> str:
    found, rule = facts.decontamination, facts.recipe.decontamination
    unit = f"tokens of {rule.tokenizer}" if rule.tokenizer else "words"
    rules = [f"shares {rule.ngram} {unit} in a row" if rule.ngram else "", _describe_similarity(rule.similarity)]
    total, dropped = int(found.compared["questions"].sum()), int(found.dropped["questions"].sum())
    parts = [
        f"Every question was compared with {total:,} questions of {found.compared.height} benchmarks and sets. What "
        f"{' or '.join(rule for rule in rules if rule) or 'has anything in common'} with one of them is a leak. "
        f"Questions that were dropped as leaks: {dropped:,}.",
        format_table(found.compared),
    ]
    if found.unchecked:
        parts.append(f"**Not compared with:** {escape_markdown(', '.join(found.unchecked))}.")
    if found.dropped.height:
        parts.append(format_table(found.dropped))
    again = f" Of {found.sample.height} dropped ones, {found.sample_found_again} are found again."
    parts.append(
        f"Validated by samples, without the index that finds candidates: of {found.kept_checked:,} questions of this "
        f"version, drawn at random and compared with every benchmark question, {found.kept_leaks:,} leak."
        + (again if found.sample.height else "")
    )
    if found.sample.height:
        titles = ("source", "benchmark", "dropped question", "benchmark question")
        parts.append(format_table(found.sample.select("source", "benchmark", "question", "text"), titles))
    return "\n\n".join(parts)


def _describe_similarity(similarity: float | None) -> str:
    return f"has a similarity of {similarity:g} or more (Indel ratio, 0 to 100)" if similarity else ""


def _limits(facts: CardFacts) -> str:
    sources = facts.sources
    answers, questions = int(sources["answers"].sum()), int(sources["questions"].sum())
    cut, references = int(sources["cut_off"].sum()), int(sources["with_reference"].sum())
    filters = [keep.method for keep in (facts.recipe.answer_filter, facts.release.answer_filter) if keep is not None]
    named = " and then by ".join(f"`{method}`" for method in dict.fromkeys(filters))
    scripts = ", ".join(f"{name} {format_share(share)}" for name, share in facts.scripts.items())
    lines = [
        f"- **Cut off:** {cut:,} of {answers:,} answers ({format_share(cut / max(1, answers))}) end without their end: "
        "at a limit of tokens, or inside of their reasoning.",
        f"- **Not verified:** {references:,} of {questions:,} questions have a reference answer. Answers were filtered "
        f"by {named}; "
        + (
            "answers that disagree with the reference were dropped."
            if "verified" in filters
            else "no answer was compared with a reference, so some are wrong."
        ),
        "- **Languages:** not detected. Letters of other scripts than Latin, by share of a sample of answers: "
        f"{scripts or 'none'}.",
    ]
    if facts.personal_data is not None:
        lines.append(f"- **Personal data:** {escape_markdown(facts.personal_data.says)}.")
    lines += [f"- **Short:** {escape_markdown(text)}" for text in facts.shortfalls]
    rows = sources.select(
        "source",
        "answers",
        cut_off=(100 * pl.col("cut_off") / pl.col("answers")).round(1),
        tokens=pl.col("median_tokens"),
        reference=(100 * pl.col("with_reference") / pl.col("questions")).round(1),
    )
    titles = ("source", "answers", "cut off, %", "median tokens", "questions with a reference, %")
    return "\n".join(lines) + f"\n\n{format_table(rows, titles)}"


def _cost(facts: CardFacts) -> str:
    if facts.costs.is_empty():
        return "The ledger has no completion of these sources."
    rows = [
        {
            "asked by": row["asset"],
            "model": row["model"],
            "completions": row["completions"],
            "tokens": row["tokens"],
            "time of engines": format_seconds(row["engine_seconds"]),
            "cost": f"{row['cost']:,.2f} {row['currency']}" if row["cost"] else "no price in the recipe",
        }
        for row in facts.costs.iter_rows(named=True)
    ]
    return (
        f"What the ledger has for these sources, answers that are not in this version included:\n\n{format_table(rows)}"
    )


def _studies(facts: CardFacts) -> str:
    if not facts.studies:
        return "No study of this recipe has a result."
    parts = []
    for study in facts.studies:
        arms = [
            {
                "arm": row["arm_name"],
                "score": f"{row['score']:.1%} ± {row['error']:.1%}",
                "seeds": row["seeds"],
                "items": row["items"],
                "rows": row["rows"],
            }
            for row in study.arms.iter_rows(named=True)
        ]
        head = f"**{escape_markdown(study.name)}**: {escape_markdown(study.question)}"
        parts.append(f"{head} {escape_markdown(study.decision)}\n\n{format_table(arms)}")
    return "Scores with their standard errors over items and seeds.\n\n" + "\n\n".join(parts)


def _scores(facts: CardFacts) -> str:
    if facts.student is None or facts.scores.is_empty():
        return "No student was trained and scored on this version."
    rows = []
    for (name,), own in sorted(facts.scores.partition_by("benchmark", as_dict=True).items()):
        after, before = clustered_mean(own), clustered_mean(own.select("item", score="untrained_score"))
        rows.append(
            {
                "benchmark": name,
                "score": after.percent,
                "before training": f"{before.mean:.1%}",
                "items": after.items,
            }
        )
    student = facts.recipe.student.model_copy(update=dict(facts.release.student))
    return (
        f"{escape_markdown(_model_name(student.model))}, fine-tuned on {facts.student['rows']:,} rows "
        f"({facts.student['train_tokens']:,} tokens, {facts.student['steps']:,} steps). ± is one standard error over "
        f"benchmark items; one training says nothing of other seeds.\n\n{format_table(rows)}"
    )


def _rebuild(facts: CardFacts) -> str:
    text = (
        "The version is the hash of its rows. From the same tables the same rows are made again with\n"
        f"```\nopenthoughts release rebuild {facts.version}\n```\n"
        "`release.json` has the recipe, the versions of all tables, the code and the libraries that it was made with, "
        "and `manifest.parquet` the hash of every row."
    )
    record = facts.record
    made_with = {
        "code": f"{record['code']['version']} ({record['code']['sources'][:12]})" if "code" in record else "",
        "recipe": str(record.get("recipe_hash", ""))[:12],
        **{name: str(number) for name, number in record.get("libraries", {}).items()},
    }
    return f"{text}\n\n{format_table([{'part': name, 'version': value} for name, value in made_with.items() if value])}"


SECTIONS: Mapping[str, Callable[[CardFacts], str]] = {
    "title": lambda facts: escape_markdown(" ".join(facts.release.title.split())),
    "name": lambda facts: facts.release.name,
    "version": lambda facts: facts.version,
    "licence": lambda facts: facts.release.licence,
    "summary": _summary,
    "load": _load,
    "recipe": _recipe,
    "funnel": _funnel,
    "sources": _sources,
    "decontamination": _decontamination,
    "limits": _limits,
    "responsible": describe_responsible_use,
    "cost": _cost,
    "studies": _studies,
    "scores": _scores,
    "rebuild": _rebuild,
}
"""What stands in the place of each field of a template."""
