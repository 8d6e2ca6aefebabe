"""The quickstart recipe cut down to a minute: its models barely trained, a few questions, one epoch."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from openthoughts_dagster.quickstart import COURSES, Course
from openthoughts_dagster.recipe.loading import SHIPPED

COURSES_OF_THE_TEST = {name: Course(steps=20, learning_rate=course.learning_rate) for name, course in COURSES.items()}
GSM8K = Path(__file__).parent / "data" / "gsm8k_sample.jsonl"


def small_recipe(folder: Path, **changes: Any) -> Path:
    """A copy of the quickstart recipe in `folder`, with less of everything; `changes` replace top-level settings."""
    shutil.copytree(SHIPPED / "quickstart", folder, dirs_exist_ok=True)
    path = folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    for source in recipe["sources"]:
        source["limit"] = 40
    for settings in recipe["domains"].values():
        settings["selection"]["count"] = 24
    recipe["sources"] = recipe["sources"][:3]
    recipe["teachers"][1]["engine"] = "transformers"  # one engine of each kind; vLLM takes long to start
    recipe["student"]["rows"] = 32
    recipe["student"]["training"]["epochs"] = 2
    recipe["evaluation"]["benchmarks"][0]["items"] = 20
    path.write_text(yaml.safe_dump(recipe | changes, sort_keys=False))
    return path


def with_gsm8k(path: Path) -> None:
    """Add a JSON Lines file of GSM8K questions to a recipe, as its user would."""
    recipe = yaml.safe_load(path.read_text())
    shutil.copy(GSM8K, path.parent / "gsm8k.jsonl")
    recipe["sources"].append(
        {
            "name": "gsm8k",
            "domain": "math",
            "licence": "MIT",
            "reader": "files",
            "path": "gsm8k.jsonl",
            "columns": {"question": "question", "answer": "answer"},
        }
    )
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
