"""Rules about studies: whether their arms may be compared, and whether the comparison decided."""

import polars as pl

from openthoughts_dagster.defs.check_rules.partition import Finding, Partition
from openthoughts_dagster.lake import ARM_ANSWERS, ARM_QUESTIONS, ARM_STUDENTS, REJECTED_ARM_ANSWERS, STUDY_RESULTS
from openthoughts_dagster.studies import current_version, decision_of, study_named

_TOLERANCE = 0.02
_TRUNCATED = 0.05
_UNKNOWN = pl.col("leaked_questions").is_null().any() | (pl.len() == 0)
_NO_RESULT = Finding(False, "the study has no result as the recipe asks it now: run it again")
_MATCHED = {"rows": "rows", "tokens": "train_tokens", "steps": "steps"}


def arm_answers_are_complete(at: Partition) -> Finding:
    """Each question of the arm has all its answers, which are kept or rejected with a reason."""
    kept, rejected = at.count(ARM_ANSWERS), at.count(REJECTED_ARM_ANSWERS)
    questions, samples = at.count(ARM_QUESTIONS), int(at.recorded.get("answers_per_question", 0))
    wanted = questions * samples
    return Finding(
        wanted == kept + rejected > 0,
        f"{kept:,} kept and {rejected:,} rejected of {wanted:,} answers to {questions:,} questions",
        {"wanted": wanted, "kept": kept, "rejected": rejected},
    )


def arm_is_comparable(at: Partition) -> Finding:
    """The students of all arms agree within 2% on what the study matches, and no training question leaks from the
    benchmarks that decide the study.
    """
    study = study_named(at.recipe, at.labels["study"])
    version = current_version(at.lake, at.recipe, study)
    rows = at.scan(STUDY_RESULTS).filter(version=version).select(pl.col("leaked_questions").sum(), unknown=_UNKNOWN)
    leaks, unknown = rows.collect().row(0)
    says = str(at.recorded.get("contamination", "It is unknown whether training questions leak: materialize it again."))
    clean, found = not leaks and not unknown, {"leaked_questions": leaks}
    if study.match == "none":
        return Finding(clean, f"the study asks about the size of its arms: nothing is held equal. {says}", found)
    students, column = at.lake.scan(ARM_STUDENTS).filter(study=study.name, version=version), _MATCHED[study.match]
    sizes = students.group_by("arm_name").agg(pl.col(column).mean()).sort("arm_name").collect()
    low, high = float(sizes[column].min() or 0), float(sizes[column].max() or 0)  # type: ignore[arg-type]
    shown = ", ".join(f"{name}: {size:,.0f}" for name, size in sizes.iter_rows())
    return Finding(
        clean and high <= low * (1 + _TOLERANCE),
        f"{study.match} of a student: {shown}. {says}",
        {"smallest": low, "largest": high} | found,
    )


def arms_are_not_cut_off(at: Partition) -> Finding:
    """At most one answer in twenty of each arm is cut off: students learn other things from cut-off answers."""
    version = current_version(at.lake, at.recipe, study_named(at.recipe, at.labels["study"]))
    shares = at.scan(STUDY_RESULTS).filter(version=version).select("arm_name", "truncated").collect()
    if shares.is_empty():
        return _NO_RESULT
    worst = float(shares["truncated"].max() or 0.0)  # type: ignore[arg-type]
    shown = ", ".join(f"{name}: {share:.1%}" for name, share in shares.iter_rows())
    return Finding(worst <= _TRUNCATED, f"answers that are cut off: {shown}", {"largest_share": worst})


def arms_can_be_told_apart(at: Partition) -> Finding:
    """The study has a decision: its best arm is better than all others, or the arms are equal within the margin."""
    if not decision_of(at.lake, at.recipe, study_named(at.recipe, at.labels["study"])):
        return _NO_RESULT
    decision, unclear = str(at.recorded.get("decision", "")), at.recorded.get("arms_not_told_apart")
    return Finding(unclear == 0, decision or "the study has no decision", {"arms_not_told_apart": unclear})
