"""Looks for personal data and keys in texts: e-mail addresses, phone numbers, keys and passwords.

Patterns in Polars' engine choose the few texts that may have some, so that millions of rows can be searched. What
counts is decided by well-kept detectors: email-validator, phonenumbers (Google's libphonenumber) and detect-secrets.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import polars as pl

KINDS = ("email", "phone", "key")
"""What is looked for, as the findings name it."""

_EMAIL = r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}"
# Only numbers that are written as phone numbers are: a problem's digits alone are none.
_PHONE = r"(?:\+\d[\d ().-]{7,18}\d|\(\d{3}\) ?\d{3}[-. ]\d{4}|\b\d{3}[-.]\d{3}[-.]\d{4}\b)"
_KEY = (
    r"AKIA|ASIA|ghp_|gho_|ghs_|github_pat_|hf_[A-Za-z0-9]{20}|sk-[A-Za-z0-9]|sk_live|xox[abpr]-|AIza|eyJ[A-Za-z0-9_-]{10}"
    r"|-----BEGIN|glpat-|npm_|pypi-|SG\.|[a-z]{1,20}://[^/\s:@]{1,200}:[^/\s:@]{1,200}@|hooks\.slack\.com"
    r"|\d{8,10}:[0-9A-Za-z_-]{35}"
)
_CANDIDATES = {"email": _EMAIL, "phone": _PHONE, "key": _KEY}
_TOP_LEVEL = frozenset(
    ["ai", "app", "biz", "blog", "cloud", "com", "dev", "edu", "gov", "info", "int", "io", "mil", "name", "net", "org"]
)
_SHOWN = 80
_CANDIDATES_OF_A_TEXT = 1000
_BEFORE_KEY, _LONGEST_KEY = 100, 2000  # characters around the beginning of a key that its detector sees


@dataclass(frozen=True)
class PersonalData:
    """One finding.

    Attributes:
        column: The column of the text.
        kind: One of KINDS.
        row: The row's identity, as the caller named it.
        detector: What found it, such as `phonenumbers` or `AWS Access Key`.
        excerpt: A short part of the text; keys are masked.
    """

    column: str
    kind: str
    row: str
    detector: str
    excerpt: str


def find_personal_data(rows: pl.DataFrame, identity: str, columns: Sequence[str]) -> Iterator[PersonalData]:
    """Find e-mail addresses, phone numbers and keys in texts.

    Args:
        rows: Rows with their texts.
        identity: The column that names a row.
        columns: The columns that are searched.

    Yields:
        At most one finding for each row, column and kind.
    """
    for column in columns:
        for kind, pattern in _CANDIDATES.items():
            chosen = rows.filter(pl.col(column).str.contains(pattern)).select(identity, column)
            for row, text in chosen.iter_rows():
                if found := _DETECTORS[kind](text):
                    yield PersonalData(column, kind, str(row), *found)


def _find_email(text: str) -> tuple[str, str] | None:
    for match in _matches(_EMAIL, text):
        called = text[match.end() : match.end() + 1] == "("  # W@x.to(device) multiplies matrices
        in_url = "://" in text[max(0, match.start() - 200) : match.start()].rpartition(" ")[2]
        if not (called or in_url) and _is_address(match.group()):
            return "email-validator", _around(text, *match.span())
    return None


def _is_address(text: str) -> bool:
    """Return whether an address may be a person's; those of example.com and of reserved domains are not."""
    from email_validator import EmailNotValidError, validate_email

    last = text.rpartition(".")[2].lower()
    if len(last) != 2 and last not in _TOP_LEVEL:
        return False
    try:
        domain = validate_email(text, check_deliverability=False).domain
    except EmailNotValidError:
        return False
    return not re.search(r"(^|\.)example\.(com|net|org)$", domain)


def _find_phone(text: str) -> tuple[str, str] | None:
    import phonenumbers

    leniency = phonenumbers.Leniency.STRICT_GROUPING
    for candidate in _matches(_PHONE, text):
        for match in phonenumbers.PhoneNumberMatcher(candidate.group(), "US", leniency=leniency):
            start = candidate.start() + match.start
            return "phonenumbers", _around(text, start, start + len(match.raw_string))
    return None


def _find_key(text: str) -> tuple[str, str] | None:
    end = -1
    for candidate in _matches(_KEY, text):
        if candidate.start() < end:
            continue  # it was in the part before
        start, end = max(0, candidate.start() - _BEFORE_KEY), candidate.end() + _LONGEST_KEY
        for line in text[start:end].splitlines():  # patterns of detectors take forever on lines of a megabyte
            for plugin in _key_detectors():
                for secret in plugin.analyze_string(line):
                    if secret:
                        return plugin.secret_type, _mask(line, secret)
    return None


def _matches(pattern: str, text: str) -> Iterator[re.Match[str]]:
    """Yield the first matches of a text, as many as a person would look at."""
    return islice(re.finditer(pattern, text), _CANDIDATES_OF_A_TEXT)


_DETECTORS: dict[str, Callable[[str], tuple[str, str] | None]] = {
    "email": _find_email,
    "phone": _find_phone,
    "key": _find_key,
}


@cache
def _key_detectors() -> tuple[Any, ...]:
    """Return detect-secrets' detectors of keys that have a form of their own; the guesses by entropy are left out."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    class HuggingFaceDetector(RegexBasedDetector):
        """The hub's access tokens, which detect-secrets does not know."""

        secret_type = "Hugging Face Token"
        denylist = (re.compile(r"\bhf_[A-Za-z0-9]{30,40}\b"),)

    known: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    left_out = {"KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"}
    plugins = [plugin() for plugin in known if plugin.__name__ not in left_out]
    return (*plugins, HuggingFaceDetector())


def _mask(line: str, secret: str) -> str:
    """Show the beginning of a key and its length; whoever reads a report must not get the key."""
    shown = secret[:4] if len(secret) > 12 else ""
    start = line.find(secret)
    before = line[max(0, start - 30) : start] if start > 0 else ""
    return f"{before}{shown}… ({len(secret)} characters)"


def _around(text: str, start: int, end: int) -> str:
    margin = max(0, (_SHOWN - (end - start)) // 2)
    return " ".join(text[max(0, start - margin) : end + margin].split())
