"""The best sources of each domain, by the table source_ranking."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from openthoughts_dagster.lake import SOURCE_RANKING
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.studies import BestSources


class RankingError(ValueError):
    """The ranking does not say which sources are the best; the message says what to do."""


def best_sources(
    lake: LakeReader, count: int, domains: Sequence[str] | None = None, decided: bool = False
) -> list[str]:
    """Return the best sources of each domain.

    Args:
        lake: The tables.
        count: How many sources of each domain.
        domains: The domains; all that are ranked when None.
        decided: Whether the ranking must tell the last of them apart from the next source.

    Returns:
        Names of sources, domain by domain, the best first.

    Raises:
        RankingError: Nothing is ranked, a domain has fewer ranked sources, or the ranking is not decided.
    """
    ranked = _ranked_by_domain(lake)
    wanted = list(domains or sorted(ranked["domain"].unique()))
    if not wanted:
        raise RankingError("source_ranking ranks nothing yet: materialize it, or name the sources")
    names: list[str] = []
    for domain in wanted:
        own = ranked.filter(domain=domain).sort("rank")
        if own.height < count:
            raise RankingError(
                f"best {count} of {domain}, and source_ranking has {own.height} of that domain: materialize "
                "benchmark_scores of more sources, or name the sources"
            )
        if decided and own.height > count and not own["significant"][count - 1]:
            last, following, p = own["source"][count - 1], own["source"][count], own["p_value"][count - 1]
            raise RankingError(
                f"best {count} of {domain} is not decided: source_ranking cannot tell {last} (place {count}) from "
                f"{following} (place {count + 1}){'' if p is None else f', p = {p:.2g}'}. Score more benchmark items "
                "or repeats, run a study of the two, or name the sources"
            )
        names += own["source"].head(count).to_list()
    return names


def doubts_about_best(
    lake: LakeReader, recipe: Recipe, studies: Collection[str] | None = None, release: bool = True
) -> list[str]:
    """Say where a recipe takes the best sources although chance may have decided which ones these are.

    Args:
        lake: The tables.
        recipe: The recipe with its release and its studies.
        studies: Names of the studies whose arms count; all of the recipe's when None.
        release: Whether the release counts too.

    Returns:
        A sentence for each choice whose last source the ranking cannot tell apart from the next one, or tells apart by
        one training seed alone.
    """
    ranked, choices = _ranked_by_domain(lake), list(_choices(recipe, studies, release))
    return [
        f"{where} takes the best {wanted.best} of {domain}: {doubt}"
        for where, wanted in choices
        for domain in wanted.domains or sorted(ranked["domain"].unique())
        if (doubt := _doubt(ranked.filter(domain=domain).sort("rank").to_dicts(), wanted.best))
    ]


def _ranked_by_domain(lake: LakeReader) -> pl.DataFrame:
    return lake.scan(SOURCE_RANKING).filter(pl.col("rank").is_not_null(), pl.col("domain") != "all").collect()


def _choices(recipe: Recipe, studies: Collection[str] | None, release: bool) -> Iterator[tuple[str, BestSources]]:
    if release and recipe.release is not None and isinstance(recipe.release.sources, BestSources):
        yield "release.sources", recipe.release.sources
    for study in recipe.studies:
        if studies is not None and study.name not in studies:
            continue
        for arm, settings in study.variants().items():
            if isinstance(settings.sources, BestSources):
                yield f"studies.{study.name}.{arm}", settings.sources


def _doubt(ranked: Sequence[Mapping[str, Any]], count: int) -> str:
    """Say why the last of the best sources may not be better than the next one; empty if it is, or if all are taken."""
    if len(ranked) <= count:
        return ""
    last, following = ranked[count - 1], ranked[count]
    one = (last["seeds"] or 1) < 2
    if not last["significant"]:
        relation, over = "is not told apart from", " over items only, with one training seed" if one else ""
    elif one:
        relation, over = "is told apart from", " over items only: another training seed may reverse it"
    else:
        return ""
    p = "its p-value is unknown" if last["p_value"] is None else f"p = {last['p_value']:.2g}"
    return f"{last['source']} (place {count}) {relation} {following['source']} (place {count + 1}), {p}{over}"
