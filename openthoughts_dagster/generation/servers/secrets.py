"""Reads the keys of servers, and removes secrets from texts of servers, however they are escaped there."""

import os
import re
from collections.abc import Iterable
from typing import Any

_SHORTEST = 8  # shorter ones such as `EMPTY`, `none` and `test` are placeholders, and also words of answers
_MARK = "[the key]"


def read_api_key(variable: str | None) -> str | None:
    """Return the key in an environment variable, without the line break of a file; None if no variable is named.

    Raises:
        ValueError: The variable holds no key; the message names it.
    """
    if not variable:
        return None
    key = os.environ.get(variable, "").strip()
    if not (key and key.isascii() and key.isprintable()):
        raise ValueError(f"the environment variable {variable} holds no API key")
    return key


class SecretScrubber:
    """Replaces secrets in texts and decoded JSON.

    Servers repeat a key in their refusals: unchanged, with JSON escapes (`\\/`, `\\u002d`), URL-encoded, or as HTML.
    """

    def __init__(self, secrets: Iterable[str | None]) -> None:
        kept = [secret for secret in secrets if secret and len(secret) >= _SHORTEST]
        self._pattern = re.compile("|".join(map(_any_spelling, kept)), re.IGNORECASE) if kept else None

    def scrub(self, text: str) -> str:
        """Return `text` without the secrets."""
        return text if self._pattern is None else self._pattern.sub(_MARK, text)

    def scrub_json(self, value: Any) -> Any:
        """Return a decoded JSON value without secrets in its texts and in the keys of its objects."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, list):
            # lists of token ids are long
            return value if value and isinstance(value[0], int) else [self.scrub_json(item) for item in value]
        if isinstance(value, dict):
            return {self.scrub(key): self.scrub_json(item) for key, item in value.items()}
        return value


def _any_spelling(secret: str) -> str:
    """Return a pattern of the secret in which every character may be written with any of the usual escapes."""
    return "".join(
        f"(?:\\\\*{re.escape(letter)}|\\\\+u{ord(letter):04x}|%{ord(letter):02x}|&#0*{ord(letter)};|&#x0*{ord(letter):x};)"
        for letter in secret
    )
