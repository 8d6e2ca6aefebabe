"""Launching the backfill of a teacher through the webserver, as the UI does."""

from collections.abc import Sequence
from datetime import datetime

import click

from openthoughts_dagster.defs.retry_tag import RETRY_TAG
from openthoughts_dagster.generation.servers.http_client import post_json
from openthoughts_dagster.generation.servers.retry_policy import RequestFailed

_LAUNCH = """mutation ($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PartitionKeysNotFoundError { message }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  } }"""


def launch(ui: str, teacher: str, sources: Sequence[str], retry_before: datetime | None = None) -> str:
    """Launch the answers of a teacher.

    Args:
        ui: Address of the UI.
        teacher: Name of the teacher.
        sources: Names of the sources.
        retry_before: Permanent failures from before this moment are asked again. By default none are.

    Returns:
        The backfill's address in the UI.

    Raises:
        ClickException: The backfill was not launched. The message says why and what to do.
    """
    tags = {"openthoughts/teacher": teacher} | ({RETRY_TAG: retry_before.isoformat()} if retry_before else {})
    parameters = {
        "assetSelection": [{"path": ["teacher_answers"]}],
        "partitionNames": [f"{source}|{teacher}" for source in sources],
        "title": f"{'Failed answers' if retry_before else 'Answers'} of {teacher}",
        "tags": [{"key": name, "value": value} for name, value in tags.items()],
    }
    body = {"query": _LAUNCH, "variables": {"parameters": parameters}}
    try:
        reply = post_json(f"{ui.rstrip('/')}/graphql", body, seconds=60)
        problem = "" if reply.status == 200 and reply.object() else f"HTTP {reply.status}, {reply.text[:200]}"
    except (RequestFailed, ValueError) as error:
        problem = str(error)
    if problem:
        raise click.ClickException(
            f"the UI at {ui} does not answer ({problem}): start it with `make ui`, or name it with --ui"
        )
    answer = reply.object()
    launched = (answer.get("data") or {}).get("launchPartitionBackfill") or {}
    if launched.get("__typename") != "LaunchBackfillSuccess":
        why = launched.get("message") or launched.get("__typename") or answer.get("errors")
        raise click.ClickException(f"the backfill was not launched: {why}")
    return f"{ui.rstrip('/')}/runs/b/{launched['backfillId']}"
