"""Which tests run in one process of pytest-xdist: those of one file, and files that share what takes long to set up.

The option `--dist loadgroup` of pytest-xdist 3.8 has no effect with pytest 9.2, which keeps node ids elsewhere.
"""

from typing import Any

import pytest

# Groups of files whose tests share a fixture of the session: it is set up once, in the process that has the group.
SHARED_BY_FILES = {
    "kubernetes/test_end_to_end.py": "release",
    "kubernetes/test_losses.py": "release",
    "kubernetes/test_maintenance.py": "release",
    "kubernetes/test_outages.py": "release",
    "kubernetes/test_rights.py": "release",
    "e2e/test_landing.py": "house",
    "e2e/test_recipe_runs.py": "house",
    "e2e/test_studies.py": "house",
    "e2e/test_ui.py": "house",
}
# The fixtures, by the group that has to contain every file that uses one of them.
FIXTURES = {
    "release": "release",
    "here": "release",
    "house": "house",
    "first_run": "house",
    "live": "house",
    "asked": "house",
}
# A parameter of a whole file that sets up a deployment of its own splits the file.
_SPLIT = {"e2e/test_deployment_faults.py": ("sqlite", "postgres")}
# The longest come first, so that no process begins one of them when the other has nothing left to do.
_LONGEST_FIRST = [
    "release",
    "house",
    "e2e/test_faults.py",
    "generation/test_engines.py",
    "training/test_processes.py",
    "storage/test_pods.py",
    "test_extending.py",
    "generation/test_ledger_faults.py",
]


def group_of(nodeid: str) -> str:
    """The group of a test: tests of one group run in one process, in their order."""
    file = nodeid.partition("::")[0].partition("openthoughts_dagster_tests/")[2] or nodeid.partition("::")[0]
    for parameter in _SPLIT.get(file, ()):
        if f"[{parameter}" in nodeid:
            return f"{file}[{parameter}]"
    return SHARED_BY_FILES.get(file, file)


def rank_of(nodeid: str) -> int:
    """Where the group of a test stands in the order of groups."""
    group = group_of(nodeid)
    return _LONGEST_FIRST.index(group) if group in _LONGEST_FIRST else len(_LONGEST_FIRST)


def scheduler_by_group(config: pytest.Config, log: Any) -> Any:
    """A scheduler of pytest-xdist that keeps the tests of a group together."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return GroupScheduling(config, log)
