"""`make demo` killed at any moment ends, when it is started again, in the same tables. The quickstart itself, whole."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.evaluation import OVERALL
from openthoughts_dagster.lake import (
    ANSWER_PLANS,
    BENCHMARK_SCORES,
    COMPLETIONS,
    GENERATION_COSTS,
    LAKE_RECIPES,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TABLES,
    TEACHER_RANKING,
    Lake,
    frame_hash,
)
from openthoughts_dagster_tests.e2e.conftest import HOUSE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(2400)]

# When it is done differs from run to run, and where; what is done must not.
_TIMES_AND_PLACES = ["seconds", "created_at", "path", "model_id", "cached_tokens"]
_TIMES_AND_PLACES += ["engine_seconds", "cost", "completion_id", "samples"]  # samples names completions
# What was missing when, and what was spent: a process that was killed planned and paid as well.
_ACCOUNTS = [ANSWER_PLANS, GENERATION_COSTS, LAKE_RECIPES]
# Each is a kind of work: training a model, generating, fine-tuning, examining.
_MOMENTS = ["judge: step 50", "students two-digit-sums worked"]
_MOMENTS += ["student_checkpoint: student: step", "benchmark_scores: student:"]


@dataclass
class Demo:
    """`make demo` in a data folder of its own."""

    data: Path

    def start(self) -> "subprocess.Popen[str]":
        home = self.data / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        (home / "dagster.yaml").write_text((HOUSE / "dagster.yaml").read_text())
        places = {"OPENTHOUGHTS_DATA": str(self.data), "DAGSTER_HOME": str(home), "OPENTHOUGHTS_RECIPE": "quickstart"}
        return subprocess.Popen(
            [sys.executable, "-m", "openthoughts_dagster.demo"],
            env=os.environ | places,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> str:
        """Run to the end and give back what it printed."""
        process = self.start()
        output, _ = process.communicate()
        assert process.returncode == 0, output[-4000:]
        return output

    def kill_at(self, moment: str, rng: random.Random) -> None:
        """Start it, and kill it with all its processes shortly after it prints `moment`."""
        process = self.start()
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if moment in line:
                break
        else:
            pytest.fail(f"it ended before it printed {moment!r}: {''.join(seen)[-3000:]}")
        time.sleep(rng.uniform(0, 3))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def tables(self) -> dict[str, str]:
        """Hash of every table's content."""
        lake = Lake(self.data / "lake")
        contents = {}
        for name, table in TABLES.items():
            if table in _ACCOUNTS:
                continue
            rows = lake.scan(table).filter(pl.col("error").is_null() if table is COMPLETIONS else True).collect()
            rows = rows.drop(_TIMES_AND_PLACES, strict=False)
            if table is COMPLETIONS:  # a completion that was under way twice may stand there twice
                rows = rows.unique()
            contents[name] = frame_hash(rows)
        return contents


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A quickstart that nobody disturbed."""
    demo = Demo(tmp_path_factory.mktemp("whole"))
    output = demo.finish()
    print(output)
    assert "FAILED" not in output
    return demo


def test_the_student_that_learned_beats_the_untrained_and_the_better_teacher_the_other(whole: Demo) -> None:
    lake = Lake(whole.data / "lake")
    scores = lake.scan(BENCHMARK_SCORES, source="two-digit-sums", teacher="worked")
    best = scores.filter(benchmark="two-digit-sums-test").collect()
    teachers = lake.scan(TEACHER_RANKING).filter(domain=OVERALL).sort("rank").collect()
    sources = lake.scan(SOURCE_RANKING).filter(domain=OVERALL).sort("rank").collect()

    assert best["score"].to_numpy().mean() > 0.6
    assert best["untrained_score"].to_numpy().mean() < 0.1
    assert teachers["teacher"].to_list() == ["worked", "direct"] and teachers["significant"][0]
    assert sources["source"][0] == "two-digit-sums" and sources["significant"][0]


def test_a_demo_that_is_killed_again_and_again_ends_in_the_same_tables(whole: Demo, tmp_path: Path) -> None:
    demo, rng = Demo(tmp_path), random.Random(0)
    for name in ("student", "worked", "direct"):  # one model is left to be trained and killed
        shutil.copytree(whole.data / "tiny_models" / name, tmp_path / "tiny_models" / name)
    for moment in _MOMENTS:
        demo.kill_at(moment, rng)
    output = demo.finish()

    assert "FAILED" not in output
    students = Lake(tmp_path / "lake").scan(STUDENT_CHECKPOINTS).collect()
    assert all(Path(path).is_dir() for path in students["path"])
    assert demo.tables() == whole.tables()


def test_a_second_demo_says_that_it_generated_and_trained_nothing(whole: Demo) -> None:
    before = whole.tables()
    output = whole.finish()
    print(output)
    assert "0 completions generated" in output and "0 students trained" in output
    assert whole.tables() == before
