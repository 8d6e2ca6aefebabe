"""What could be wrong with a partition, looked up in the tables themselves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import (
    BENCHMARK_SCORES,
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    GENERATION_COSTS,
    RAW_SOURCES,
    REJECTED_ANSWERS,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TEACHER_ANSWERS,
    TEACHER_RANKING,
    Lake,
)
from openthoughts_dagster.questions import Texts, compared_questions, find_leaks, source_sample
from openthoughts_dagster.questions.decisions import STEPS
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import Folders, joined

_FAILED_SCORES = 0.05
_REJECTED_ROWS = 0.1
_TRUNCATED = 0.05
_ABLE = 0.5


@dataclass(frozen=True)
class Partition:
    """What a rule looks at; source and teacher are empty where the asset is not partitioned by them.

    `recorded` is the metadata of the partition's latest materialization.
    """

    recipe: Recipe
    lake: Lake
    source: str
    teacher: str
    recorded: Mapping[str, Any]

    def scan(self, table: Any, **more: str) -> pl.LazyFrame:
        """The table's rows of this partition, not read yet."""
        keys = {"source": self.source, "teacher": self.teacher} | more
        return self.lake.scan(table, **{k: v for k, v in keys.items() if v and k in table.columns})

    def rows(self, table: Any, **more: str) -> pl.DataFrame:
        """The table's rows of this partition."""
        return self.scan(table, **more).collect()

    def count(self, table: Any, **more: str) -> int:
        """How many rows the table has of this partition; reads none of them."""
        return int(self.scan(table, **more).select(pl.len()).collect().item())


@dataclass(frozen=True)
class Finding:
    """Whether the rule holds, what it says, and the numbers behind it."""

    passed: bool
    says: str
    numbers: dict[str, Any] = field(default_factory=dict)


Rule = Callable[[Partition], Finding]


def tiny_models_are_able(at: Partition) -> Finding:
    """The quickstart's models load as checkpoints, and each solves most of the held-out problems of its own task."""
    folder, files = at.recipe.path(at.recipe.tiny_models or ""), Folders()
    names = ["student", "worked", "direct", "judge"]
    missing = [name for name in names if "training.json" not in files.listed(joined(folder, name))]
    if missing:
        return Finding(False, f"{folder} lacks {', '.join(missing)}")
    reports = {name: json.loads(files.read(joined(folder, name), "training.json")) for name in names}
    accuracy = {name: float(report["accuracy"]) for name, report in reports.items()}
    weak = [name for name in ("worked", "judge") if accuracy[name] < _ABLE]
    says = ", ".join(f"{name}: {share:.0%}" for name, share in accuracy.items())
    return Finding(not weak, f"right on held-out problems: {says}", accuracy)


def raw_rows_add_up(at: Partition) -> Finding:
    """Kept and rejected rows are as many as the source had."""
    kept, rejected = at.count(RAW_SOURCES), at.count(REJECTED_QUESTIONS, stage="raw_sources")
    rows_in = int(at.recorded.get("rows_in", -1))
    return Finding(
        kept + rejected == rows_in,
        f"{kept:,} kept and {rejected:,} rejected of {rows_in:,} rows",
        {"rows_in": rows_in, "kept": kept, "rejected": rejected},
    )


def raw_questions_are_whole(at: Partition) -> Finding:
    """Ids are unique, no question is blank, and every row says where it is from."""
    counts = at.scan(RAW_SOURCES).select(
        rows=pl.len(),
        ids=pl.col("question_id").n_unique(),
        blank=(pl.col("question").str.strip_chars() == "").sum(),
        no_origin=pl.col("origin").str.strip_chars().is_in(["", "{}"]).sum(),
        no_answer=pl.col("reference_answer").null_count(),
    )
    found = counts.collect(engine="streaming").row(0, named=True)  # a source may be larger than memory
    rows, repeated = found["rows"], found["rows"] - found["ids"]
    return Finding(
        rows > 0 and repeated + found["blank"] + found["no_origin"] == 0,
        f"{rows:,} questions; {repeated} repeated ids, {found['blank']} blank, {found['no_origin']} without origin",
        {
            "repeated_ids": repeated,
            "blank": found["blank"],
            "reference_answer_null_rate": found["no_answer"] / max(1, rows),
        },
    )


def raw_few_rejected(at: Partition) -> Finding:
    """At most one row in ten is no question; more usually means a wrong column."""
    kept, rejected = at.count(RAW_SOURCES), at.count(REJECTED_QUESTIONS, stage="raw_sources")
    share = rejected / max(1, kept + rejected)
    return Finding(share <= _REJECTED_ROWS, f"{share:.1%} of the rows were rejected", {"rejected_share": share})


