"""Which licences of rows a release can have, and what a person is told of the others."""

import polars as pl
import pytest

from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.release.licences import (
    LicenceError,
    LicenceProblem,
    alternatives_of,
    find_licence_problems,
    normalize_licence,
)


def _problems(
    licence: str, release: str = "Apache-2.0", allowed: list[str] | None = None, **waived: str
) -> list[LicenceProblem]:
    rows = pl.DataFrame([{"source": "forum", "licence": licence, "rows": 7}])
    return list(find_licence_problems(rows, release, allowed, waived))


@pytest.mark.parametrize(
    ("licence", "of_release", "says"),
    [
        ("apache-2.0", "Apache-2.0", ""),
        ("CC-BY-4.0", "Apache-2.0", ""),
        ("ODC-By-1.0", "MIT", ""),
        ("CC-BY-NC-SA-4.0", "Apache-2.0", "CC-BY-NC-SA-4.0 forbids commercial use and has to stay under the same"),
        ("CC-BY-NC-4.0", "Apache-2.0", "CC-BY-NC-4.0 forbids commercial use"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", ""),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0 OR CC-BY-SA-4.0", "CC-BY-NC-4.0 forbids commercial use"),
        ("CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC-BY-ND-4.0 forbids changed copies"),
        ("CC-BY-SA-4.0", "Apache-2.0", "CC-BY-SA-4.0 has to stay under the same licence, which Apache-2.0 does not"),
        ("CC-BY-SA-4.0", "Apache-2.0 AND CC-BY-SA-4.0", ""),
        ("CC-BY-SA-4.0", "Apache-2.0 OR CC-BY-SA-4.0", "which Apache-2.0 OR CC-BY-SA-4.0 does not keep"),
        ("CC-BY-SA-4.0", "(Apache-2.0 OR MIT) AND CC-BY-SA-4.0", ""),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", ""),
        ("CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0 has to stay"),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0 has to stay"),
        ("GPL-3.0-only", "MIT", "GPL-3.0-only has to stay"),
        ("GPL-3.0-or-later OR MIT", "MIT", ""),
        ("MIT AND CC-BY-NC-4.0", "MIT", "CC-BY-NC-4.0 forbids commercial use"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "MIT", "has to stay"),
        ("unknown", "Apache-2.0", "its licence is unknown"),
        ("", "Apache-2.0", "its licence is unknown"),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0", "'CC BY-SA 4.0' is no SPDX expression"),
        ("LicenseRef-ours", "Apache-2.0", ""),
        ("(MIT OR GPL-3.0-only) AND (ISC OR CC-BY-NC-4.0)", "Apache-2.0", ""),
        ("Apache-2.0 AND (GPL-3.0-only OR (MIT AND CC-BY-NC-4.0))", "Apache-2.0", "GPL-3.0-only has to stay"),
        (" AND ".join(f"(LicenseRef-a{n} OR MIT)" for n in range(40)), "MIT", "more than 1,000 combinations"),
    ],
)
def test_rows_may_stand_in_a_release_whose_licence_keeps_theirs(licence: str, of_release: str, says: str) -> None:
    found = _problems(licence, of_release)
    assert [says in problem.problem for problem in found] == ([True] if says else [])
    assert all(p.source == "forum" and p.rows == 7 and "gate: licence" in p.remedy for p in found)
    assert _problems(licence, of_release, forum="the authors allowed it by letter") == []


def test_the_recipes_list_allows_identifiers_and_one_alternative_is_enough() -> None:
    assert _problems("mit", allowed=["MIT"]) == []
    assert _problems("GPL-3.0-only OR MIT", allowed=["MIT"]) == []
    [problem] = _problems("LicenseRef-ours", allowed=["MIT"])
    assert problem.problem == "LicenseRef-ours is not in release.gates.licences"
    assert problem.remedy.startswith("add LicenseRef-ours to release.gates.licences, take the source out")


def test_a_release_needs_a_licence_that_is_an_expression() -> None:
    for licence, says in (("unknown", "has no licence"), ("Apache 2.0", "no SPDX expression")):
        with pytest.raises(LicenceError, match=says):
            _problems("MIT", release=licence)
    assert normalize_licence("mit or (apache-2.0 and cc0-1.0)") == "MIT OR (Apache-2.0 AND CC0-1.0)"
    assert alternatives_of("A AND (B OR C WITH D)") == [frozenset({"A", "B"}), frozenset({"A", "C WITH D"})]


def test_every_licence_of_the_papers_sources_is_judged() -> None:
    recipe = load_recipe("openthoughts3", {})
    stated = [(s.name, s.licence, 1) for s in (*recipe.sources, *recipe.catalogue)]
    rows = pl.DataFrame(stated, schema=["source", "licence", "rows"], orient="row")
    found = {problem.source: problem.problem for problem in find_licence_problems(rows, "Apache-2.0", None, {})}
    assert not [text for text in found.values() if "no SPDX expression" in text]
    assert "CC-BY-SA-4.0 has to stay under the same licence" in found["stackexchange-physics"]
    assert "CC-BY-NC-SA-4.0 forbids commercial use" in found["organic-chemistry"]
    assert "opencodereasoning" not in found  # CC-BY-4.0
