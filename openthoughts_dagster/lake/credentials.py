"""What must not get into logs, events, errors and the UI: the keys of the object store."""

import os
import re
from collections.abc import Mapping

_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_USER = re.compile(r"(://)[^/\s@]+@")


def without_credentials(text: object, variables: Mapping[str, str] = os.environ) -> str:
    """A text without the values of the store's keys, and without a user and password in an address."""
    clean = _USER.sub(r"\1[credentials]@", str(text))
    for name in _SECRETS:
        if len(value := variables.get(name, "")) >= 4:
            clean = clean.replace(value, f"[{name}]")
    return clean


def has_credentials(address: str) -> bool:
    """Whether an address has a user or password in it."""
    return _USER.search(address) is not None
