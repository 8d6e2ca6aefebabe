"""Every example of docs/extending.md, applied to a copy of the package and run there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "openthoughts_dagster"
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

USE = """
import json, os
from pathlib import Path

import dagster as dg
import polars as pl

from openthoughts_dagster.answers.filters import FilterContext, dropped_answers
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.evaluation.run import evaluate
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, Lake, RAW_SOURCES, SCORED_QUESTIONS, Table
from openthoughts_dagster.defs.assets.question_lengths import QUESTION_LENGTHS
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster.storage import Folders

here = Path(os.environ["HERE"])
settings = Settings(str(here / "recipe.yaml"), here, str(here / "lake"))
recipe = load_recipe(settings.recipe, settings.variables())
definitions, lake = build_definitions(recipe, settings), Lake(settings.lake)
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("source", ["mine"])
    run = definitions.resolve_job_def("refresh_questions").execute_in_process(partition_key="mine", instance=instance)
    assert run.success
scores = [json.loads(row)["words"] for row in lake.scan(SCORED_QUESTIONS).sort("question").collect()["scores"]]
lengths = lake.scan(QUESTION_LENGTHS).collect()["characters"].sort().to_list()

model = locate(recipe.teachers[0], here, Folders(here / "cache"))
pool, usage = EnginePool(), Usage()
ask = ledger_client(lake, pool, model, recipe.evaluation.sampling, usage, Purpose("a", "s"), print)
result = evaluate(recipe.evaluation, recipe.path, ask, here / "evaluation", "echo")
pool.close()

answers = pl.DataFrame({"source": "s", "question_id": ["a", "b"], "sample_index": [0, 0], "completion_tokens": [5, 50]})
dropped = dropped_answers(recipe.answer_filter, FilterContext(lake, answers, pl.LazyFrame()))
print(json.dumps({
    "scores": scores,
    "lengths": lengths,
    "right": result.items.sort("item")["score"].to_list(),
    "dropped": dropped["evidence"].to_list(),
}))
"""

RECIPE = """
name: extended
description: All examples of the docs at once.
sources:
  - {name: mine, domain: math, reader: lines, path: questions.txt}
scores:
  - {name: words, method: word_count}
teachers:
  - {name: echo, model: echo, engine: echo}
answers_per_question: 1
answer_filter: {method: short_enough, tokens: 10}
student: {name: student, model: ./none, preset: micro}
evaluation:
  benchmarks:
    - {name: facts, kind: yes_no, path: facts.jsonl}
  sampling: {temperature: 0, max_tokens: 100}
"""


def _apply(folder: Path, kind: str, name: str, text: str) -> None:
    """Write a new file, or change an old one as the diff says: each of its old passages stands there exactly once."""
    file = folder / PACKAGE / name
    if kind == "python":
        assert not file.exists(), f"{name} exists already"
        file.write_text(text)
        return
    lines = text.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "-"))
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "+"))
    before = file.read_text()
    assert before.count(old) == 1, f"{name}: what the example changes stands there {before.count(old)} times:\n{old}"
    file.write_text(before.replace(old, new))


@pytest.mark.timeout(300)
def test_the_examples_of_the_docs_work_and_touch_the_files_that_they_say(tmp_path: Path) -> None:
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    blocks = BLOCK.findall((ROOT / "docs" / "extending.md").read_text())
    for kind, name, text in blocks:
        _apply(tmp_path, kind, name, text)
    assert len({name for _, name, _ in blocks}) == 2 * 6  # two files for each of six

    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "questions.txt").write_text("What is 1 + 1?\nWhy?\n")
    facts = ['{"question": "Water is wet, yes.", "answer": "yes"}', '{"question": "Fire is cold", "answer": "no"}']
    (tmp_path / "facts.jsonl").write_text("\n".join(facts))
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "HERE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["scores"], found["lengths"]) == ([5.0, 1.0], [4, 14])
    # The engine repeats what it is asked, which ends in "yes or no": one of the two statements is judged right.
    assert sorted(found["right"]) == [0.0, 1.0]
    assert found["dropped"] == ["50 tokens"]
