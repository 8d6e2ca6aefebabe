"""The release: one data set over many sources, chosen from the answers of one teacher, with its files and its record.

`choosing` decides which rows are in it and why others are not; `make` writes its tables, its folder (`files`) and its
record (`record`), so that it can be made again (`rebuilding`) and compared (`diff`). Study tables are read from the
lake: this folder and `studies/` do not import each other.
"""

from openthoughts_dagster.release.choosing import ReleaseRows, choose_rows, release_of, release_sources
from openthoughts_dagster.release.diff import ReleaseDiff, diff
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.folder import ReleasePlace
from openthoughts_dagster.release.make import MadeRelease, make_release
from openthoughts_dagster.release.rebuilding import Rebuilt, rebuild
from openthoughts_dagster.release.versions import ReleaseVersion, find_version, list_versions, rows_of_version

__all__ = [
    "MadeRelease",
    "Rebuilt",
    "ReleaseDiff",
    "ReleaseError",
    "ReleasePlace",
    "ReleaseRows",
    "ReleaseVersion",
    "choose_rows",
    "diff",
    "find_version",
    "list_versions",
    "make_release",
    "rebuild",
    "release_of",
    "release_sources",
    "rows_of_version",
]
