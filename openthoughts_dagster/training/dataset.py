"""A student's rows as the trainer takes them."""

from typing import Any

import polars as pl

from openthoughts_dagster.generation.model import Model, load_tokenizer
from openthoughts_dagster.generation.requests import messages_for
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.errors import TrainingError


def training_dataset(student: Student, base: Model, rows: pl.DataFrame) -> tuple[Any, int, int]:
    """Prompt/completion rows as TRL takes them, their tokens, and how many rows were too long.

    Raises TrainingError when no row is left.
    """
    from datasets import Dataset

    settings = student.settings()
    tokenizer = load_tokenizer(base.address, base.reference.revision, base.identity.revision)
    examples, tokens, dropped = [], 0, 0
    for question, text in rows.select("question", "text").iter_rows():
        prompt = list(messages_for(student, question))
        completion = [{"role": "assistant", "content": text}]
        length = len(tokenizer.apply_chat_template(prompt + completion, tokenize=True, return_dict=False))
        if length > settings.max_length and student.too_long == "drop":
            dropped += 1
            continue
        examples.append({"prompt": prompt, "completion": completion})
        tokens += min(length, settings.max_length)
    if not examples:
        raise TrainingError(
            f"student: no row to train on: {rows.height:,} answers, {dropped:,} of them longer than max_length "
            f"{settings.max_length:,} tokens. Look at teacher_answers and rejected_answers of this partition, or "
            "raise student.training.max_length"
        )
    return Dataset.from_list(examples), tokens, dropped
