"""The quickstart recipe cut down to a minute: its models barely trained, a few questions, one epoch."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from openthoughts_dagster.quickstart import COURSES, Course
from openthoughts_dagster.recipe.loading import SHIPPED

COURSES_OF_THE_TEST = {name: Course(steps=20, learning_rate=course.learning_rate) for name, course in COURSES.items()}
NEW_TEACHER = "newcomer"
STUDY: dict[str, Any] = {
    "name": "sizes",
    "question": "Do more rows help?",
    "base": {"sources": ["two-digit-sums"], "teacher": "direct"},
    "arms": {"as-the-cell": {"rows": 32}, "fewer": {"rows": 16, "questions": 12, "answers_per_question": 1}},
    "seeds": 2,
}
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
    recipe["student"]["training"] |= {"epochs": 2, "shown_answers": 1}
    for benchmark, items in zip(recipe["evaluation"]["benchmarks"], (20, 4), strict=True):
        benchmark["items"] = items
    recipe["studies"], recipe["release"]["sizes"] = [], {"math": 30}
    recipe["release"]["gates"]["truncated"] = 1.0  # its barely trained teachers seldom come to an end
    path.write_text(yaml.safe_dump(recipe | changes, sort_keys=False))
    return path


def with_a_new_teacher(path: Path) -> Path:
    """Add a teacher that nobody has started; all teachers on the engine that starts in seconds."""
    recipe = yaml.safe_load(path.read_text())
    recipe["teachers"].append(recipe["teachers"][1] | {"name": NEW_TEACHER, "sampling": {"max_tokens": 48}})
    recipe["teachers"] = [teacher | {"engine": "transformers"} for teacher in recipe["teachers"]]
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def with_study(path: Path, **changes: Any) -> Path:
    """Add the study; `changes` replace its settings."""
    recipe = yaml.safe_load(path.read_text()) | {"studies": [STUDY | changes]}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def served_recipe(folder: Path, address: str, **teacher: Any) -> Path:
    """A recipe of one source `sums` and one teacher `slow` behind a server: it needs no model of its own."""
    shutil.copytree(SHIPPED / "quickstart", folder)
    path = folder / "recipe.yaml"
    quickstart = yaml.safe_load(path.read_text())
    recipe = {
        "name": "served",
        "description": "One source, and one teacher behind a server.",
        "sources": [quickstart["sources"][0] | {"name": "sums", "size": 24}],
        "decontamination": {"ngram": None, "similarity": 100},
        "teachers": [{"name": "slow", "model": "slow", "engine": "openai", "base_url": address} | teacher],
        "answers_per_question": 2,
        "student": quickstart["student"] | {"model": "./no-student"},
        "evaluation": quickstart["evaluation"],
    }
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path
