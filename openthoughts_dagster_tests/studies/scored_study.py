"""A small study, and scores of its students as though they had been trained."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from openthoughts_dagster.lake import ARM_SCORES, ARM_STUDENTS, Lake
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.studies import freeze_study

ITEMS = 120
ARMS: dict[str, dict[str, Any]] = {"plain": {"rows": 100}, "better": {"rows": 100, "epochs": 9}}


def study_recipe(folder: Path, files: Path | None = None, **changes: Any) -> Recipe:
    """The quickstart with one study of two arms, `changes` in it, and models below `files` or `folder`."""
    study = {"name": "s", "question": "Is <b>more</b> better?", "arms": ARMS, "seeds": 4} | changes
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text()) | {"studies": [study]}
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    shutil.copytree(SHIPPED / "quickstart" / "benchmarks", folder / "benchmarks", dirs_exist_ok=True)
    return load_recipe(str(path), {"OPENTHOUGHTS_DATA": str(folder), "OPENTHOUGHTS_FILES": str(files or folder)})


def score_arm(lake: Lake, recipe: Recipe, arm: str, right: float, seeds: range, seed_spread: float = 0.0) -> None:
    """Scores of an arm's students: the same items for all, right as often as `right` says."""
    [study] = recipe.studies
    version = freeze_study(lake, recipe, study)
    hard = np.random.default_rng(0).uniform(size=ITEMS)
    for seed in seeds:
        generator = np.random.default_rng([seed, len(arm)])
        moved = right + generator.normal(0, seed_spread) + generator.normal(0, 0.05, ITEMS)
        key = f"s.{arm}.{seed}"
        labels = {"arm_student": key, "study": "s", "version": version, "arm_name": arm, "seed": seed}
        rows = pl.DataFrame(
            {
                **{name: [value] * ITEMS for name, value in labels.items()},
                "benchmark": ["sums"] * ITEMS,
                "metric": ["exact"] * ITEMS,
                "item": [f"{n:03}" for n in range(ITEMS)],
                "score": (hard < moved).astype(float),
                "repeats": pl.Series([1] * ITEMS, dtype=pl.Int32),
                "untrained_score": [0.0] * ITEMS,
            }
        )
        filled = rows.with_columns(
            pl.lit(None, dtype=kind).alias(name)
            for name, kind in ARM_SCORES.columns.items()
            if name not in rows.columns
        )
        lake.replace(ARM_SCORES, filled.select(list(ARM_SCORES.columns)), arm_student=key)
        student = {name: None if kind != pl.String else "" for name, kind in ARM_STUDENTS.columns.items()}
        numbers = {"rows": 100, "dropped_rows": 0, "steps": 10, "train_tokens": 5000, "seconds": 1.0, "final_loss": 0.5}
        record = pl.DataFrame([student | labels | numbers], schema=ARM_STUDENTS.schema)
        lake.replace(ARM_STUDENTS, record, arm_student=key)
