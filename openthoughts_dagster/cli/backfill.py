"""Launching the backfill of a teacher through the webserver, as the UI does."""

import json
import urllib.request
from collections.abc import Sequence
from datetime import datetime

import click

from openthoughts_dagster.defs.retry_tag import RETRY_TAG

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
    body = json.dumps({"query": _LAUNCH, "variables": {"parameters": parameters}}).encode()
    request = urllib.request.Request(f"{ui.rstrip('/')}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.load(reply)
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"the UI at {ui} does not answer ({error}): start it with `make ui`, or name it with --ui"
        ) from error
    launched = (answer.get("data") or {}).get("launchPartitionBackfill") or {}
    if launched.get("__typename") != "LaunchBackfillSuccess":
        problem = launched.get("message") or launched.get("__typename") or answer.get("errors")
        raise click.ClickException(f"the backfill was not launched: {problem}")
    return f"{ui.rstrip('/')}/runs/b/{launched['backfillId']}"
