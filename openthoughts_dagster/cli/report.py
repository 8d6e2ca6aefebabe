"""`openthoughts report`: the funnel, costs, rankings, studies and release of a recipe."""

import os
from pathlib import Path

import click

from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.files import write_page
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.defs.alerts import ADDRESS
from openthoughts_dagster.inspection.report import report_page, report_sections

UI = "http://127.0.0.1:3000"


@click.command()
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML page here.")
@click.option(
    "--ui", default=lambda: os.environ.get(ADDRESS) or UI, help=f"Where links lead to. [default: {ADDRESS} or {UI}]"
)
@click.pass_obj
def report(here: Deployment, html: Path | None, ui: str) -> None:
    """Show the results of the recipe: the funnel, costs, rankings, studies and the release."""
    if html is not None:
        write_page(html, report_page(here.lake, here.recipe, ui))
        return
    for section in report_sections(here.lake, here.recipe):
        click.echo(section.title.upper())
        for text in section.says:
            click.echo(text)
        click.echo(table(section.rows) if section.rows else section.empty)
        click.echo()
