"""Training and examining a very small causal language model, in plain torch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from openthoughts_dagster.quickstart.lessons import Lesson

Log = Callable[[str], None]

# Muon's updates are of unit size whatever the gradient: it steps at ten times AdamW's rate.
MUON_RATE = 10


@dataclass(frozen=True)
class Course:
    """How long and how fast a model is trained. `steps` are optimizer steps of `batch` fresh lessons."""

    steps: int
    learning_rate: float
    batch: int = 32


@dataclass(frozen=True)
class Trained:
    """What a training run took, and the loss on the way: (step, loss) pairs."""

    seconds: float
    losses: list[tuple[int, float]]


def train(model: Any, tokenizer: Any, lessons: Iterator[Lesson], course: Course, name: str, log: Log) -> Trained:
    """Train in place on `lessons`; only the completions count for the loss. Logs every 50 steps."""
    import torch

    began = time.monotonic()
    # Muon for the matrices between the layers learns in half the steps; embeddings and norms are not made for it.
    matrices = [w for name, w in model.named_parameters() if w.ndim == 2 and "embed" not in name]
    others = [w for name, w in model.named_parameters() if w.ndim != 2 or "embed" in name]
    optimizers = (
        torch.optim.Muon(matrices, lr=course.learning_rate * MUON_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=course.learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True),
    )
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_share_of_peak, course.steps)) for optimizer in optimizers
    ]
    losses: list[tuple[int, float]] = []
    model.train()
    for step in range(1, course.steps + 1):
        tokens, labels = _batch(tokenizer, list(islice(lessons, course.batch)))
        # No attention mask: padding stands on the right, where a causal model's answers cannot see it.
        logits = model(input_ids=tokens[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        if step % 50 == 0 or step == course.steps:
            losses.append((step, round(loss.item(), 4)))
            log(f"{name}: step {step} of {course.steps}, loss {loss.item():.3f}, {time.monotonic() - began:.0f} s")
    model.eval()
    return Trained(time.monotonic() - began, losses)


def answers(model: Any, tokenizer: Any, questions: Sequence[str], max_tokens: int = 64) -> list[str]:
    """The model's likeliest completion of every question, think tags included."""
    import torch

    chats = [[{"role": "user", "content": question}] for question in questions]
    encoded = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        out = model.generate(**encoded, max_new_tokens=max_tokens, do_sample=False)
    completions = out[:, encoded["input_ids"].shape[1] :]
    return [str(text) for text in tokenizer.batch_decode(completions, skip_special_tokens=True)]


def share_right(model: Any, tokenizer: Any, exam: Sequence[Lesson]) -> float:
    """Share of an exam's questions whose final answer, after the thinking, is exactly the lesson's."""
    given = answers(model, tokenizer, [question for question, _ in exam])
    right = [final(answer) == final(wanted) for answer, (_, wanted) in zip(given, exam, strict=True)]
    return sum(right) / len(right)


def final(completion: str) -> str:
    """What stands after the thinking."""
    return completion.rpartition("</think>")[2].strip()


def _share_of_peak(steps: int, step: int) -> float:
    """A short rise, a plateau, and a straight way down over the last half."""
    return min((step + 1) / (0.05 * steps + 1), 1.0, 2 * (steps - step) / steps)


def _batch(tokenizer: Any, lessons: list[Lesson]) -> tuple[Any, Any]:
    import torch

    asked = tokenizer([f"<|user|>{question}<|end|><|assistant|>" for question, _ in lessons])["input_ids"]
    wanted = tokenizer([f"{completion}<|end|>" for _, completion in lessons])["input_ids"]
    width = max(len(a) + len(w) for a, w in zip(asked, wanted, strict=True))
    tokens = torch.full((len(lessons), width), tokenizer.pad_token_id)
    labels = torch.full((len(lessons), width), -100)
    for row, (a, w) in enumerate(zip(asked, wanted, strict=True)):
        tokens[row, : len(a) + len(w)] = torch.tensor(a + w)
        labels[row, len(a) : len(a) + len(w)] = torch.tensor(w)
    return tokens, labels
