"""What to build, as data."""

from openthoughts_dagster.recipe.automation import Automation
from openthoughts_dagster.recipe.benchmarks import Benchmark, Evaluation, FileBenchmark, LightevalBenchmark
from openthoughts_dagster.recipe.generation import CommitBudget, Expectations, Sharding
from openthoughts_dagster.recipe.loading import RecipeError, find_recipe, load_recipe, shipped_recipes
from openthoughts_dagster.recipe.models import (
    Hardware,
    Judge,
    ModelReference,
    Price,
    RepetitionGuard,
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
from openthoughts_dagster.recipe.serving import Retry, VllmOptions
from openthoughts_dagster.recipe.sources import Columns, FilesSource, HuggingFaceSource, ProceduralSource, Source

__all__ = [
    "PRESETS",
    "AnswerFilter",
    "Automation",
    "Benchmark",
    "Columns",
    "CommitBudget",
    "Decontamination",
    "Dedup",
    "DifficultyScore",
    "DomainQuestions",
    "Evaluation",
    "Expectations",
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
    "RepetitionGuard",
    "ResponseLengthScore",
    "Retry",
    "Sampling",
    "Score",
    "Selection",
    "Sharding",
    "Source",
    "Student",
    "Teacher",
    "TrainingPreset",
    "VllmOptions",
    "find_recipe",
    "load_recipe",
    "shipped_recipes",
]
