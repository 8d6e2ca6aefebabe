"""What to build, as data."""

from openthoughts_dagster.recipe.automation import Automation
from openthoughts_dagster.recipe.benchmarks import Benchmark, Evaluation, FileBenchmark, LightevalBenchmark
from openthoughts_dagster.recipe.loading import RecipeError, find_recipe, load_recipe, shipped_recipes
from openthoughts_dagster.recipe.models import (
    Hardware,
    Judge,
    ModelReference,
    Price,
    Sampling,
    Student,
    Teacher,
)
from openthoughts_dagster.recipe.presets import PRESETS, TrainingPreset
from openthoughts_dagster.recipe.questions import (
    AnswerFilter,
    Decontamination,
    Dedup,
    DifficultyScore,
    DomainQuestions,
    RandomScore,
    ResponseLengthScore,
    Score,
    Selection,
)
from openthoughts_dagster.recipe.recipe import Recipe
from openthoughts_dagster.recipe.sources import Columns, FilesSource, HuggingFaceSource, ProceduralSource, Source

__all__ = [
    "PRESETS",
    "AnswerFilter",
    "Automation",
    "Benchmark",
    "Columns",
    "Decontamination",
    "Dedup",
    "DifficultyScore",
    "DomainQuestions",
    "Evaluation",
    "FileBenchmark",
    "FilesSource",
    "Hardware",
    "HuggingFaceSource",
    "Judge",
    "LightevalBenchmark",
    "ModelReference",
    "Price",
    "ProceduralSource",
    "RandomScore",
    "Recipe",
    "RecipeError",
    "ResponseLengthScore",
    "Sampling",
    "Score",
    "Selection",
    "Source",
    "Student",
    "Teacher",
    "TrainingPreset",
    "find_recipe",
    "load_recipe",
    "shipped_recipes",
]
