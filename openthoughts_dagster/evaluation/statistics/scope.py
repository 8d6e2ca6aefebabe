"""The scope of a ranking: sources, teachers and benchmarks of one recipe, whatever else the lake contains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.evaluation.statistics.ranking import By, ranking
from openthoughts_dagster.recipe import Recipe

OVERALL = "all"
_LEFT_OUT = pl.Schema({"what": pl.String, "name": pl.String, "domain": pl.String, "reason": pl.String})


class NothingToRank(ValueError):
    """No student of the recipe is scored. The message says what the table holds instead."""


@dataclass(frozen=True)
class RankingScope:
    """The scope of a ranking.

    Attributes:
        recipe: Name of the recipe, for messages.
        sources: Domain of each source, by its name.
        teachers: Names of the teachers.
        benchmarks: How many of its first items count, by the benchmark's name; None for all of them.
        held_out: Benchmarks of the recipe that decide nothing.
    """

    recipe: str
    sources: Mapping[str, str]
    teachers: tuple[str, ...]
    benchmarks: Mapping[str, int | None]
    held_out: frozenset[str] = frozenset()

    @staticmethod
    def of_recipe(recipe: Recipe, scored_sources: Iterable[str]) -> "RankingScope":
        """The recipe's own sources, teachers and benchmarks.

        Args:
            recipe: A recipe.
            scored_sources: Names of sources that have scores; those that landed beside the recipe are found by name,
                those that it does not know are left out.
        """
        sources = {source.name: source.domain for source in recipe.sources}
        for name in sorted(set(scored_sources) - set(sources)):
            try:
                sources[name] = recipe.source(name).domain
            except KeyError:
                continue
        benchmarks = recipe.evaluation.benchmarks
        return RankingScope(
            recipe.name,
            sources,
            tuple(teacher.name for teacher in recipe.teachers),
            {benchmark.name: benchmark.items for benchmark in benchmarks if benchmark.role == "dev"},
            frozenset(benchmark.name for benchmark in benchmarks if benchmark.role == "held_out"),
        )


@dataclass(frozen=True)
class Ranked:
    """Rankings overall and by domain.

    Attributes:
        rows: The columns of `ranking` and `domain`, which is "all" for the ranking over every domain.
        left_out: Columns what (source, teacher, benchmark or item), name, domain and reason.
    """

    rows: pl.DataFrame
    left_out: pl.DataFrame

    @property
    def overall(self) -> pl.DataFrame:
        """The ranking over every domain."""
        return self.rows.filter(domain=OVERALL)


def rank_by_domain(scores: pl.DataFrame, by: By, scope: RankingScope) -> Ranked:
    """Rank what a recipe compares, overall and by domain, and say what was left out.

    Args:
        scores: Rows of benchmark_scores, of any recipes.
        by: "source" or "teacher".
        scope: What is compared; rows of anything else are left out.

    Returns:
        The rankings. A domain is that of the sources: ranked by teacher, a domain's ranking is over its sources.

    Raises:
        NothingToRank: Nothing in `scope` is scored.
    """
    own, left_out = _in_scope(_one_metric(scores), scope)
    if own.is_empty():
        held = "; ".join(f"{row['what']} {row['name']}: {row['reason']}" for row in left_out)
        raise NothingToRank(
            f"no student of recipe {scope.recipe!r} is scored: materialize benchmark_scores of its sources and "
            f"teachers first. Left out: {held or 'nothing, benchmark_scores is empty'}"
        )
    names = list(scope.sources if by == "source" else scope.teachers)
    scored = set(own[by])
    left_out += [
        _left_out_row(by, name, OVERALL, "none of its students is scored yet") for name in names if name not in scored
    ]
    own = own.with_columns(domain=pl.col("source").replace_strict(dict(scope.sources), return_dtype=pl.String))
    tables = []
    for domain in [OVERALL, *sorted(own["domain"].unique())]:
        table = ranking(own if domain == OVERALL else own.filter(domain=domain), by)
        left_out += [
            _left_out_row(by, name, domain, "it has no scored item in common with the others")
            for name in table.filter(pl.col("rank").is_null())[by]
        ]
        tables.append(table.with_columns(domain=pl.lit(domain)))
    return Ranked(pl.concat(tables), pl.DataFrame(left_out, schema=_LEFT_OUT))


def _in_scope(scores: pl.DataFrame, scope: RankingScope) -> tuple[pl.DataFrame, list[dict[str, str]]]:
    known = {"source": scope.sources, "teacher": scope.teachers, "benchmark": scope.benchmarks}
    left_out = [
        _left_out_row(what, name, OVERALL, _explain_left_out(scope, what, name))
        for what, names in known.items()
        for name in sorted(set(scores[what]) - set(names))
    ]
    for what, names in known.items():
        scores = scores.filter(pl.col(what).is_in(list(names)))
    if "position" not in scores.columns:
        return scores, left_out
    for benchmark, items in scope.benchmarks.items():
        beyond = (pl.col("benchmark") == benchmark) & (pl.col("position") >= (items or 0)).fill_null(False)
        rows = scores.filter(beyond) if items else scores.clear()
        if len(rows):
            reason = f"{rows['item'].n_unique():,} items are beyond the first {items:,}, which the recipe asks for"
            left_out.append(_left_out_row("item", benchmark, OVERALL, reason))
            scores = scores.filter(~beyond)
    return scores, left_out


def _explain_left_out(scope: RankingScope, what: str, name: str) -> str:
    if what == "benchmark" and name in scope.held_out:
        return "it is held out: it is scored, and decides nothing"
    return f"recipe {scope.recipe!r} has no such {what}"


def _one_metric(scores: pl.DataFrame) -> pl.DataFrame:
    """Items named by their metric as well: one text scored in two ways is two items. The repeats do not count."""
    if "metric" not in scores.columns:
        return scores
    metric = pl.col("metric").str.replace_all(r"[:&]n=\d+|:\d+$", "")
    return scores.with_columns(item=pl.concat_str([metric, pl.col("item")], separator=" "))


def _left_out_row(what: str, name: str, domain: str, reason: str) -> dict[str, str]:
    return {"what": what, "name": name, "domain": domain, "reason": reason}
