"""Makes a lighteval task from rows that were already read."""

from collections.abc import Sequence
from typing import Any


def make_task(name: str, path: str, rows: Sequence[dict[str, Any]], metric: Any) -> Any:
    """Make a `LightevalTask` that asks questions unchanged.

    Args:
        name: The benchmark's name.
        path: Where the rows come from, for the record.
        rows: Each has `question` and `answer`, the reference as a text; anything else is in a document's `specific`.
        metric: The `lighteval` metric that is the score.
    """
    from datasets import Dataset, DatasetDict
    from lighteval.tasks.lighteval_task import LightevalTask, LightevalTaskConfig
    from lighteval.tasks.requests import Doc

    def prompt(row: dict[str, Any], task_name: str) -> Any:
        own = rows[row["row"]]
        specific = {key: value for key, value in own.items() if key not in ("question", "answer")} or None
        return Doc(query=own["question"], choices=[own["answer"]], gold_index=0, task_name=task_name, specific=specific)

    task = LightevalTask(
        LightevalTaskConfig(
            name=name,
            prompt_function=prompt,
            hf_repo=path,
            hf_subset="default",
            hf_avail_splits=["test"],
            evaluation_splits=["test"],
            few_shots_split="test",  # no example is taken; without it lighteval warns about each task
            metrics=[metric],
        )
    )
    # Rows that were checked, handed over: read by `datasets`, they would come from its cache of an earlier file.
    task.dataset = DatasetDict({"test": Dataset.from_list([{"row": number} for number in range(len(rows))])})
    return task
