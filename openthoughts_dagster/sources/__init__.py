"""Readers of sources, and the normalization of their rows to one table of questions."""

from openthoughts_dagster.sources.contract import ReaderContext, Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.read import read_source
from openthoughts_dagster.sources.staged import StagedSource

__all__ = ["ReaderContext", "Reading", "Row", "Shard", "SourceError", "StagedSource", "read_source"]
