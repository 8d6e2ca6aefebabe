"""Writing the files that commands are asked for."""

from pathlib import Path

import click


def write_page(path: Path, text: str) -> None:
    """Write an HTML page and say so. Raises ClickException if the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}")
