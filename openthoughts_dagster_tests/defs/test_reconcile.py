"""What automation lost is found by comparing contents, and nothing else is asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from openthoughts_dagster.defs.catalogue import entries_of
from openthoughts_dagster.defs.reconcile import all_stale, edges_of
from openthoughts_dagster_tests.defs.world import NIGHTLY, QUESTIONS, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)


def reconciled(world: World) -> set[str]:
    """What both schedules request."""
    edges = edges_of(entries_of(world.loaded), world.loaded)
    requests = [stale.request() for stale in all_stale(world.instance, world.loaded, edges, seed="tonight")]
    return {f"{key.to_user_string()}:{r.partition_key}" for r in requests for key in r.asset_selection or ()}


def test_a_change_in_the_moment_of_a_request_is_lost_by_automation_and_found_at_night(world: World) -> None:
    world.made("deduped_questions", "a", "2")
    assert world.tick() == {"teacher_answers:a|t1", "teacher_answers:a|t2"}
    running = [world.planned("teacher_answers", partition=f"a|{teacher}") for teacher in ("t1", "t2")]
    world.made("deduped_questions", "a", "3")  # seen by the tick after the request
    assert world.tick() == set()
    assert reconciled(world) == set()  # still running
    for teacher, run in zip(("t1", "t2"), running, strict=True):
        world.made("teacher_answers", f"a|{teacher}", "2", run_id=run)
    assert world.tick() == set()
    assert reconciled(world) == {"teacher_answers:a|t1", "teacher_answers:a|t2"}
    for teacher in ("t1", "t2"):
        world.made("teacher_answers", f"a|{teacher}", "3")
    assert reconciled(world) == set()


def _answered_again(world: World) -> None:
    for teacher in ("t1", "t2"):
        world.made("teacher_answers", f"a|{teacher}", "2")


def _failed(world: World) -> None:
    world.made("deduped_questions", "a", "2")
    for teacher in ("t1", "t2"):
        world.failed("teacher_answers", f"a|{teacher}")


def _one_run(world: World) -> None:
    world.curated("a", "2", world.planned(*QUESTIONS, partition="a"))
    _answered_again(world)


QUIET: dict[str, Callable[[World], object]] = {
    "everything is up to date": lambda w: None,
    "an input was made again with the same content": lambda w: (w.curated("a"), w.curated("a")),
    "a new teacher was never asked": lambda w: w.recipe(teachers=["t1", "t2", "new"]),
    "a cell failed": _failed,
    "one run made a whole source": _one_run,
    "students wait for a button": lambda w: w.made("teacher_answers", "a|t1", "2"),
}


@pytest.mark.parametrize("act", QUIET.values(), ids=QUIET)
def test_nothing_is_requested_when_(act: Callable[[World], object], world: World) -> None:
    act(world)
    assert reconciled(world) == set()


def test_a_source_whose_scoring_was_never_requested_is_found(world: World) -> None:
    world.instance.add_dynamic_partitions("source", ["c"])
    world.made("raw_sources", "c")
    assert reconciled(world) == {"scored_questions:c"}


def test_students_are_found_where_the_recipe_has_a_schedule_for_them(world: World) -> None:
    world.recipe(teachers=["t1", "t2"], students=NIGHTLY)
    world.made("teacher_answers", "a|t1", "2")
    assert reconciled(world) == {"student_checkpoint:a|t1"}
