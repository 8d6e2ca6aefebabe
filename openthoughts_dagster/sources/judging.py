"""What a judge's reply that has no value is as a rejection."""

from openthoughts_dagster.generation.json_replies import JsonReading
from openthoughts_dagster.sources.contract import quoted


def judge_problem(reply: JsonReading, step: str = "") -> tuple[str, str]:
    """The reason and the evidence of a rejection, for a reply without a value. `step` says what was asked."""
    count = f"{reply.attempts} replies, the last: " if reply.failure == "reply_unreadable" else ""
    return reply.failure or "reply_unreadable", f"{step}{count}{quoted(reply.evidence)}"
