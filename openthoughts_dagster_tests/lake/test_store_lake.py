"""Tables in an object store: many pods write one table, and no key gets into an error."""

import subprocess
import sys

import polars as pl
import pytest

from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES, TEACHER_ANSWERS, Lake, LakeError
from openthoughts_dagster_tests.lake.test_lake import _answers
from openthoughts_dagster_tests.object_store import KEYS, SECRET, ObjectStore

ROOT = "s3://lake/tables"
WRITERS, ROUNDS = 4, 4
WRITER = """
import sys
from openthoughts_dagster.lake import TEACHER_ANSWERS, Lake
from openthoughts_dagster_tests.lake.test_lake import _answers
lake, name = Lake(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for turn in range(int(sys.argv[3])):
    lake.append(TEACHER_ANSWERS, _answers(f"added-by-{name}", 3))
    lake.replace(TEACHER_ANSWERS, _answers(f"own-of-{name}", turn + 1), source=f"own-of-{name}", teacher="t")
    lake.append(TEACHER_ANSWERS, _answers("everybodys", 1))
print("done")
"""


@pytest.mark.faults
def test_four_pods_append_to_and_replace_in_one_table_at_once_and_no_row_is_lost_or_doubled(
    store: ObjectStore,
) -> None:
    lake = Lake(ROOT)
    command = [sys.executable, "-c", WRITER, ROOT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    pods = [subprocess.Popen([*command, str(n), str(ROUNDS)], text=True, **pipes) for n in range(WRITERS)]  # type: ignore[call-overload]
    for pod in pods:  # all are ready before one begins
        assert pod.stdin is not None
        pod.stdin.write("\n")
        pod.stdin.flush()
    ends = [pod.communicate(timeout=120) for pod in pods]
    assert [out for out, _ in ends] == ["done\n"] * WRITERS, [err[-500:] for _, err in ends]

    counts = dict(lake.scan(TEACHER_ANSWERS).group_by("source").len().collect().rows())
    assert counts == {"everybodys": WRITERS * ROUNDS} | {
        f"{what}-{n}": rows for n in range(WRITERS) for what, rows in (("added-by", 3 * ROUNDS), ("own-of", ROUNDS))
    }
    own = lake.scan(TEACHER_ANSWERS, source="own-of-2").collect()
    assert own.sort("sample_index")["question_id"].to_list() == [f"q{n}" for n in range(ROUNDS)]
    commits = [key for key in store.keys("lake") if "/_delta_log/" in key and key.endswith(".json")]
    # One for each write, and one that makes the table; writers that make it at the same moment leave an empty one each.
    assert 1 <= len(commits) - 3 * WRITERS * ROUNDS <= WRITERS
    # they really met: some commits had to be tried again
    tried = [path for method, path in store.requests if method == "PUT" and "/_delta_log/" in path]
    assert len(tried) > len(commits)


def test_small_files_in_the_store_are_merged_and_rows_stay(store: ObjectStore) -> None:
    lake = Lake(ROOT)
    for number in range(6):
        lake.append(TEACHER_ANSWERS, _answers("a", number + 1))
    lake.append(TEACHER_ANSWERS, _answers("b"))
    before = lake.scan(TEACHER_ANSWERS).collect().sort(pl.all())
    assert lake.compact(TEACHER_ANSWERS, files=3, source="a", teacher="t")
    assert not lake.compact(TEACHER_ANSWERS, files=3, source="a", teacher="t")
    assert lake.scan(TEACHER_ANSWERS).collect().sort(pl.all()).equals(before)


def test_a_source_larger_than_memory_is_written_in_batches_and_a_failing_one_leaves_the_old(
    store: ObjectStore,
) -> None:
    lake = Lake(ROOT)
    assert lake.replace_batches(TEACHER_ANSWERS, lambda: (_answers("a", 2) for _ in range(4)), source="a") == 8
    assert lake.replace_batches(TEACHER_ANSWERS, lambda: (_answers("a", 1) for _ in range(3)), source="a") == 3

    def failing():  # type: ignore[no-untyped-def]
        yield _answers("a", 5)
        raise OSError("the source ends too early")

    with pytest.raises(OSError, match=r"^the source ends too early"):
        lake.replace_batches(TEACHER_ANSWERS, failing, source="a")
    assert lake.scan(TEACHER_ANSWERS, source="a").collect().height == 3


def test_a_scan_of_one_partition_reads_no_file_of_another(store: ObjectStore) -> None:
    lake = Lake(ROOT)
    for source in ("a", "b"):
        lake.replace(TEACHER_ANSWERS, _answers(source), source=source, teacher="t")
    store.requests.clear()
    assert lake.scan(TEACHER_ANSWERS, source="b").collect().height == 2
    data = [path for method, path in store.requests if path.endswith(".parquet")]
    assert data and all("/source=b/" in path for path in data)


def test_a_store_that_fails_for_a_moment_is_asked_again(store: ObjectStore) -> None:
    failed: list[str] = []

    def hiccup(method: str, path: str) -> str | None:
        if method == "PUT" and len(failed) < 2:
            failed.append(path)
            return "503 Slow Down"
        return None

    store.fault = hiccup
    Lake(ROOT).append(TEACHER_ANSWERS, _answers("a"))
    assert len(failed) == 2 and Lake(ROOT).scan(TEACHER_ANSWERS).collect().height == 2


def test_refused_reads_and_writes_say_where_and_what_to_do_and_no_key(store: ObjectStore) -> None:
    lake = Lake(ROOT)
    lake.append(TEACHER_ANSWERS, _answers("a"))
    store.fault = lambda method, path: "403 Forbidden"
    for work in (
        lambda: lake.append(TEACHER_ANSWERS, _answers("a")),
        lambda: lake.replace(TEACHER_ANSWERS, _answers("a"), source="a"),
        lambda: lake.scan(TEACHER_ANSWERS),
    ):
        with pytest.raises(
            LakeError, match=r"s3://lake/tables/teacher_answers: could not .*AWS_\* variables"
        ) as caught:
            work()
        assert caught.value.__suppress_context__ and "refused" in str(caught.value)
        assert not any(value in str(caught.value) for value in (SECRET, KEYS["AWS_ACCESS_KEY_ID"]))
    store.fault = lambda method, path: "403 Forbidden" if path.endswith(".parquet") else None
    with pytest.raises(Exception, match=r"refused|403") as read:
        lake.scan(TEACHER_ANSWERS).collect()
    assert SECRET not in str(read.value)


def test_plain_http_without_leave_says_which_variable_allows_it(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(LakeError, match="set AWS_ALLOW_HTTP=true"):
        Lake(ROOT).append(TEACHER_ANSWERS, _answers("a"))


def test_a_table_that_was_never_written_is_empty_also_in_a_store(store: ObjectStore) -> None:
    assert Lake(ROOT).scan(RAW_SOURCES, source="a").collect().is_empty()
    assert not Lake(ROOT).compact(COMPLETIONS)
    assert Lake(ROOT).answers().collect().is_empty()
