"""Errors of tables: they say where the table is, what failed and what to do."""

import re

from openthoughts_dagster.lake.credentials import without_credentials

_COLOUR = re.compile(r"\x1b\[\d+m")
_BACKTRACE = re.compile(r"\s+0: <unknown>.*| stack backtrace:.*", re.DOTALL)


class LakeError(RuntimeError):
    """A table that cannot be read or written, with its address and what to do."""


class SchemaError(ValueError):
    """Rows that do not fit their table, naming the table, the columns and what is wrong."""


def table_error(address: str, says: str, error: object, remedy: str = "") -> LakeError:
    """Make the error of a table from what failed, the library's reason and a remedy.

    Raise it `from None`: the library's own error may contain the store's keys.

    Args:
        address: Where the table is.
        says: What failed, such as "could not be read".
        error: The library's error, or the reason in words.
        remedy: What to do. The default is advice about addresses, disks and object stores.
    """
    if not remedy:
        remedy = "Check that OPENTHOUGHTS_LAKE is right, readable and writable and has space"
        if "://" in address:
            remedy += ", with credentials in AWS_* variables or by workload identity"
        if "scheme is not allowed" in str(error):
            remedy = "The store's address is http, not https: set AWS_ALLOW_HTTP=true if that is meant"
        remedy += "; what was committed before is intact"
    reason = " ".join(_BACKTRACE.sub("", _COLOUR.sub("", str(error))).split()).rstrip(".")
    return LakeError(without_credentials(f"{address}: {says}: {reason}. {remedy}"))
