"""Decides whether the licences of rows allow a release: each is an SPDX expression, allowed, and agrees with the whole.

The rules say which licences can stand together. They are no legal advice: a person who has a permission that the data
does not show waives a source, with the reason, and the card prints it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

UNKNOWN = "unknown"

_SHARE_ALIKE = re.compile(
    r"CC-BY(-NC)?-SA-.*|[AL]?GPL-.*|GFDL-.*|ODbL-.*|CDLA-Sharing-.*|MPL-.*|EPL-.*|EUPL-.*|OSL-.*|MS-RL|CECILL-.*|OFL-.*",
    re.IGNORECASE,
)
_NON_COMMERCIAL = re.compile(r".*-NC(-.*|$)|.*NonCommercial.*|PolyForm-Noncommercial.*", re.IGNORECASE)
_MOST_WAYS = 1000
_NO_DERIVATIVES = re.compile(r".*-ND(-.*|$)", re.IGNORECASE)


class LicenceError(ValueError):
    """A text is no SPDX expression; the message names it and says what to write."""


@dataclass(frozen=True)
class LicenceProblem:
    """Why the rows of one source and licence cannot be released.

    Attributes:
        source: The source of the rows.
        licence: Their licence as the source states it.
        rows: The number of rows.
        problem: What is wrong, as a sentence.
        remedy: What a person can do.
    """

    source: str
    licence: str
    rows: int
    problem: str
    remedy: str


def normalize_licence(text: str) -> str | None:
    """Return an SPDX expression in its canonical spelling.

    Args:
        text: An expression such as `mit or apache-2.0`, or `unknown`.

    Returns:
        The expression such as `MIT OR Apache-2.0`; None for `unknown` and blank texts.

    Raises:
        LicenceError: The text is no SPDX expression.

    Example:
        >>> normalize_licence("cc-by-4.0")
        'CC-BY-4.0'
    """
    if text.strip().lower() in ("", UNKNOWN):
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression as error:
        raise LicenceError(
            f"{text!r} is no SPDX expression ({error}): write an identifier of https://spdx.org/licenses such as "
            "Apache-2.0 or CC-BY-SA-4.0, LicenseRef-NAME for one that has none there, or unknown"
        ) from None


def alternatives_of(expression: str) -> list[frozenset[str]]:
    """Return the ways to satisfy an expression: each is the set of licences that apply together.

    Args:
        expression: A canonical SPDX expression, as `normalize_licence` returns it.

    Returns:
        One set for `AND`, one set for each choice of `OR`. `A AND (B OR C)` gives {A, B} and {A, C}.

    Raises:
        LicenceError: There are thousands of ways, which no licence has.
    """
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)
    ways, rest = _read_any(tokens)
    assert not rest, expression
    return ways


def find_licence_problems(
    rows: pl.DataFrame, release: str, allowed: Sequence[str] | None, waived: Mapping[str, str]
) -> Iterator[LicenceProblem]:
    """Find the sources whose rows cannot be released under the licence of the release.

    Args:
        rows: Columns source, licence and rows: the number of rows of each source and licence.
        release: The licence of the release, an SPDX expression. With `AND` it is a collection whose rows have
            different licences, such as `Apache-2.0 AND CC-BY-SA-4.0`. With `OR` each alternative has to keep the
            licence of every row, because readers choose one.
        allowed: The SPDX identifiers that rows may have, or expressions of them; None for every known licence.
        waived: The reason by source for which its licence is accepted as it is.

    Yields:
        A problem for each source and licence that is not waived.

    Raises:
        LicenceError: The release's own licence is no SPDX expression.
    """
    own = normalize_licence(release)
    if own is None:
        raise LicenceError("the release has no licence: set release.licence to an SPDX expression such as Apache-2.0")
    listed = None if allowed is None else {_fold(name) for each in allowed for name in _names_in(each)}
    for source, licence, count in rows.select("source", "licence", "rows").sort("source", "licence").iter_rows():
        if source in waived:
            continue
        found = _find_problem(source, licence, own, listed)
        if found is not None:
            yield LicenceProblem(source, licence, count, *found)


def _names_in(expression: str) -> frozenset[str]:
    known = normalize_licence(expression)
    return frozenset() if known is None else frozenset().union(*alternatives_of(known))


def _find_problem(source: str, licence: str, own: str, listed: set[str] | None) -> tuple[str, str] | None:
    waive = f"waive it with a reason (release.gates.waive: {{source: {source}, gate: licence, reason: ...}})"
    try:
        expression = normalize_licence(licence)
        ways = [] if expression is None else alternatives_of(expression)
    except LicenceError as error:
        return str(error), f"correct sources.{source}.licence and read the source again, or {waive}"
    if expression is None:
        return (
            "its licence is unknown",
            f"find out under which licence it was published and set sources.{source}.licence, take the source out of "
            f"release.sources, or {waive}",
        )
    problems = []
    for way in ways:
        if not (found := _find_problem_of(way, own, listed)):
            return None
        problems.append(found)
    problem, remedy = problems[0]
    return problem, f"{remedy}, take the source out of release.sources, or {waive}"


def _find_problem_of(way: frozenset[str], own: str, listed: set[str] | None) -> tuple[str, str] | None:
    for name in sorted(way):
        if not all(_agrees(name, terms) for terms in alternatives_of(own)):  # readers choose one of the release's
            return (
                f"{name} {_restriction(name)}, which {own} does not keep",
                f"release it under a licence that keeps it (such as release.licence: {_collection(own, name)}, where "
                "every row has its own licence)",
            )
    if listed is not None and (others := sorted(name for name in way if _fold(name) not in listed)):
        return (
            f"{' and '.join(others)} is not in release.gates.licences",
            f"add {', '.join(others)} to release.gates.licences",
        )
    return None


def _agrees(name: str, terms: frozenset[str]) -> bool:
    """Return whether rows under `name` may stand in a release with these terms."""
    if not (_SHARE_ALIKE.fullmatch(name) or _NO_DERIVATIVES.fullmatch(name)):
        return not _NON_COMMERCIAL.fullmatch(name) or any(map(_NON_COMMERCIAL.fullmatch, terms))
    family, version = _family(name)
    # Creative Commons lets an adaptation take a later version of the same licence.
    return any(_family(term)[0] == family and _family(term)[1] >= version for term in terms)


def _restriction(name: str) -> str:
    says = []
    if _NON_COMMERCIAL.fullmatch(name):
        says.append("forbids commercial use")
    if _NO_DERIVATIVES.fullmatch(name):
        says.append("forbids changed copies")
    if _SHARE_ALIKE.fullmatch(name):
        says.append("has to stay under the same licence")
    return " and ".join(says)


def _family(name: str) -> tuple[str, tuple[int, ...]]:
    """Split an identifier into its family and its version, as CC-BY-SA and (4, 0)."""
    found = re.fullmatch(r"(CC-.+?)-(\d+(?:\.\d+)*)(-.+)?", name, re.IGNORECASE)
    if found is None:
        return _fold(name), ()
    return _fold(found[1]), tuple(int(part) for part in found[2].split("."))


def _collection(own: str, name: str) -> str:
    return f"{f'({own})' if ' OR ' in own else own} AND {name}"


def _fold(name: str) -> str:
    return name.strip().lower()


def _read_any(tokens: list[str]) -> tuple[list[frozenset[str]], list[str]]:
    ways, tokens = _read_all(tokens)
    while tokens and tokens[0] == "OR":
        more, tokens = _read_all(tokens[1:])
        ways = ways + more
    return ways, tokens


def _read_all(tokens: list[str]) -> tuple[list[frozenset[str]], list[str]]:
    ways, tokens = _read_one(tokens)
    while tokens and tokens[0] == "AND":
        more, tokens = _read_one(tokens[1:])
        if len(ways) * len(more) > _MOST_WAYS:
            raise LicenceError(f"it has more than {_MOST_WAYS:,} combinations of alternatives: write a simpler one")
        ways = [left | right for left in ways for right in more]
    return ways, tokens


def _read_one(tokens: list[str]) -> tuple[list[frozenset[str]], list[str]]:
    if tokens[0] == "(":
        ways, tokens = _read_any(tokens[1:])
        return ways, tokens[1:]
    if tokens[1:2] == ["WITH"]:
        return [frozenset({f"{tokens[0]} WITH {tokens[2]}"})], tokens[3:]
    return [frozenset({tokens[0]})], tokens[1:]
