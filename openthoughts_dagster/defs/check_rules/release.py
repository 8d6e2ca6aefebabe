"""Rules about a release: the gates, which stop it, and personal data, which warns."""

from openthoughts_dagster.defs.check_rules.partition import Finding, Partition
from openthoughts_dagster.defs.metadata import sample_rows
from openthoughts_dagster.release.gates import (
    Gate,
    check_card,
    check_completeness,
    check_contamination,
    check_licences,
    check_personal_data,
    check_ranking,
    check_truncation,
)

_ROWS = 20


def release_licences_agree(at: Partition) -> Finding:
    """Every row's licence is known, allowed by the recipe, and agrees with the licence of the release."""
    return _find(at, check_licences)


def release_has_no_benchmark_questions(at: Partition) -> Finding:
    """No question of the release leaks from a benchmark."""
    return _find(at, check_contamination)


def release_is_complete(at: Partition) -> Finding:
    """Every source has rows, every row has its texts, and few answers are missing."""
    return _find(at, check_completeness)


def release_is_not_cut_off(at: Partition) -> Finding:
    """At most the recipe's share of answers is cut off."""
    return _find(at, check_truncation)


def release_ranks_are_decided(at: Partition) -> Finding:
    """Where the recipe takes the best sources, their ranks are decided and the release has these sources."""
    return _find(at, check_ranking)


def release_has_a_card(at: Partition) -> Finding:
    """The version that was made last has a card that names it."""
    return _find(at, check_card)


def release_has_no_personal_data(at: Partition) -> Finding:
    """No text has an e-mail address, a phone number or a key. This warns, since detectors err: look at the rows."""
    return _find(at, check_personal_data)


def _find(at: Partition, gate: Gate) -> Finding:
    result = gate(at.lake, at.recipe, at.teacher)
    numbers = dict(result.numbers)
    if result.rows.height:
        numbers["rows"] = sample_rows(result.rows, _ROWS)
    if result.remedy:
        numbers["remedy"] = result.remedy
    return Finding(result.passed, result.says, numbers)
