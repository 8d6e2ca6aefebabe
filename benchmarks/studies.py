"""Whether the arms of a study share their answers: how many completions a grid of arms asks for.

    .venv/bin/python benchmarks/studies.py [--questions 400] [--json FILE]

The grid is the paper's: three ways to find duplicates by 1, 4 and 16 answers per question. All nine arms are planned
and answered, one after another, by a teacher whose answers are read from a file. `grid_completions_over_one` is the
number of completions in the ledger over those of one generation, 16 answers to each question of the largest arm.
"""

import argparse
import json
import tempfile
from pathlib import Path

import polars as pl

from openthoughts_dagster.answers import answer_shard, plan_answers
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.lake import ARM_QUESTIONS, COMPLETIONS, SCORED_QUESTIONS, Lake, text_hash
from openthoughts_dagster.questions import curate
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster.studies import arm_answer_set, arm_questions, arms_of

RECIPE = """
name: grid
description: The paper's grid of deduplication by answers per question.
sources:
  - {name: sums, domain: math, reader: files, path: questions.jsonl}
decontamination: {ngram: null, similarity: null}
teachers:
  - {name: published, model: ./answers.jsonl, engine: published}
student: {name: student, model: ./none, preset: micro}
evaluation:
  benchmarks: [{name: sums-test, kind: file, path: questions.jsonl}]
studies:
  - name: dedup-by-answers
    question: Is it better to drop duplicates, and to ask each question more often?
    grid:
      dedup: [{method: none}, {method: exact}, {method: fuzzy}]
      answers_per_question: [1, 4, 16]
    match: none
"""
SAMPLES = 16


def write_inputs(folder: Path, questions: int) -> Recipe:
    """Write a recipe, its questions, of which a tenth stands there twice and a tenth again in small letters."""
    texts = [f"Ana has {n} apples and gets {n * n % 97} pears. How many pieces of fruit now?" for n in range(questions)]
    texts += [f"{text}\n" for text in texts[:questions:10]] + [text.lower() for text in texts[5:questions:10]]
    (folder / "recipe.yaml").write_text(RECIPE)
    _write(folder / "questions.jsonl", [{"question": text, "answer": "1"} for text in texts])
    answers = [{"question": text, "answer": f"answer {n}"} for text in texts for n in range(SAMPLES)]
    _write(folder / "answers.jsonl", answers)
    return load_recipe(str(folder / "recipe.yaml"), {})


def write_scored(lake: Lake, folder: Path) -> None:
    """Write the questions as a scored source."""
    rows = pl.read_ndjson(folder / "questions.jsonl").select("question").with_columns(source=pl.lit("sums"))
    constants = {"domain": "math", "reference_answer": "1", "licence": "MIT", "origin": "{}", "metadata": "{}"}
    named = rows.with_columns(
        pl.Series("question_id", [text_hash(text) for text in rows["question"]]),
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        scores=pl.lit("{}"),
    )
    lake.replace(SCORED_QUESTIONS, named.select(list(SCORED_QUESTIONS.columns)), source="sums")


def answer_arms(lake: Lake, recipe: Recipe, folder: Path) -> dict[str, tuple[int, int]]:
    """Answer every arm; returns its number of questions, and how many completions it asked for."""
    asked: dict[str, tuple[int, int]] = {}
    nothing = pl.DataFrame(schema={"benchmark": pl.String, "split": pl.String, "question": pl.String})
    pool = EnginePool()
    for arm in arms_of(recipe, lake, recipe.studies[0]):
        chosen = arm_questions(
            lake,
            recipe,
            arm,
            lambda scored, how: curate(scored, how, recipe.decontamination, nothing).questions,
        )
        rows = chosen.with_columns(arm=pl.lit(arm.key)).select(list(ARM_QUESTIONS.columns))
        lake.replace(ARM_QUESTIONS, rows, arm=arm.key)
        answers, model = arm_answer_set(lake, arm), locate(arm.teacher, folder)
        plan = plan_answers(lake, model, answers)
        answers.replace(lake, answers.plans, plan.rows)
        generated = [answer_shard(lake, pool, model, answers, n, lambda _: None).generated for n in range(plan.shards)]
        asked[arm.name] = chosen.height, sum(generated)
    pool.close()
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=400, help="different questions")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, lake = write_inputs(folder, options.questions), Lake(folder / "lake")
        write_scored(lake, folder)
        asked = answer_arms(lake, recipe, folder)
        paid = lake.scan(COMPLETIONS).select("key", "sample_index").unique().collect().height
        assert paid == lake.scan(COMPLETIONS).collect().height == sum(generated for _, generated in asked.values())
    for arm, (questions, generated) in asked.items():
        print(f"{arm:<48}{questions:>8,} questions{generated:>10,} completions asked")
    one = SAMPLES * max(questions for questions, _ in asked.values())
    figures = [{"name": "grid_completions_over_one", "value": paid / one, "unit": "", "goal": 1.0}]
    for figure in figures:
        print(f"{figure['name']:<28}{figure['value']:>10.2f} {figure['unit']:<5}goal {figure['goal'] or '-'}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
