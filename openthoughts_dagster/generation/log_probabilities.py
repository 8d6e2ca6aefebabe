"""How likely a model finds texts that it did not write."""

from collections.abc import Sequence

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.rendering import render_all

_TOKENS = 16_384  # of one batch, with padding


def compute_mean_log_probabilities(
    model: Model, questions: Sequence[str], texts: Sequence[str], max_tokens: int
) -> list[float | None]:
    """Return the mean log-probability of the tokens of each text as an answer to its question.

    The model runs in this process with transformers, in float32, on an accelerator if there is one.

    Args:
        model: The model, with its weights.
        questions: The user messages, which are rendered by the model's chat template.
        texts: The answers, with their reasoning; one for each question.
        max_tokens: Tokens from the beginning of a text that are looked at.

    Returns:
        Natural logarithms, at most 0; None for a text without tokens.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not texts:
        return []
    tokenizer = model.tokenizer()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    revision = None if model.identity.local else model.identity.revision
    network = AutoModelForCausalLM.from_pretrained(model.address, revision=revision, dtype=torch.float32).to(device)
    network.eval()
    prompts = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in render_all(model, questions)]
    answers = [tokenizer.encode(text, add_special_tokens=False)[:max_tokens] for text in texts]
    values: list[float | None] = [None] * len(texts)
    with torch.inference_mode():
        for batch in _batches([len(p) + len(a) for p, a in zip(prompts, answers, strict=True)]):
            rows = [prompts[n] + answers[n] for n in batch]
            width = max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
            logits = network(input_ids=ids, attention_mask=mask).logits.float()
            for place, n in enumerate(batch):
                start, end = len(prompts[n]), len(rows[place])
                if end > start > 0:
                    said = torch.log_softmax(logits[place, start - 1 : end - 1], dim=-1)
                    chosen = said.gather(1, ids[place, start:end, None])
                    values[n] = float(chosen.mean())
    return values


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Put texts of similar lengths together, so that no batch has more tokens than fit into memory."""
    batches: list[list[int]] = []
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[n] <= _TOKENS:
            batches[-1].append(n)
        else:
            batches.append([n])
    return batches
