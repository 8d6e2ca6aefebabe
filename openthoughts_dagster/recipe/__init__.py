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
from openthoughts_dagster.recipe.sources import (
    Columns,
    FilesSource,
    HubPart,
    HuggingFaceSource,
    PaperFacts,
    PdfSource,
    ProceduralSource,
    Rewrite,
    RowFilter,
    Source,
    StackExchangeSource,
    TableSource,
)

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
    "HubPart",
    "HuggingFaceSource",
    "Judge",
    "LightevalBenchmark",
    "ModelReference",
    "PaperFacts",
    "PdfSource",
    "Price",
    "ProceduralSource",
    "RandomScore",
    "Recipe",
    "RecipeError",
    "RepetitionGuard",
    "ResponseLengthScore",
    "Retry",
    "Rewrite",
    "RowFilter",
    "Sampling",
    "Score",
    "Selection",
    "Sharding",
    "Source",
    "StackExchangeSource",
    "Student",
    "TableSource",
    "Teacher",
    "TrainingPreset",
    "VllmOptions",
    "find_recipe",
    "load_recipe",
    "shipped_recipes",
]
