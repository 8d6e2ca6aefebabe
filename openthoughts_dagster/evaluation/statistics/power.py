"""Statistical power: the smallest difference that a design can find."""

import math

from openthoughts_dagster.evaluation.statistics.estimates import Estimate


def smallest_detectable_difference(
    difference: Estimate, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> float | None:
    """The smallest true difference that a comparison like this one would have found.

    "Not significant" says little before this is known: a benchmark of 30 items misses most differences that matter.

    Args:
        difference: A measured difference between two students, for its standard error and degrees of freedom.
        alpha: The accepted chance of a false finding.
        power: The chance to find a difference that exists.
        comparisons: How many comparisons are made at once; `alpha` is divided among them.

    Returns:
        A difference of scores, such as 0.04 for four points; None without a standard error.

    Example:
        >>> round(smallest_detectable_difference(Estimate(0.0, 0.01, 500, 499)), 3)
        0.028
    """
    error, freedom = difference.standard_error, difference.degrees_of_freedom
    if error is None or freedom is None:
        return None
    from statsmodels.stats.power import TTestPower

    # A paired t-test of as many pairs as the degrees of freedom stand for.
    pairs = freedom + 1
    effect = TTestPower().solve_power(
        effect_size=None, nobs=pairs, alpha=alpha / comparisons, power=power, alternative="two-sided"
    )
    return float(effect) * error * math.sqrt(pairs)
