"""Compiled matching of many texts with numba. Code outside of this folder uses only these four names."""

from openthoughts_dagster.questions.matching.benchmark_index import BenchmarkIndex
from openthoughts_dagster.questions.matching.duplicates import find_duplicates
from openthoughts_dagster.questions.matching.similar import find_similar_pairs
from openthoughts_dagster.questions.matching.texts import Texts

__all__ = ["BenchmarkIndex", "Texts", "find_duplicates", "find_similar_pairs"]
