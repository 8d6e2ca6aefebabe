"""Trains and tests a very small causal language model in plain torch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from openthoughts_dagster.quickstart.lessons import Lesson

Log = Callable[[str], None]

# Muon's updates have the same size whatever the gradient, and need ten times the learning rate of AdamW.
MUON_RATE = 10


@dataclass(frozen=True)
class Course:
    """How long and at which learning rate a model is trained: `steps` optimizer steps of `batch` new lessons each."""

    steps: int
    learning_rate: float
    batch: int = 32


@dataclass(frozen=True)
class Trained:
    """The time of a training in seconds, and its losses as pairs (step, loss)."""

    seconds: float
    losses: list[tuple[int, float]]


def train(model: Any, tokenizer: Any, lessons: Iterator[Lesson], course: Course, name: str, log: Log) -> Trained:
    """Train a model in place on `lessons`, with a loss over the completions only. Logs every 50 steps."""
    import torch

    began = time.monotonic()
    # Muon trains the matrices of the layers in half the steps. It is not meant for embeddings and norms.
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
        # No attention mask is needed: padding is on the right, where a causal model does not look.
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
    """Return the model's greedy completion of every question, with its think tags."""
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
    """Return the share of questions whose final answer, after the reasoning, is exactly that of the lesson."""
    given = answers(model, tokenizer, [question for question, _ in exam])
    right = [final(answer) == final(wanted) for answer, (_, wanted) in zip(given, exam, strict=True)]
    return sum(right) / len(right)


def final(completion: str) -> str:
    """Return the text after the reasoning."""
    return completion.rpartition("</think>")[2].strip()


def _share_of_peak(steps: int, step: int) -> float:
    """Return the share of the peak learning rate: a short warmup, a plateau, and a linear decay over the last half."""
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
