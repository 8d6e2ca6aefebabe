"""Finds domains that look like a misspelling of another domain of the same recipe."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openthoughts_dagster.recipe.recipe import Recipe


def misspelt_domains(recipe: "Recipe") -> list[str]:
    """Write a sentence for each domain of a source that has no settings and is spelled nearly as another domain.

    Such a source would get neither the scores nor the selection that its author has in mind. Domains that differ in a
    number, such as level-1 and level-2, and domains that both have settings are meant as they are.

    Args:
        recipe: The recipe.

    Returns:
        Sentences that name the sources, the domain that it looks like, and all domains; usually none.
    """
    sources: dict[str, list[str]] = {}
    for source in recipe.sources:
        sources.setdefault(source.domain, []).append(source.name)
    configured = {*recipe.domains, *(domain for score in recipe.scores for domain in score.domains or ())}
    return [
        f"the domain {domain!r} of {', '.join(sources[domain])} has no settings and is spelled nearly as {other!r}; "
        f"the recipe's domains are {', '.join(sorted(sources))}. Correct it, or add {domain!r} to `domains`"
        for domain, other in _similar_pairs(sources, configured)
    ]


def _similar_pairs(sources: Mapping[str, list[str]], configured: set[str]) -> list[tuple[str, str]]:
    """Pair each domain that may be misspelt with the likely one, which has settings or more sources."""
    found = []
    for domain in sorted(set(sources) - configured):
        others = [
            other
            for other in sources
            if _nearly_equal(domain, other)
            and (other in configured or (len(sources[other]), other) > (len(sources[domain]), domain))
        ]
        if others:
            found.append((domain, max(others, key=lambda other: (other in configured, len(sources[other])))))
    return found


def _nearly_equal(one: str, other: str) -> bool:
    from rapidfuzz.distance import OSA

    a, b = (re.sub("[-_]", "", name.casefold()) for name in (one, other))
    if one == other or re.sub(r"\d", "", a) == re.sub(r"\d", "", b) != a:
        return False
    return OSA.distance(a, b) <= (1 if min(len(a), len(b)) >= 4 else 0)
