"""The best sources of each domain, by the table source_ranking."""

from collections.abc import Sequence

import polars as pl

from openthoughts_dagster.lake import SOURCE_RANKING
from openthoughts_dagster.lake.reading import LakeReader


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
    ranked = lake.scan(SOURCE_RANKING).filter(pl.col("rank").is_not_null(), pl.col("domain") != "all").collect()
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