def scored_are_the_raw_questions(at: Partition) -> Finding:
    """No question was lost or invented while scoring."""
    raw, scored = set(at.rows(RAW_SOURCES)["question_id"]), set(at.rows(SCORED_QUESTIONS)["question_id"])
    numbers = {"missing": len(raw - scored), "unknown": len(scored - raw)}
    says = f"{numbers['missing']} questions without scores, {numbers['unknown']} that raw_sources does not have"
    return Finding(raw == scored, says, numbers)


def scores_are_present(at: Partition) -> Finding:
    """At most one score in twenty is null: a judge whose replies cannot be read scores nothing."""
    rows = [json.loads(row) for row in at.rows(SCORED_QUESTIONS)["scores"]]
    expected = at.recipe.scores_for(at.recipe.source(at.source).domain)
    rates = {s.name: sum(row.get(s.name) is None for row in rows) / max(1, len(rows)) for s in expected}
    says = ", ".join(f"{name}: {rate:.1%} null" for name, rate in rates.items()) or "the recipe asks for no score"
    return Finding(all(rate <= _FAILED_SCORES for rate in rates.values()), says, rates)


def curated_rows_add_up(at: Partition) -> Finding:
    """At every step of curation, what went in is what was kept and what was rejected, and the last step's is kept."""
    kept = at.count(DEDUPED_QUESTIONS)
    scored = at.count(SCORED_QUESTIONS)
    reasons = at.scan(REJECTED_QUESTIONS, stage="deduped_questions").group_by("reason").len().collect()
    rejected = dict(reasons.iter_rows())
    left, problems = scored, []
    recorded = [count for _, count in at.recorded.get("steps", [])][1:]
    for number, (step, names) in enumerate(STEPS.items()):
        left -= sum(rejected.pop(reason, 0) for reason in names)
        if number < len(recorded) and left != recorded[number]:
            problems.append(f"{step} left {recorded[number]:,}, and {left:,} by what it rejected")
    left -= sum(rejected.values())
    problems += [f"reasons of no step: {', '.join(rejected)}"] if rejected else []
    problems += [f"{kept:,} are kept"] if kept != left else []
    says = f"{kept:,} kept and {reasons['len'].sum():,} rejected of {scored:,} scored questions"
    return Finding(not problems, "; ".join([says, *problems]), {"rows_in": scored, "kept": kept})


def curated_questions_are_unique(at: Partition) -> Finding:
    """No id occurs twice, and no text does where the recipe deduplicates."""
    rows = at.scan(DEDUPED_QUESTIONS).select("question_id", "question").collect()
    ids = rows.height - rows["question_id"].n_unique()
    texts = rows.height - len(set(Texts.of(rows["question"]).hashes().tolist()))
    deduplicates = at.recipe.domain(at.recipe.source(at.source).domain).dedup.method != "none"
    says = f"{ids} repeated ids, {texts} repeated texts in {rows.height:,} questions"
    return Finding(rows.height > 0 and ids == 0 and not (deduplicates and texts), says, {"ids": ids, "texts": texts})


def no_benchmark_questions(at: Partition) -> Finding:
    """No kept question leaks from a benchmark."""
    own, _ = benchmark_questions(at.recipe.evaluation, at.recipe.path)
    benchmarks = compared_questions(own, at.recipe.evaluation, at.recipe.decontamination, at.recipe.path)
    kept, scored = at.scan(DEDUPED_QUESTIONS), at.scan(SCORED_QUESTIONS)
    source = source_sample(scored, scored.select("question_id").collect()["question_id"])
    texts = Texts.of(kept.select("question").collect()["question"])
    leaks = len(find_leaks(texts, at.recipe.decontamination, benchmarks, source).decisions)
    says = f"{leaks} of {len(texts):,} kept questions leak from {benchmarks.height:,} benchmark questions"
    return Finding(leaks == 0, says, {"leaks": leaks})


def every_benchmark_was_compared(at: Partition) -> Finding:
    """The questions of every benchmark are known, so that leaks from it can be found."""
    _, unchecked = benchmark_questions(at.recipe.evaluation, at.recipe.path)
    says = f"not compared with {', '.join(unchecked)}: give them `questions` in the recipe"
    return Finding(not unchecked, says if unchecked else "compared with all", {"unchecked_benchmarks": len(unchecked)})


