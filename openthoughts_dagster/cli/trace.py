"""`openthoughts trace`: where a question, an answer or a row of the release comes from."""

import json
from pathlib import Path
from typing import Any

import click

from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.files import write_page
from openthoughts_dagster.inspection.benchmark_origin import trace_item
from openthoughts_dagster.inspection.judge_replies import judge_replies
from openthoughts_dagster.inspection.trace import NothingTraced, trace, trace_release_row
from openthoughts_dagster.inspection.trace_pages import item_page, item_text, trace_page, trace_text


@click.command("trace")
@click.argument("name", required=False)
@click.argument("position", required=False, type=click.IntRange(min=0))
@click.option("--benchmark", help="Find the training questions that are most like an item of this benchmark.")
@click.option("--item", help="The item: its id, the beginning of it, or its place in the benchmark from 0.")
@click.option("--count", default=10, show_default=True, help="How many questions are shown for an item.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML page here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all texts.")
@click.pass_obj
def trace_command(
    here: Deployment,
    name: str | None,
    position: int | None,
    benchmark: str | None,
    item: str | None,
    count: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show where NAME comes from, why it was kept or dropped, and which students learned from it.

    NAME is the id of a question or of a completion; with POSITION it is a release (its teacher, or its name), and
    POSITION the place of one of its rows. Without NAME, --benchmark and --item lead from a benchmark to the training
    questions.
    """
    try:
        if benchmark is not None and item is not None and name is None:
            traced, text, page = trace_item(here.lake, here.recipe, benchmark, item, count), item_text, item_page
        elif name is not None and benchmark is None and item is None:
            traced, text, page = _trace_name(here, name, position), trace_text, trace_page
        else:
            raise click.UsageError("give NAME, or NAME and POSITION, or --benchmark with --item")
    except NothingTraced as error:
        raise click.ClickException(str(error)) from error
    if html is not None:
        write_page(html, page(traced))
    else:
        click.echo(json.dumps(traced, ensure_ascii=False, default=str, indent=1) if as_json else text(traced))


def _trace_name(here: Deployment, name: str, position: int | None) -> dict[str, Any]:
    def replies(question: dict[str, Any]) -> list[dict[str, Any]]:
        return judge_replies(here.lake, here.recipe, here.folders, question)

    if position is not None:
        return trace_release_row(here.lake, here.recipe, name, position, replies)
    return trace(here.lake, here.recipe, name, replies)
