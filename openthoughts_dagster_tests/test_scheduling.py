"""Tests that share what takes long to set up run in one process."""

import pytest

from openthoughts_dagster_tests.scheduling import FIXTURES, group_of, rank_of


def test_a_file_whose_tests_use_a_shared_fixture_is_in_its_group(request: pytest.FixtureRequest) -> None:
    """Of the tests that were collected with this one: all of them in `make test`."""
    for item in request.session.items:
        groups = {FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES}
        assert groups <= {group_of(item.nodeid)}, f"{item.nodeid}: add its file to SHARED_BY_FILES"


def test_files_are_groups_but_where_they_share_or_split_a_deployment() -> None:
    tests = "openthoughts_dagster_tests"
    assert group_of(f"{tests}/lake/test_lake.py::test_a[x]") == "lake/test_lake.py"
    assert group_of(f"{tests}/e2e/test_ui.py::test_a") == group_of(f"{tests}/e2e/test_landing.py::test_b") == "house"
    deployments = {
        group_of(f"{tests}/e2e/test_deployment_faults.py::test_a[{each}]") for each in ("sqlite", "postgres")
    }
    assert len(deployments) == 2
    assert rank_of(f"{tests}/e2e/test_ui.py::test_a") < rank_of(f"{tests}/lake/test_lake.py::test_a[x]")
