"""The decision of a study by its rule, as a sentence with the numbers behind it."""

from collections.abc import Mapping, Sequence

from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies.comparison import Comparison, Estimated

ALPHA = 0.05


def decide(study: Study, arms: Mapping[str, Estimated], comparisons: Sequence[Comparison]) -> tuple[str, str | None]:
    """Decide a study by its rule.

    Args:
        study: The study, for its rule and margin.
        arms: The scores of the arms that are compared, in the order of the study.
        comparisons: Every pair of arms.

    Returns:
        The decision as a sentence, and the winner; None if the rule decides for no arm.
    """
    ranked = sorted(arms, key=lambda name: -arms[name].mean)
    best, seeds = ranked[0], arms[ranked[0]].seeds
    against_best = {c.second: c for c in comparisons if c.first == best}
    end = " One seed says nothing of other trainings: the error is over items alone." if seeds == 1 else ""
    if seeds < study.seeds:
        end += f" Only {seeds} of {study.seeds} seeds are scored in every arm."
    if absent := [name for name in study.variants() if name not in arms]:
        end += f" Not compared, because they have no scores yet: {', '.join(absent)}."
    if study.decision == "simplest_within_margin":
        sentence, winner = _decide_for_simplest(study, list(arms), best, against_best)
        return sentence + end, winner
    runner_up = against_best[ranked[1]]
    unclear = [c for c in against_best.values() if c.p_holm >= ALPHA]
    if not unclear:
        lead = ranked[1] if len(ranked) == 2 else f"all other arms, and than the next one, {ranked[1]}"
        return f"{best} is better than {lead}, by {_describe_comparison(study, runner_up)}.{end}", best
    equal = [c for c in unclear if c.p_equivalent is not None and c.p_equivalent < ALPHA]
    if len(equal) == len(unclear):
        names = ", ".join(c.second for c in equal)
        return f"{best} and {names} differ by less than the margin of {_margin(study)}.{end}", None
    names = ", ".join(c.second for c in unclear)
    shown, remedy = _describe_comparison(study, unclear[0]), _describe_remedy(unclear)
    return f"{best} cannot be told apart from {names} ({shown}); {remedy}.{end}", None


def _decide_for_simplest(
    study: Study, names: Sequence[str], best: str, against_best: Mapping[str, Comparison]
) -> tuple[str, str]:
    """Take the first arm, in the order of the study, that is shown to be no worse than the best by the margin."""
    unknown = []
    for name in names[: names.index(best)]:
        comparison = against_best[name]
        if comparison.p_equivalent is not None and comparison.p_equivalent < ALPHA:
            shown = _describe_comparison(study, comparison)
            return f"{name} is no worse than {best} by more than {_margin(study)} ({shown}).", name
        if comparison.p_holm >= ALPHA:
            unknown.append(name)
    before = ", and no arm before it is shown to be as good within the margin" if names.index(best) else ""
    sentence = f"{best} has the highest score{before}."
    if unknown:
        sentence += f" This design cannot tell whether {', '.join(unknown)} would do as well."
    if later := [c.second for c in against_best.values() if _is_open(c) and c.second not in unknown]:
        sentence += f" It cannot be told apart from {', '.join(later)}, and is taken because it comes first."
    return sentence, best


def _describe_remedy(unclear: Sequence[Comparison]) -> str:
    """Say how many seeds or items would tell arms apart, if they truly differ as much as they did here."""
    there = unclear[0].difference
    if there.seeds == 1:
        return "run at least 3 seeds to learn how much trainings differ"
    seeds, items = [c.seeds_needed for c in unclear], [c.items_needed for c in unclear]
    more_seeds = max([there.seeds + 1, *(n for n in seeds if n)]) if all(seeds) else None
    more_items = max([there.items + 1, *(n for n in items if n)]) if all(items) else None
    if more_seeds:
        return f"{more_seeds} seeds would tell them apart" + (f", or {more_items:,} items" if more_items else "")
    if some := [c for c in unclear if c.seeds_needed]:
        count = max(there.seeds + 1, *(c.seeds_needed or 0 for c in some))
        return f"{count} seeds would tell it from {', '.join(c.second for c in some)}, and 100 not from the others"
    if more_items:
        return f"100 seeds would not be enough; {more_items:,} benchmark items would tell them apart"
    return "neither 100 seeds nor 100 times the benchmark items would be enough alone"


def undecided_arms(arms: Mapping[str, Estimated], comparisons: Sequence[Comparison]) -> list[str]:
    """Return the arms that are neither worse than the best one nor equal to it within the margin."""
    best = min(arms, key=lambda name: -arms[name].mean)
    return [c.second for c in comparisons if c.first == best and _is_open(c)]


def _is_open(comparison: Comparison) -> bool:
    """Whether two arms are neither told apart nor shown to be equal within the margin."""
    equivalent = comparison.p_equivalent is not None and comparison.p_equivalent < ALPHA
    return comparison.p_holm >= ALPHA and not equivalent


def score_text(study: Study, value: float, sign: str = "") -> str:
    """Format a score or a difference of a study: in points of 100, or in standard deviations of a z-score."""
    return f"{value:{sign}.2f}" if study.metric == "z_mean" else f"{100 * value:{sign}.1f}"


def score_unit(study: Study) -> str:
    """Return the unit of `score_text`."""
    return "standard deviations" if study.metric == "z_mean" else "points"


def needed_text(count: int | None) -> str:
    """Format the seeds or items that a comparison would need; a dash where they are too many or not known."""
    return "-" if count is None else f"{count:,}"


def best_text(study: Study) -> str:
    """Return the heading of the share of resamples in which an arm is among the best."""
    return "best in" if study.best == 1 else f"among best {study.best} in"


def p_value(p: float) -> str:
    """A p-value as people read it: with its sign, and no smaller than one in ten thousand."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def _margin(study: Study) -> str:
    assert study.margin is not None
    return f"{score_text(study, study.margin)} {score_unit(study)}"


def _describe_comparison(study: Study, comparison: Comparison) -> str:
    difference = comparison.difference
    seeds = "1 seed" if difference.seeds == 1 else f"{difference.seeds} seeds"
    return (
        f"{score_text(study, difference.mean, '+')} ± {score_text(study, difference.error)} {score_unit(study)}; "
        f"{seeds}, {difference.items:,} items, p {p_value(comparison.p_holm)}"
    )
