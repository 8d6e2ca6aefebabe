"""The ledger under a kill, a full disk and a lake that may not be written."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import polars as pl
import pytest
from deltalake import DeltaTable

from openthoughts_dagster.generation.ledger_writer import LedgerWriter, Purpose
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import Completion, ModelIdentity, Request
from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, TEACHER_ANSWERS, Lake, LakeError, text_hash
from openthoughts_dagster.recipe import CommitBudget, ModelReference, Sampling
from openthoughts_dagster_tests.generation.killable import COMMIT_SECONDS, SAMPLES, SOURCE, answer_all

MOMENTS = list(range(20))  # seeds


def _questions(lake: Lake, count: int) -> None:
    texts = [f"What is {n} + 1?" for n in range(count)]
    rows = pl.DataFrame({"question": texts, "question_id": [text_hash(text) for text in texts]}).with_columns(
        *(pl.lit(value).alias(name) for name, value in {"source": SOURCE, "domain": "math", "licence": "MIT"}.items()),
        *(pl.lit("{}").alias(name) for name in ("origin", "metadata", "scores")),
        reference_answer=pl.lit(None, dtype=pl.String),
    )
    lake.replace(DEDUPED_QUESTIONS, rows, source=SOURCE)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killed_at_twenty_moments_it_ends_with_the_same_keys_and_lost_one_commit_interval_each_time(
    untrained_model: Path, tmp_path: Path
) -> None:
    whole, lake, log = Lake(tmp_path / "whole"), Lake(tmp_path / "killed"), tmp_path / "log"
    for one in (whole, lake):
        _questions(one, 1_500)
    answer_all(whole, str(untrained_model))
    command = [sys.executable, "-m", "openthoughts_dagster_tests.generation.killable"]
    command += [lake.root, str(untrained_model), str(log)]
    # a commit on a busy machine takes as long as those of the run that was not killed
    interval = max(COMMIT_SECONDS + 0.5, 2 * _longest_gap(whole))
    committed: set[tuple[str, int]] = set()
    ages: list[float] = []  # of the oldest completion that each kill lost
    killed_in_the_middle = 0

    for moment in MOMENTS:
        lines = log.read_text().count("\n") if log.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and (log.read_text().count("\n") if log.exists() else 0) == lines:
            time.sleep(0.01)
        time.sleep(random.Random(moment).uniform(0, 0.8))
        killed_in_the_middle += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        at = time.time()
        now = set(lake.scan(COMPLETIONS).select("key", "sample_index").collect().iter_rows())
        assert committed <= now, "a committed row is gone"
        done = [line.split() for line in log.read_text().splitlines()[lines:]]
        lost = [(key, int(index)) not in now for _, key, index in done]
        assert lost == sorted(lost), "lost a completion that had ended before one that was committed"
        if any(lost):
            ages.append(at - float(done[lost.index(True)][0]))
        committed = now
    assert killed_in_the_middle >= 15
    assert median(ages) < interval, "lost more than one interval"  # a machine may be busy with other things for once
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    keys = ["question_id", "sample_index", "key"]
    ours, theirs = (one.scan(TEACHER_ANSWERS).select(keys).sort(keys).collect() for one in (lake, whole))
    assert ours.equals(theirs)  # a random model now and then says nothing: that is rejected in both
    assert lake.answers(source=SOURCE).collect().height == ours.height
    rows = lake.scan(COMPLETIONS).select("key", "sample_index").collect()
    assert rows.height == 1_500 * SAMPLES
    assert rows.height == rows.unique().height, "generated again what had been committed"


def _longest_gap(lake: Lake) -> float:
    """The longest time between two commits to the ledger, in seconds."""
    times = sorted(each["timestamp"] for each in DeltaTable(lake.address(COMPLETIONS)).history())
    return max((later - earlier) / 1000 for earlier, later in pairwise(times))


def _writer(lake: Lake, seconds: float = 0.05) -> LedgerWriter:
    reference = ModelReference(name="m", model="m", commit=CommitBudget(seconds=seconds))
    return LedgerWriter(lake, Model(reference, "m", ModelIdentity("m", "1")), {}, Purpose())


def _completion(number: int, size: int = 10) -> Completion:
    # random letters: what repeats is compressed away
    text = "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size))
    return Completion(Request(f"key {number}", 0, "p", Sampling()), text, "stop", 1, 1, 0.1)


def _in_a_child(work: str, root: str) -> str:
    """Run a function of this module on a lake in a process of its own; what it printed."""
    code = f"from openthoughts_dagster_tests.generation.test_ledger_faults import *; {work}(Lake({root!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def fill_the_disk(lake: Lake) -> None:
    """Write where no file can grow beyond 200 kB: the system refuses as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    _write_and_print(lake, 500_000)


def write_without_permission(lake: Lake) -> None:
    """Write as a user who may only read."""
    if os.getuid() == 0:
        os.setuid(65534)
    _write_and_print(lake, 10)


def _write_and_print(lake: Lake, size: int) -> None:
    try:
        with _writer(lake) as ledger:
            ledger.add(_completion(1, size))
    except LakeError as error:
        print(f"LakeError: {error}")


def test_a_full_disk_is_a_clear_error_and_the_table_stays_readable(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    with _writer(lake) as ledger:
        ledger.add(_completion(0))
    said = _in_a_child("fill_the_disk", lake.root)

    assert "LakeError" in said and "could not write 1 rows" in said and "has space" in said
    assert lake.scan(COMPLETIONS).select("key").collect()["key"].to_list() == ["key 0"]
    with _writer(lake) as ledger:
        ledger.add(_completion(2))
    assert lake.scan(COMPLETIONS).collect().height == 2


def test_a_lake_that_may_not_be_written_is_a_clear_error_and_stays_readable(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    lake = Lake(tmp_path / "lake")
    with _writer(lake) as ledger:
        ledger.add(_completion(0))
    folders = [path for path in Path(lake.root).rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        said = _in_a_child("write_without_permission", lake.root)
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert "LakeError" in said and "writable" in said
    assert lake.scan(COMPLETIONS).collect().height == 1


def test_a_store_that_fails_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    class Flaky(Lake):
        failures = 2

        def append(self, table: object, rows: pl.DataFrame) -> None:
            if self.failures:
                self.failures -= 1
                raise LakeError("the store is away")
            super().append(COMPLETIONS, rows)

    lake = Flaky(tmp_path / "lake")
    with _writer(lake) as ledger:
        for number in range(3):
            ledger.add(_completion(number))
            while lake.failures > max(0, 1 - number):
                time.sleep(0.01)
    assert lake.scan(COMPLETIONS).collect().height == 3

    lake.failures = 2  # at the very end, where no later commit takes the rows along
    with _writer(lake) as ledger:
        ledger.add(_completion(3))
    assert lake.scan(COMPLETIONS).collect().height == 4
