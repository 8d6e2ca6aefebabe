"""The gates that read every text: leaks of benchmarks, and personal data."""

from collections.abc import Iterator

import polars as pl

from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import REJECTED_RELEASE, SCORED_QUESTIONS, Lake
from openthoughts_dagster.lake.reading import read_slices
from openthoughts_dagster.questions import compared_questions, source_sample
from openthoughts_dagster.questions.decontaminate import find_leaks_in_parts
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.gates.result import SHOWN, GateResult, waivers_of
from openthoughts_dagster.release.personal_data import find_personal_data
from openthoughts_dagster.release.texts import read_answer_texts, read_question_parts, scan_rows

_PART = 100_000  # rejected rows that are read at once


def check_contamination(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """No question leaks from a benchmark or from a set of `decontamination.against`."""
    release = release_of(recipe)
    own, unchecked = benchmark_questions(recipe.evaluation, recipe.path)
    benchmarks = compared_questions(own, recipe.evaluation, recipe.decontamination, recipe.path)
    waived, found, count = waivers_of(release, "contamination"), [], 0
    for source, ids in _ids_by_source(lake, teacher).items():
        count += len(ids)
        if source in waived:
            continue
        scored = lake.scan(SCORED_QUESTIONS, source=source)
        sample = source_sample(scored, scored.select("question_id").collect()["question_id"])
        parts = read_question_parts(lake, source, ids, "question")
        for part, decisions in find_leaks_in_parts(parts, recipe.decontamination, benchmarks, sample):
            for position, decision in decisions.items():
                name = str(decision.evidence.get("benchmark", ""))
                found.append({"source": source, "question_id": part["question_id"][position], "benchmark": name})
    says = f"{len(found):,} of {count:,} questions leak from {benchmarks.height:,} benchmark questions"
    if unchecked:
        says += f"; not compared with {', '.join(unchecked)}, whose questions are not known"
    remedy = (
        "materialize deduped_questions of the source with the present `decontamination`, then teacher_answers and "
        "reasoning_dataset"
        if found
        else ""
    )
    shown = pl.DataFrame(found, schema={"source": pl.String, "question_id": pl.String, "benchmark": pl.String})
    return GateResult("contamination", not found, says, remedy, shown, {"leaks": len(found), "questions": count})


def check_personal_data(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """No text has an e-mail address, a phone number or a key, nor what is said of rejected rows. It only warns."""
    found, counts = [], dict[tuple[str, str, str], int]()
    for part, columns in _named_texts(lake, teacher):
        for one in find_personal_data(part, "row", columns):
            key = (one.column, one.kind, one.detector)
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= SHOWN:
                found.append({"column": one.column, "kind": one.kind, "row": one.row, "shown": one.excerpt})
    shown = pl.DataFrame(found, schema=dict.fromkeys(("column", "kind", "row", "shown"), pl.String))
    by = ", ".join(f"{count:,} x {detector} in {column}" for (column, _, detector), count in sorted(counts.items()))
    says = f"possible personal data: {by}" if counts else "no e-mail address, phone number or key was found"
    remedy = "look at the rows; drop what should not leave with a filter of the source" if counts else ""
    total = sum(counts.values())
    return GateResult("personal_data", not counts, says, remedy, shown, {"findings": total}, blocking=False)


def _named_texts(lake: Lake, teacher: str) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """Read the release's texts a part at a time: a column `row` that names each row, and the columns of texts."""
    texts = ["question", "reference_answer", "origin"]
    for source, ids in _ids_by_source(lake, teacher).items():
        for part in read_question_parts(lake, source, ids, *texts):
            yield part.with_columns(row=pl.format("{} {}", pl.lit(source), "question_id")), texts
    left_out = lake.scan(REJECTED_RELEASE, teacher=teacher)
    named = left_out.select("evidence", row=pl.format("rejected: {} {}", "source", "question_id"))
    yield from ((part, ["evidence"]) for part in read_slices(named, _PART))
    row = pl.format("{} {} sample {}", "source", "question_id", "sample_index")
    names = scan_rows(lake, teacher).select("model", "completion_id", row=row).collect()
    for part in read_answer_texts(lake, names):
        yield part, ["reasoning", "answer"]


def _ids_by_source(lake: Lake, teacher: str) -> dict[str, pl.Series]:
    names = scan_rows(lake, teacher).select("source", "question_id").unique().collect()
    parts = names.partition_by("source", as_dict=True) if names.height else {}
    return {str(name[0]): part["question_id"] for name, part in sorted(parts.items())}
