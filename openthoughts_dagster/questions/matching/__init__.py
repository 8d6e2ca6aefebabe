"""Compiled matching of many texts. Its door is these four names; behind it are numba's loops and their tables."""

from openthoughts_dagster.questions.matching.benchmark_index import BenchmarkIndex
from openthoughts_dagster.questions.matching.duplicates import find_duplicates
from openthoughts_dagster.questions.matching.similar import similar_pairs
from openthoughts_dagster.questions.matching.texts import Texts

__all__ = ["BenchmarkIndex", "Texts", "find_duplicates", "similar_pairs"]
