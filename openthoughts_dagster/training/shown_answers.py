"""Answers that a student gives before and after its training to a few questions, for people to read."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import messages_for
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.rows import read_rows

_MOST_TOKENS = 256


def show_answers(
    student: Student, base: Model, rows: Path, trained: Path, log: Callable[[str], None]
) -> list[dict[str, str]]:
    """Let the student answer its first training questions greedily, with its weights before and after training.

    An error is logged and costs only the answers, because the training is finished.

    Args:
        student: The settings; `shown_answers` is the number of questions.
        base: The weights before training.
        rows: The rows of the training.
        trained: The folder of the weights after training.
        log: Takes the reason if there are no answers.

    Returns:
        Mappings with question, before and after.
    """
    settings = student.settings()
    questions = _first_questions(rows, settings.shown_answers)
    if not questions:
        return []
    longest = min(_MOST_TOKENS, settings.max_length)
    try:
        prompts = [base.render(messages_for(student, question)) for question in questions]
        before, after = (
            answer_greedily(address, revision, base.tokenizer(), prompts, longest, settings.bf16)
            for address, revision in ((base.address, base.reference.revision), (str(trained), None))
        )
    except Exception as error:  # such as too little memory
        log(f"student: it is trained, and answers before and after cannot be shown: {error}")
        return []
    return [
        {"question": question, "before": old, "after": new}
        for question, old, new in zip(questions, before, after, strict=True)
    ]


def answer_greedily(
    address: str, revision: str | None, tokenizer: Any, prompts: Sequence[str], longest: int, bf16: bool
) -> list[str]:
    """Answer prompts in one batch by greedy decoding, with at most `longest` tokens each."""
    import torch
    from transformers import AutoModelForCausalLM

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if bf16 and device.type == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(address, revision=revision, dtype=dtype).to(device)
    ids = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    ends = model.generation_config.eos_token_id or tokenizer.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    width, pad = max(map(len, ids)), min(ends)
    padded = torch.tensor([[pad] * (width - len(each)) + each for each in ids], device=device)
    mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in ids], device=device)
    with torch.inference_mode():
        made = model.generate(
            padded,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=sorted(ends),
            pad_token_id=pad,
        )
    answers = [list(takewhile(lambda token: token not in ends, each)) for each in made[:, width:].tolist()]
    return [tokenizer.decode(answer) for answer in answers]


def _first_questions(rows: Path, count: int) -> list[str]:
    for part in read_rows(rows):
        return list(part["question"].head(count))
    return []
