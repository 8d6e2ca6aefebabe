"""Says what would stop or shorten a release, from the recipe alone, before anybody pays for its answers."""

from collections.abc import Iterator

import polars as pl

from openthoughts_dagster.recipe import Recipe, Release
from openthoughts_dagster.recipe.studies import BestSources
from openthoughts_dagster.release.gates.result import waivers_of
from openthoughts_dagster.release.licences import find_licence_problems


def foresee_release_problems(recipe: Recipe) -> list[str]:
    """Say what would stop or shorten the recipe's release, as far as the recipe shows it.

    The gates look at the tables when the release is there: then its answers were paid for.

    Args:
        recipe: The recipe.

    Returns:
        Sentences with remedies: sources whose licence the gate stops, answers that nobody is asked for, and sizes that
        curation cannot leave; empty when there are none, or no release.
    """
    if recipe.release is None:
        return []
    return [*_licence_problems(recipe, recipe.release), *_size_problems(recipe, recipe.release)]


def _licence_problems(recipe: Recipe, release: Release) -> Iterator[str]:
    stated = [(name, recipe.source(name).licence, 0) for name in _possible_sources(recipe, release)]
    rows = pl.DataFrame(stated, schema=["source", "licence", "rows"], orient="row")
    when = "if it is among the best, " if isinstance(release.sources, BestSources) else ""
    waived = waivers_of(release, "licence")
    for each in find_licence_problems(rows, release.licence, release.allowed_licences, waived):
        yield f"{when}the licence gate stops {each.source}: {each.problem}; {each.remedy}"


def _size_problems(recipe: Recipe, release: Release) -> Iterator[str]:
    asked = recipe.answers_per_question
    if (wanted := release.answers_per_question or asked) > asked:
        yield (
            f"it publishes {wanted} answers of each question, and teachers are asked for {asked}: raise "
            "answers_per_question, or lower release.answers_per_question"
        )
    sources = _possible_sources(recipe, release)
    for name, size in release.sizes.items():
        own = [source for source in sources if name in (source, recipe.source(source).domain)]
        most = [_most_questions(recipe, source) for source in own]
        if isinstance(release.sources, BestSources) or None in most or (left := sum(filter(None, most))) > size:
            continue
        end = "is made short all the same (short: true)" if release.short else "is an error then"
        yield (
            f"release.sizes.{name} asks for {size:,} questions, and `domains` and limits leave at most {left:,} of "
            f"{', '.join(own)}: what the release itself drops as leaks or duplicates is missing in the end, and the "
            f"release {end}. Keep more questions (selection, downsample), or lower the size"
        )


def _possible_sources(recipe: Recipe, release: Release) -> list[str]:
    if isinstance(release.sources, list):
        return release.sources
    wanted = release.sources.domains
    return [source.name for source in recipe.sources if not wanted or source.domain in wanted]


def _most_questions(recipe: Recipe, name: str) -> int | None:
    """Return the largest number of questions that curation can leave of a source; None where no setting bounds it."""
    source = recipe.source(name)
    domain = recipe.domain(source.domain)
    selected = None if domain.selection is None else domain.selection.count
    bounds: list[int | None] = [source.limit, getattr(source, "size", None), selected, domain.downsample.get(name)]
    return min((bound for bound in bounds if bound is not None), default=None)
