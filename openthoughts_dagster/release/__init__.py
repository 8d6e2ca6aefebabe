"""The release: one data set over many sources, chosen from the answers of one teacher, with its files and its record.

`choosing` decides which rows are in it and why others are not; `files` writes the folder that others load; `record`
says what a version was made from, so that it can be made again and compared. Study tables are read from the lake:
this folder and `studies/` do not import each other.
"""

from openthoughts_dagster.release.choosing import ReleaseRows, choose_rows, release_of, release_sources
from openthoughts_dagster.release.errors import ReleaseError

__all__ = ["ReleaseError", "ReleaseRows", "choose_rows", "release_of", "release_sources"]
