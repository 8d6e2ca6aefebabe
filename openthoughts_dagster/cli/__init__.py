"""The `openthoughts` command: what people do most, without a browser."""

from openthoughts_dagster.cli.main import main

__all__ = ["main"]
