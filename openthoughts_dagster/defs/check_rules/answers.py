"""Rules about answers and their costs."""

import polars as pl

from openthoughts_dagster.defs.check_rules.partition import Finding, Partition
from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    GENERATION_COSTS,
    REJECTED_ANSWERS,
    TEACHER_ANSWERS,
)

_TRUNCATED = 0.05


def answers_are_complete(at: Partition) -> Finding:
    """Each question has all its answers, which are kept or rejected with a reason, and each kept one has its text."""
    wanted = at.count(DEDUPED_QUESTIONS) * at.recipe.answers_per_question
    keys = at.scan(TEACHER_ANSWERS).select("question_id", "sample_index").collect()
    rejected = at.count(REJECTED_ANSWERS)
    texts = at.lake.answers(source=at.source, teacher=at.teacher).select(pl.len()).collect().item()
    repeated = keys.height - keys.unique().height
    return Finding(
        wanted == keys.height + rejected and texts == keys.height and repeated == 0,
        f"{keys.height:,} kept and {rejected:,} rejected of {wanted:,} answers; {keys.height - texts} without text",
        {"wanted": wanted, "kept": keys.height, "rejected": rejected, "repeated": repeated},
    )


def traces_are_closed(at: Partition) -> Finding:
    """At most one answer in twenty was cut off, by max_tokens or by a runaway guard, or never closed its <think>."""
    rows = at.lake.answers(source=at.source, teacher=at.teacher).select("outcome").collect()
    cut = rows.filter(outcome="unfinished").height
    share = cut / max(1, rows.height)
    return Finding(share <= _TRUNCATED, f"{share:.1%} of {rows.height:,} traces are cut off", {"truncated": cut})


def costs_add_up(at: Partition) -> Finding:
    """Every completion of the ledger is counted once in the costs."""
    ledger, account = at.lake.scan(COMPLETIONS).select(pl.len()).collect().item(), at.rows(GENERATION_COSTS)
    counted = int(account["completions"].sum())
    return Finding(ledger == counted, f"{counted:,} of {ledger:,} completions are accounted for", {"counted": counted})
