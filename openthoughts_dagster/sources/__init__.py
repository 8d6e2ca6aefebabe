"""Readers: where questions come from, normalized to one table."""

from openthoughts_dagster.sources.normalize import SourceError, SourceRows
from openthoughts_dagster.sources.read import read_source

__all__ = ["SourceError", "SourceRows", "read_source"]
