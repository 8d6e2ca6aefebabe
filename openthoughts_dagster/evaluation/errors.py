"""Errors of benchmarks."""


class BenchmarkError(ValueError):
    """A benchmark cannot be run. The message names the benchmark and says what to change, one problem per line."""


class BenchmarkAnswersMissing(RuntimeError):
    """More of a benchmark's answers are missing than the recipe allows; the message says how many and why."""
