"""What can be wrong with a benchmark."""


class BenchmarkError(ValueError):
    """A benchmark that cannot be run. The message names the benchmark and what to change, one problem per line."""
