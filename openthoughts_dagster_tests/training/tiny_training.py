"""A training of seconds: sums with worked answers, and settings under which a tiny student learns them."""

from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.recipe import TrainingPreset
from openthoughts_dagster.training import Students


def sums(count: int, lengths: int = 1) -> pl.DataFrame:
    """Rows of a training: question and text, whose lengths are of so many kinds."""
    return pl.DataFrame(
        {
            "question": [f"What is {n} + 1?" for n in range(count)],
            "text": [f"<think>{'1+' * (n % lengths)}{n}+1={n + 1}</think>{n + 1}" for n in range(count)],
        }
    )


def quick_training(**changes: Any) -> TrainingPreset:
    """Settings for a CPU, with checkpoints every four steps and no shown answers, and what `changes` says."""
    settings = {
        "global_batch_size": 16,
        "per_device_batch_size": 16,
        "learning_rate": 2e-3,
        "epochs": 2,
        "max_length": 64,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_steps": 4,
        "shown_answers": 0,
    }
    return TrainingPreset.model_validate(settings | changes)


def students_in(folder: Path) -> Students:
    """Students in a folder of this machine."""
    return Students(str(folder), folder, folder.parent / "cache")
