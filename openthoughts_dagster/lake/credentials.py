"""Removes the keys of the object store from texts that go into logs, events, errors and the UI."""

import os
import re
from collections.abc import Mapping

_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# A key may have slashes, and what follows a colon may be a port.
_USER = re.compile(r"""(://)(?:[^/\s@:\[]+:(?!\d+/)[^\s"']*|[^/\s@]+)@""")
_SIGNED = re.compile(r"([?&][\w-]*(?:signature|sig|token|credential|key)=)[^&\s'\"\[]+", re.IGNORECASE)


def without_credentials(text: object, variables: Mapping[str, str] = os.environ) -> str:
    """Replace the values of the store's keys, and passwords and signatures in addresses, by placeholders."""
    clean = _SIGNED.sub(r"\1[credentials]", _USER.sub(r"\1[credentials]@", str(text)))
    for name in _SECRETS:
        if len(value := variables.get(name, "")) >= 4:
            clean = clean.replace(value, f"[{name}]")
    return clean


def has_credentials(address: str) -> bool:
    """Return whether an address contains a user or a password."""
    return _USER.search(address) is not None
