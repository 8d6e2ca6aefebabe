"""What the OpenThoughts3 paper and its data set's card report of models on the twelve benchmarks.

These numbers were not measured here, and are shown apart from those that were. Their errors, where the paper has some,
are over repeats of the same items only: neither over items nor over trainings.
"""

from openthoughts_dagster.recipe.paper_benchmarks import PaperTask

NOTE = (
    "Reported by the OpenThoughts3 paper (arXiv 2506.04178) and its data set's card, not measured here. The paper's "
    "errors are over repeats only, so differences of a point or two mean little."
)
"""What stands beside reported scores wherever they are shown."""

_TASKS: tuple[PaperTask, ...] = (
    "aime24",
    "aime25",
    "amc23",
    "math500",
    "hmmt-2025-02",
    "livecodebench-2305-2405",
    "livecodebench-2406-2501",
    "codeelo",
    "codeforces",
    "gpqa-diamond",
    "jeebench",
    "hle-multiple-choice",
)
_ROWS: dict[str, tuple[float | None, ...]] = {
    "OpenThinker3-7B": (69.0, 53.3, 93.5, 90.0, 42.7, 64.5, 51.7, 31.0, 32.2, 53.7, 72.4, 10.2),
    # The card and the repository call this row Qwen-32B; the numbers are the 7B model's.
    "DeepSeek-R1-Distill-Qwen-7B": (51.3, 38.0, 92.0, 88.0, 25.0, 48.7, 34.5, 19.9, 21.1, 33.2, 50.4, 12.4),
    "OpenR1-Distill-7B": (57.7, 39.7, 87.0, 88.0, 25.7, None, 30.7, 30.1, 29.3, 58.9, 68.7, 12.4),
    "Llama-3.1-Nemotron-Nano-8B-v1": (62.0, 48.0, 94.0, 89.4, 26.7, None, 50.9, 30.9, 32.9, 52.9, 70.7, 12.0),
    "AceReason-Nemotron-7B": (71.0, 50.7, 93.8, 89.8, 33.3, None, 44.3, 32.9, 30.9, 52.9, 64.3, 10.9),
    "OpenThinker2-7B": (60.7, 38.7, 89.8, 87.6, 24.7, None, 40.6, 22.8, 26.6, 47.0, 65.1, None),
    "OpenThinker-7B": (30.7, 22.0, 72.5, 82.8, 15.7, None, 26.1, 11.1, 14.9, 38.6, 45.3, None),
    "Qwen2.5-7B-Instruct": (None, 8.0, None, None, 2.0, None, 16.3, None, 10.2, 24.6, 33.9, 12.7),
}

REPORTED: dict[str, dict[PaperTask, float]] = {
    model: {task: value / 100 for task, value in zip(_TASKS, values, strict=True) if value is not None}
    for model, values in _ROWS.items()
}
"""Reported scores from 0 to 1, by model and benchmark."""
