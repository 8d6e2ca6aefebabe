"""Reasoning and answer are taken apart and put together again without a character lost."""

import pytest

from openthoughts_dagster.generation.reasoning import Parts, join_reasoning, split_reasoning


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>\n1+1=2\n</think>\n\n2", Parts("\n1+1=2\n", "\n\n2")),
        ("the tag was in the prompt</think>2", Parts("the tag was in the prompt", "2")),
        ("<think>never closed", Parts("never closed", "")),
        ("2", Parts(None, "2")),
        ("", Parts(None, "")),
        ("<think></think>2", Parts("", "2")),
    ],
)
def test_reasoning_is_what_stands_between_the_tags(text: str, parts: Parts) -> None:
    assert split_reasoning(text) == parts


@pytest.mark.parametrize("text", ["<think>\na\n</think>\n2", "2", "<think>never closed", "<think></think>2"])
def test_what_a_student_learns_is_what_the_teacher_wrote(text: str) -> None:
    parts = split_reasoning(text)
    assert join_reasoning(parts.reasoning, parts.answer) == text


def test_a_text_that_only_mentions_a_tag_is_all_answer() -> None:
    text = "The tag <think> opens the reasoning of a model."
    assert split_reasoning(text) == Parts(None, text)


def test_nothing_that_stands_before_the_tags_is_lost() -> None:
    parts = split_reasoning("Sure.\n<think>1+1</think>2")
    assert parts == Parts("Sure.\n<think>1+1", "2")


def test_a_trace_that_the_prompt_has_opened_is_reasoning_even_when_it_is_cut_off() -> None:
    assert split_reasoning("1 + 1 is", prompt="<|user|>1+1?<|assistant|><think>\n") == Parts("1 + 1 is", "")
    assert split_reasoning("1 + 1 is", prompt="<|user|>what is <think>?<|assistant|>") == Parts(None, "1 + 1 is")
