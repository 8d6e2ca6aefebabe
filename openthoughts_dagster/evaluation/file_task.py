"""A team's own questions with exact answers as a lighteval task."""

from pathlib import Path
from typing import Any

from openthoughts_dagster.evaluation.items import read_items
from openthoughts_dagster.evaluation.metrics import exact_match
from openthoughts_dagster.recipe import FileBenchmark


def file_task(benchmark: FileBenchmark, path: str) -> Any:
    """A `LightevalTask` over a JSON Lines file with question and answer, scored by exact match.

    The question is asked as it stands in the file. Raises BenchmarkError with file and line when it cannot be read.
    """
    items = read_items(Path(path))

    from datasets import Dataset, DatasetDict
    from lighteval.tasks.lighteval_task import LightevalTask, LightevalTaskConfig
    from lighteval.tasks.requests import Doc

    def prompt(row: dict[str, Any], task_name: str) -> Any:
        return Doc(query=row["question"], choices=[row["answer"]], gold_index=0, task_name=task_name)

    task = LightevalTask(
        LightevalTaskConfig(
            name=benchmark.name,
            prompt_function=prompt,
            hf_repo=path,
            hf_subset="default",
            hf_avail_splits=["test"],
            evaluation_splits=["test"],
            few_shots_split="test",  # no example is taken; without it lighteval warns about each task
            metrics=[exact_match(benchmark.repeats)],
        )
    )
    # Rows that were checked, handed over: read by `datasets`, they would come from its cache of an earlier file.
    rows = [{"question": item.question, "answer": item.answer} for item in items]
    task.dataset = DatasetDict({"test": Dataset.from_list(rows)})
    return task
