"""The command that shows the questions which decontamination dropped."""

import shutil
from typing import Any

import click

from openthoughts_dagster.lake import REJECTED_QUESTIONS
from openthoughts_dagster.questions import sample_leaks, show_side_by_side


@click.command()
@click.argument("source")
@click.option("--count", default=10, show_default=True, type=click.IntRange(min=1), help="Dropped questions to show.")
@click.option("--seed", default=0, show_default=True, help="Another seed draws other questions.")
@click.pass_obj
def leaks(here: Any, source: str, count: int, seed: int) -> None:
    """Show a random sample of SOURCE's questions that were dropped as leaks, beside what each matched."""
    [name] = here.sources([source])
    drawn = sample_leaks(here.lake.scan(REJECTED_QUESTIONS, source=name), count, seed)
    if drawn.is_empty():
        click.echo(f"no question of {name} was dropped as a leak; deduped_questions decides that")
        return
    click.echo(show_side_by_side(drawn, shutil.get_terminal_size((120, 24)).columns))
