"""A process that answers the questions of a partition with a real model, to be killed by a test.

    python -m openthoughts_dagster_tests.generation.killable LAKE MODEL_FOLDER LOG

Each completion that ends is a line of LOG at once, with the time, whether it is committed later or not.
"""

import os
import sys
import time
from pathlib import Path

from openthoughts_dagster.answers import answer_shard, cell_answers, plan_answers, publish_answers
from openthoughts_dagster.generation.ledger_writer import LedgerWriter
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Completion
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import CommitBudget, KeepAllAnswers, Sampling, Teacher

SOURCE, SAMPLES, COMMIT_SECONDS = "s", 4, 0.5


def teacher(folder: str) -> Model:
    """The model of every run, which commits twice a second."""
    reference = Teacher(
        name="t",
        model=folder,
        engine="transformers",
        dtype="float32",
        sampling=Sampling(max_tokens=24),
        commit=CommitBudget(seconds=COMMIT_SECONDS),
    )
    return locate(reference, Path())


def answer_all(lake: Lake, folder: str) -> None:
    """Plan, answer and publish the partition."""
    model, pool = teacher(folder), EnginePool()
    answers = cell_answers(lake, SOURCE, "t", SAMPLES)
    planned = plan_answers(lake, model, answers)
    answers.replace(lake, answers.plans, planned.rows)
    for shard in range(planned.shards):
        answer_shard(lake, pool, model, answers, shard, print)
    publish_answers(lake, model, answers, KeepAllAnswers(), 0.0)
    pool.close()


def main(root: str, folder: str, log: str) -> None:
    """Answer all, and log every completion before the ledger has it."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    add = LedgerWriter.add

    def logged(writer: LedgerWriter, completion: Completion) -> None:
        request = completion.request
        os.write(file, f"{time.time()} {request.key} {request.sample_index}\n".encode())
        add(writer, completion)

    LedgerWriter.add = logged  # type: ignore[method-assign, assignment]
    answer_all(Lake(root), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
