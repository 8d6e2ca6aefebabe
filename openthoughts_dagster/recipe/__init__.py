"""What to build, as data."""

from openthoughts_dagster.recipe.answers import AnswerFilter, FinishedAnswers, KeepAllAnswers
from openthoughts_dagster.recipe.automation import Automation
from openthoughts_dagster.recipe.benchmarks import Benchmark, Evaluation, FileBenchmark, LightevalBenchmark
from openthoughts_dagster.recipe.generation import CommitBudget, Expectations, Sharding
from openthoughts_dagster.recipe.hardware import SHAPES, Hardware
from openthoughts_dagster.recipe.identity import Identity, identity_of
from openthoughts_dagster.recipe.loading import RecipeError, find_recipe, load_recipe, shipped_recipes
from openthoughts_dagster.recipe.models import (
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
    AskLlmScore,
    Decontamination,
    Dedup,
    DifficultyScore,
    DomainQuestions,
    EmbeddingScore,
    Examples,
    FastTextScore,
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
    "SHAPES",
    "AnswerFilter",
    "AskLlmScore",
    "Automation",
    "Benchmark",
    "Columns",
    "CommitBudget",
    "Decontamination",
    "Dedup",
    "DifficultyScore",
    "DomainQuestions",
    "EmbeddingScore",
    "Evaluation",
    "Examples",
    "Expectations",
    "FastTextScore",
    "FileBenchmark",
    "FilesSource",
    "FinishedAnswers",
    "Hardware",
    "HubPart",
    "HuggingFaceSource",
    "Identity",
    "Judge",
    "KeepAllAnswers",
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
    "identity_of",
    "load_recipe",
    "shipped_recipes",
]
