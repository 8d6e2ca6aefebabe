"""Asks the hub for the commits of a recipe's lock file, and compares them with those that it has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from openthoughts_dagster.landing.versions import newest_commit
from openthoughts_dagster.recipe.lock import HubReference, Lock, LockError

Task = tuple[str, HubReference]
"""The name of a task of lighteval, and its data set."""


@dataclass(frozen=True)
class LockChange:
    """A data set, model or task of which lock file and hub do not say the same.

    `locked` is the commit of the lock file and `newest` that of the hub; None where the recipe or the lock lacks it.
    """

    kind: str
    name: str
    locked: str | None
    newest: str | None

    def describe(self) -> str:
        """Write a line for a person."""
        if self.locked is None:
            return f"{self.kind} {self.name} is not in the lock file; it is at {self.newest} now"
        if self.newest is None:
            return f"{self.kind} {self.name} is in the lock file, and the recipe names it no more"
        return f"{self.kind} {self.name} has moved from {self.locked} to {self.newest}"


def newest_lock(
    references: list[HubReference], tasks: list[Task], ask: Callable[[HubReference], str] = newest_commit
) -> Lock:
    """Ask the hub for the newest commits of data sets and models.

    Args:
        references: Those that a recipe reads.
        tasks: The tasks of lighteval that it runs.
        ask: Returns the newest commit of one of them.

    Raises:
        LockError: The hub cannot be reached or does not know one of them. The message names each of them.
    """
    commits, problems = dict[HubReference, str](), list[str]()
    for reference in dict.fromkeys([*references, *(data for _, data in tasks)]):
        try:
            commits[reference] = ask(reference)
        except Exception as error:  # errors of the hub, the network and the client have no common class
            says = (str(error).strip().splitlines() or [""])[0][:300]
            problems.append(f"{reference.kind} {reference.key}: {type(error).__name__}: {says}")
    if problems:
        raise LockError(
            "the hub did not say the commits of\n"
            + "\n".join(problems)
            + "\nCheck names, network, HF_HUB_OFFLINE and HF_ENDPOINT, and HF_TOKEN for what is gated"
        )
    by_kind = {
        kind: {each.key: commits[each] for each in references if each.kind == kind} for kind in ("dataset", "model")
    }
    return Lock(by_kind["dataset"], by_kind["model"], {task: f"{data.id}@{commits[data]}" for task, data in tasks})


def compare_locks(locked: Lock, newest: Lock) -> list[LockChange]:
    """List what differs between a lock file and the newest commits, in the order of kind and name."""
    found = []
    for kind in ("datasets", "models", "tasks"):
        was: Mapping[str, str] = getattr(locked, kind)
        now: Mapping[str, str] = getattr(newest, kind)
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                found.append(LockChange(kind.removesuffix("s"), name, was.get(name), now.get(name)))
    return found