def answers_are_complete(at: Partition) -> Finding:
    """Each question has all its answers, kept or rejected with a reason, and each kept one has its text."""
    wanted = at.rows(DEDUPED_QUESTIONS).height * at.recipe.answers_per_question
    keys = at.rows(TEACHER_ANSWERS).select("question_id", "sample_index")
    rejected = at.rows(REJECTED_ANSWERS).height
    texts = at.lake.answers(source=at.source, teacher=at.teacher).select(pl.len()).collect().item()
    repeated = keys.height - keys.unique().height
    return Finding(
        wanted == keys.height + rejected and texts == keys.height and repeated == 0,
        f"{keys.height:,} kept and {rejected:,} rejected of {wanted:,} answers; {keys.height - texts} without text",
        {"wanted": wanted, "kept": keys.height, "rejected": rejected, "repeated": repeated},
    )


def traces_are_closed(at: Partition) -> Finding:
    """At most one answer in twenty was cut off, by max_tokens or a runaway guard, or never left its <think>."""
    rows = at.lake.answers(source=at.source, teacher=at.teacher).select("outcome").collect()
    cut = rows.filter(outcome="unfinished").height
    share = cut / max(1, rows.height)
    return Finding(share <= _TRUNCATED, f"{share:.1%} of {rows.height:,} traces are cut off", {"truncated": cut})


def costs_add_up(at: Partition) -> Finding:
    """Every completion of the ledger is in the account once."""
    ledger, account = at.lake.scan(COMPLETIONS).select(pl.len()).collect().item(), at.rows(GENERATION_COSTS)
    counted = int(account["completions"].sum())
    return Finding(ledger == counted, f"{counted:,} of {ledger:,} completions are accounted for", {"counted": counted})


def checkpoint_is_whole(at: Partition) -> Finding:
    """The checkpoint folder has weights, configuration and tokenizer."""
    rows = at.rows(STUDENT_CHECKPOINTS)
    if rows.height != 1:
        return Finding(False, f"student_checkpoint has {rows.height} rows for this partition, expected 1")
    folder = str(rows["path"].item())
    there = Folders().listed(folder)
    missing = [name for name in ("config.json", "tokenizer.json") if name not in there]
    missing += [] if any(name.endswith(".safetensors") for name in there) else ["*.safetensors"]
    return Finding(not missing, f"{folder} lacks {', '.join(missing)}" if missing else f"{folder} is whole")


def loss_fell(at: Partition) -> Finding:
    """The training loss at the end is below that at the start."""
    losses = [loss for _, loss in json.loads(at.rows(STUDENT_CHECKPOINTS)["losses"].item())]
    says = f"training loss went from {losses[0]:.3f} to {losses[-1]:.3f}"
    return Finding(losses[-1] < losses[0], says, {"first_loss": losses[0], "final_loss": losses[-1]})


def every_item_is_scored(at: Partition) -> Finding:
    """Every item of every benchmark has one score from 0 to 1 over all its repeats."""
    rows, problems = at.rows(BENCHMARK_SCORES), []
    questions, _ = benchmark_questions(at.recipe.evaluation, at.recipe.path)
    for benchmark in at.recipe.evaluation.benchmarks:
        own = rows.filter(benchmark=benchmark.name)
        known = questions.filter(benchmark=benchmark.name).height
        items = min(known, benchmark.items or known) or own.height
        if own.height == 0 or own["item"].n_unique() != items:
            problems.append(f"{benchmark.name}: {own['item'].n_unique()} of {items} items scored")
        if own.filter(~pl.col("score").is_between(0, 1) | (pl.col("repeats") != benchmark.repeats)).height:
            problems.append(f"{benchmark.name}: scores outside 0 to 1, or other repeats than {benchmark.repeats}")
    return Finding(not problems, "; ".join(problems) or f"{rows.height:,} items scored", {"items": rows.height})


def beats_untrained(at: Partition) -> Finding:
    """Training on this cell made the student better at the benchmarks."""
    rows = at.rows(BENCHMARK_SCORES)
    score, before = (float(rows[column].to_numpy().mean()) for column in ("score", "untrained_score"))
    return Finding(score > before, f"{score:.1%} after training, {before:.1%} before", {"gain": score - before})


def sources_all_ranked(at: Partition) -> Finding:
    """Every source of the recipe was scored with every teacher."""
    return _all_ranked(at, SOURCE_RANKING, "source", [source.name for source in at.recipe.sources])


def teachers_all_ranked(at: Partition) -> Finding:
    """Every teacher of the recipe was scored on every source."""
    return _all_ranked(at, TEACHER_RANKING, "teacher", [teacher.name for teacher in at.recipe.teachers])


def _all_ranked(at: Partition, table: Any, by: str, names: list[str]) -> Finding:
    rows = at.rows(table)
    missing = sorted(set(names) - set(rows[by]))
    incomplete = sorted(rows.filter(~pl.col("complete"))[by])
    says = f"missing: {', '.join(missing) or 'none'}; with cells missing: {', '.join(incomplete) or 'none'}"
    return Finding(not missing and not incomplete, says, {"ranked": rows.height})
