"""Rejections for replies of a judge that have no value."""

from openthoughts_dagster.generation.json_replies import JsonReading
from openthoughts_dagster.sources.contract import quote


def judge_problem(reply: JsonReading, step: str = "") -> tuple[str, str]:
    """Return the reason and the evidence of the rejection for a reply without a value. `step` says what was asked."""
    count = f"{reply.attempts} replies, the last: " if reply.failure == "reply_unreadable" else ""
    return reply.failure or "reply_unreadable", f"{step}{count}{quote(reply.evidence)}"
