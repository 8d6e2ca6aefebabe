"""The command `openthoughts`, for the most common tasks without a browser."""

from openthoughts_dagster.cli.main import main

__all__ = ["main"]
