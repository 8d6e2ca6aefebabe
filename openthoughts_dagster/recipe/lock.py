"""The lock file of a recipe: the commits of the hub's data sets and models that runs read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from openthoughts_dagster.recipe.documents import read_yaml
from openthoughts_dagster.recipe.sources import HubPart, HuggingFaceSource

CONVERTED = "refs/convert/parquet"
"""The branch with the hub's own Parquet files of data sets with a loading script."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HEAD = """# Written by `openthoughts lock`: the commits of the hub's data sets and models that runs of the recipe read.
# `openthoughts lock --check` says what has moved on the hub since, and `openthoughts lock` takes the newest ones.
"""


class LockError(ValueError):
    """The lock file cannot be used. The message says what is wrong and what to do."""


@dataclass(frozen=True, order=True)
class HubReference:
    """A data set or a model of the hub that a recipe reads without naming a commit.

    Attributes:
        kind: Which part of the hub it is in.
        id: Its id.
        revision: A branch or tag; None for the newest commit of the main branch.
    """

    kind: Literal["dataset", "model"]
    id: str
    revision: str | None = None

    @property
    def key(self) -> str:
        """Its name in the lock file."""
        return self.id if self.revision is None else f"{self.id}@{self.revision}"


@dataclass(frozen=True)
class Lock:
    """The commits of a lock file, by name. Those of `tasks` are written as data set and commit."""

    datasets: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)

    def commit(self, reference: HubReference) -> str | None:
        """Return the commit of a data set or model; None when it is not locked."""
        return (self.datasets if reference.kind == "dataset" else self.models).get(reference.key)

    def text(self) -> str:
        """Return the content of the file."""
        import yaml

        values = {name: dict(sorted(part.items())) for name, part in vars(self).items() if part}
        return _HEAD + yaml.safe_dump(values, sort_keys=False, width=120)


def lock_path(recipe_file: Path) -> Path:
    """Return the path of a recipe's lock file: recipe.lock.yaml beside recipe.yaml."""
    return recipe_file.with_suffix(".lock.yaml")


def read_lock(recipe_file: Path) -> Lock | None:
    """Read the lock file beside a recipe; None when there is none.

    Raises:
        LockError: The file is no lock file.
    """
    path = lock_path(recipe_file)
    if not path.is_file():
        return None
    found = read_yaml(path, LockError)
    problem = _find_problem(found)
    if problem:
        raise LockError(f"{path}: {problem}; write it again with `openthoughts lock`")
    return Lock(**{name: found.get(name) or {} for name in Lock.__dataclass_fields__})


def split_commit(name: str) -> tuple[str, str | None]:
    """Split a model's id from the commit that a lock file added: `org/model@commit`."""
    base, _, commit = name.rpartition("@")
    return (base, commit) if base and _COMMIT.fullmatch(commit) else (name, None)


def parts_of(source: HuggingFaceSource) -> list[HubPart]:
    """Return all data sets of a source: its own and those of `more`."""
    return [HubPart(dataset=source.dataset, subset=source.subset, revision=source.revision), *source.more]


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, which never moves, and no branch or tag."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _find_problem(found: Any) -> str | None:
    if not isinstance(found, Mapping):
        return "it is no mapping"
    for name, part in found.items():
        if name not in Lock.__dataclass_fields__:
            return f"{name!r} is no part of a lock file"
        if not isinstance(part, Mapping | None):
            return f"{name} is no mapping of names to commits"
        for key, commit in (part or {}).items():
            if not isinstance(commit, str) or not _COMMIT.fullmatch(commit.rpartition("@")[2]):
                return f"{name}.{key} is no commit, got {commit!r}"
    return None


Locked = Callable[[str, str | None], str | None]
"""Returns the locked commit of a data set and its revision, or None."""
