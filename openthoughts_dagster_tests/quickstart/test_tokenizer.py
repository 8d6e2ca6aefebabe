from collections.abc import Callable
from typing import Any

import pytest

from openthoughts_dagster.quickstart import TinyModel


@pytest.fixture(scope="module")
def tokenizer(barely_trained: dict[str, TinyModel]) -> Any:
    """As a reader of a checkpoint gets it: AutoTokenizer rebuilds some model types' tokenizers by its own rules."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(barely_trained["worked"].path)


@pytest.mark.parametrize(
    "text",
    [
        "How many apples?",
        "naïve café, 你好, עברית",
        "🎉👩‍👩‍👧 and \x00 and \t\n\n  spaces ",
        r"\boxed{3^2} <think> unclosed",
        "",
        "supercalifragilistic 1234567890",
    ],
)
def test_any_text_comes_back_unchanged(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_think_tags_are_one_token_each_and_survive_decoding(tokenizer: Any) -> None:
    ids = tokenizer("<think>7+5=12</think>12<|end|>")["input_ids"]
    assert len(ids) == len("7+5=12") + len("12") + 3
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>7+5=12</think>12"


def test_a_loaded_tokenizer_reads_the_wording_in_words_and_the_subject_in_letters(tokenizer: Any) -> None:
    pieces: Callable[[str], list[str]] = tokenizer.tokenize
    assert pieces("Spell this word backward") == ["Spell", "Ġthis", "Ġword", "Ġbackward"]
    assert pieces(" zirai 42") == ["Ġ", "z", "i", "r", "a", "i", "Ġ", "4", "2"]


def test_a_chat_prompt_is_a_prefix_of_the_chat_with_its_answer(tokenizer: Any) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": "4"}], tokenize=False)
    assert whole == prompt + "4<|end|>"
