"""The gates: what must hold before a release leaves. Each looks things up in the tables again.

A gate that fails names rows and the remedy. A waiver of the recipe takes one source out of one gate, with its reason.
"""

from collections.abc import Mapping

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.gates.decisions import check_card, check_ranking
from openthoughts_dagster.release.gates.result import Gate, GateResult, present_version, require_version, waivers_of
from openthoughts_dagster.release.gates.rows import check_completeness, check_licences, check_truncation
from openthoughts_dagster.release.gates.texts import check_contamination, check_personal_data

__all__ = [
    "GATES",
    "Gate",
    "GateResult",
    "check_card",
    "check_completeness",
    "check_contamination",
    "check_licences",
    "check_personal_data",
    "check_ranking",
    "check_truncation",
    "find_gate_failures",
    "present_version",
    "require_version",
    "waivers_of",
]

GATES: Mapping[str, Gate] = {
    "licence": check_licences,
    "contamination": check_contamination,
    "completeness": check_completeness,
    "truncation": check_truncation,
    "ranking": check_ranking,
    "card": check_card,
}
"""The gates that stop a release, by the names that `release.gates.waive` uses. Personal data only warns."""


def find_gate_failures(lake: Lake, recipe: Recipe, teacher: str) -> list[GateResult]:
    """Return the gates that stop a release, each with rows and remedy.

    Args:
        lake: The tables.
        recipe: The recipe with its release.
        teacher: The release's partition.

    Returns:
        The failed gates that block; empty when the release may leave.

    Raises:
        ReleaseError: The recipe has no release.
    """
    results = (gate(lake, recipe, teacher) for gate in GATES.values())
    return [result for result in results if not result.passed]
