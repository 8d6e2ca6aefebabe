"""What a student learns is the whole trace, once, and the end of its turn; whatever its chat template would do."""

import pytest

from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.templates import OWN, TRAINING, choose_template
from openthoughts_dagster_tests.training.templates_of_families import tokenizer_of

ASKED = [{"role": "user", "content": "1+1?"}]
WHOLE = "<think>\none and one\n</think>\n\n2"
FAMILIES = ["qwen2_5", "qwen3", "deepseek_r1_distill"]


def learned(family: str, text: str) -> tuple[str, str]:
    """What is learned of a row, and which template rendered it."""
    template = choose_template(tokenizer_of(family), ASKED)
    prompt = template.prompt(ASKED)
    whole = template.conversation(ASKED, text, prompt)
    assert whole.startswith(prompt)
    return whole.removeprefix(prompt), template.kind


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trace_is_learned_once_with_the_answer_and_the_end(family: str) -> None:
    text, _ = learned(family, WHOLE)
    end = tokenizer_of(family).eos_token
    assert choose_template(tokenizer_of(family), ASKED).end_token == tokenizer_of(family).eos_token_id
    assert (text.count("one and one"), text.count("</think>"), text.rstrip().endswith(f"2{end}")) == (1, 1, True)


def test_the_template_that_removes_the_trace_is_replaced_by_the_training_template_of_its_family() -> None:
    tokenizer = tokenizer_of("deepseek_r1_distill")
    own = tokenizer.apply_chat_template([*ASKED, {"role": "assistant", "content": WHOLE}], tokenize=False)
    assert "one and one" not in own
    assert learned("deepseek_r1_distill", WHOLE)[1] == TRAINING
    assert learned("qwen2_5", WHOLE)[1] == learned("qwen3", WHOLE)[1] == OWN


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trace_that_was_cut_off_is_learned_without_an_end_and_without_an_empty_thought(family: str) -> None:
    cut = "<think>\none and one is"
    text, _ = learned(family, cut)
    opened = choose_template(tokenizer_of(family), ASKED).prompt(ASKED).endswith("<think>\n")
    assert text == (cut.removeprefix("<think>\n") if opened else cut)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_was_cut_off_after_its_trace_is_learned_without_an_end(family: str) -> None:
    template = choose_template(tokenizer_of(family), ASKED)
    prompt = template.prompt(ASKED)
    whole, unknown, cut = (template.conversation(ASKED, WHOLE, prompt, ended) for ended in (True, None, False))
    assert whole == unknown and whole.rstrip().endswith(tokenizer_of(family).eos_token)
    assert cut.startswith(prompt) and cut.endswith("one and one\n</think>\n\n2")


def test_a_trace_that_speaks_of_the_closing_tag_is_not_shortened() -> None:
    text, _ = learned("qwen3", "<think>\nend it with </think> and then\n</think>\n\n2")
    assert "and then" in text and "end it with" in text and text.rstrip().endswith("2<|im_end|>")


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "no end of turn follows"),
        (
            "{% for m in messages %}{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}",
            "holds the trace 0 times",
        ),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}<|im_end|>{% endfor %}", "holds the trace 2 times"),
    ],
)
def test_a_template_that_cannot_train_is_an_error_that_shows_the_text(template: str, wrong: str) -> None:
    tokenizer = tokenizer_of("qwen2_5")
    tokenizer.chat_template = template
    with pytest.raises(TrainingError, match=f"(?s){wrong}.*was rendered as:\n.*The answer of this probe"):
        choose_template(tokenizer, ASKED)
