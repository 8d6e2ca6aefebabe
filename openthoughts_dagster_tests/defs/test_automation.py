"""What the automation asks for, as a table of sentences: each starts where every cell of two sources is answered."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from openthoughts_dagster_tests.defs.world import NIGHTLY, World

COSTS = {"generation_costs"}  # hourly, whatever else happens


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two sources, answered by two teachers whose students are ranked: everything is up to date."""
    with dg.DagsterInstance.ephemeral() as instance:  # in memory: a tick on disk takes a second
        yield World(tmp_path, instance)


def _new_teacher_then(act: Callable[[World], object]) -> Callable[[World], None]:
    def new_teacher(world: World) -> None:
        world.recipe(teachers=["t1", "t2", "new"])
        assert world.tick() == set()
        act(world)

    return new_teacher


def _nightly_then(act: Callable[[World], object]) -> Callable[[World], None]:
    def nightly(world: World) -> None:
        world.recipe(teachers=["t1", "t2"], students=NIGHTLY)
        world.tick()
        act(world)

    return nightly


SENTENCES: list[tuple[str, Callable[[World], object], set[str]]] = [
    ("nothing happened: nothing is requested", lambda w: None, set()),
    (
        "a new source was read: it is scored",
        lambda w: (w.instance.add_dynamic_partitions("source", ["c"]), w.made("raw_sources", "c")),
        {"scored_questions:c"},
    ),
    (
        "a source got other data: it is scored, and no other",
        lambda w: w.made("raw_sources", "a", "2"),
        {"scored_questions:a"},
    ),
    ("scores changed: selection follows", lambda w: w.made("scored_questions", "a", "2"), {"deduped_questions:a"}),
    ("a source was read again and is the same: nothing moves", lambda w: w.made("raw_sources", "a"), set()),
    ("the whole source was made again and is the same: nothing moves", lambda w: w.curated("a"), set()),
    (
        "a new source has questions: every teacher in use answers them, and no other cell moves",
        lambda w: w.landed("c"),
        {"teacher_answers:c|t1", "teacher_answers:c|t2"},
    ),
    (
        "a source's questions changed: every teacher that answered it answers again",
        lambda w: w.made("deduped_questions", "a", "2"),
        {"teacher_answers:a|t1", "teacher_answers:a|t2"},
    ),
    ("a new teacher: nothing, it waits for a person", _new_teacher_then(lambda w: None), set()),
    (
        "a new teacher and then a new source: only the teachers in use answer",
        _new_teacher_then(lambda w: w.landed("c")),
        {"teacher_answers:c|t1", "teacher_answers:c|t2"},
    ),
    (
        "a new teacher and then changed questions: only the teachers that answered them answer again",
        _new_teacher_then(lambda w: w.made("deduped_questions", "a", "2")),
        {"teacher_answers:a|t1", "teacher_answers:a|t2"},
    ),
    (
        "a person tried the new teacher on one source: it answers no other known source by itself",
        _new_teacher_then(lambda w: (w.landed("c"), w.tick(), w.made("teacher_answers", "a|new", "1"))),
        set(),
    ),
    (
        "a person started the new teacher: it answers the next new source",
        _new_teacher_then(lambda w: (w.made("teacher_answers", "a|new"), w.tick(), w.landed("c"))),
        {"teacher_answers:c|t1", "teacher_answers:c|t2", "teacher_answers:c|new"},
    ),
    (
        "a cell that failed, and whose questions changed since: it is asked again",
        lambda w: (w.landed("c"), w.tick(), w.failed("teacher_answers", "c|t1"), w.tick(), w.curated("c", "2")),
        {"teacher_answers:c|t1"},
    ),
    (
        "a source that fails its checks goes no further, and holds up no other",
        lambda w: (w.made("scored_questions", "a", "2", checks=False), w.made("scored_questions", "b", "2")),
        {"deduped_questions:b"},
    ),
    ("answers changed: students wait for a button", lambda w: w.made("teacher_answers", "a|t1", "2"), set()),
    (
        "a student was scored anew: the rankings follow, though another cell is missing",
        lambda w: (w.landed("c"), w.tick(), w.made("benchmark_scores", "a|t1", "2")),
        {"source_ranking", "teacher_ranking"},
    ),
    (
        "answers changed by day, students nightly: nothing before the night",
        _nightly_then(lambda w: w.made("teacher_answers", "a|t1", "2")),
        set(),
    ),
    (
        "a student was trained by the nightly schedule: its scores follow",
        _nightly_then(lambda w: w.made("student_checkpoint", "a|t1", "2")),
        {"benchmark_scores:a|t1"},
    ),
    (
        "a source was deleted and came back with other data: it is made again",
        lambda w: (
            w.instance.delete_dynamic_partition("source", "a"),
            w.tick(),
            w.instance.add_dynamic_partitions("source", ["a"]),
            w.tick(),
            w.made("raw_sources", "a", "2"),
        ),
        {"scored_questions:a"},
    ),
]


@pytest.mark.parametrize(("sentence", "act", "requested"), SENTENCES, ids=[sentence for sentence, _, _ in SENTENCES])
def test_(sentence: str, act: Callable[[World], object], requested: set[str], world: World) -> None:
    act(world)
    assert world.tick() == requested, sentence
    assert world.tick() == set(), f"{sentence}, and once"


def test_costs_are_summed_up_in_the_hour_after_something_was_paid(world: World) -> None:
    assert world.tick(hours=1) == set()
    world.made("teacher_answers", "a|t1", "2")
    assert world.tick() == set()
    assert world.tick(hours=1) == {"generation_costs"}
    assert world.tick(hours=1) == set()


def test_at_night_students_are_trained_whose_answers_changed_since_the_last_night(world: World) -> None:
    world.recipe(teachers=["t1", "t2"], students=NIGHTLY)
    world.tick()
    world.made("teacher_answers", "a|t1", "2")
    assert world.tick(hours=1) - COSTS == set()
    assert world.tick(hours=14) - COSTS == {"student_checkpoint:a|t1"}
    world.made("student_checkpoint", "a|t1", "2")
    assert world.tick() == {"benchmark_scores:a|t1"}
    assert world.tick(hours=24) - COSTS == set()
