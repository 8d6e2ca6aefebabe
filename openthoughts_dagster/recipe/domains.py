"""Finds names of domains and of their sources that look like a mistake, although a recipe may have them."""

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


def unknown_samples(recipe: "Recipe") -> list[str]:
    """Write a sentence for each size in `downsample` of a source that neither the recipe nor its catalogue has.

    Such a source may land beside the recipe. If it does not, the size does nothing.
    """
    known = {source.name for source in (*recipe.sources, *recipe.catalogue)}
    return [
        f"domains.{domain}.downsample.{name}: the recipe has no source of this name, so that the size does nothing "
        "unless such a source lands; correct the name, or remove it"
        for domain, settings in recipe.domains.items()
        for name in settings.downsample
        if name not in known
    ]


def _similar_pairs(sources: Mapping[str, list[str]], configured: set[str]) -> list[tuple[str, str]]:
    """Pair each domain that may be misspelt with the likely one, which has settings or more sources."""
    found = []
    for domain in sorted(set(sources) - configured):
        others = [
            other
            for other in sources
            if nearly_equal(domain, other)
            and (other in configured or (len(sources[other]), other) > (len(sources[domain]), domain))
        ]
        if others:
            found.append((domain, max(others, key=lambda other: (other in configured, len(sources[other])))))
    return found


def nearly_equal(one: str, other: str) -> bool:
    """Whether two names are spelled nearly the same, but not the same. A difference in numbers is meant."""
    from rapidfuzz.distance import OSA

    a, b = (re.sub("[-_]", "", name.casefold()) for name in (one, other))
    if one == other or (a != b and re.sub(r"\d", "", a) == re.sub(r"\d", "", b) != a):
        return False
    return OSA.distance(a, b) <= (1 if min(len(a), len(b)) >= 4 else 0)
