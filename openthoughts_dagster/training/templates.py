"""Renders rows to the text that a student learns, by a chat template that is checked first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.generation.reasoning import CLOSE, OPEN, opens_reasoning, split_reasoning
from openthoughts_dagster.generation.requests import Message
from openthoughts_dagster.training.errors import TrainingError

OWN = "own"
TRAINING = "TRL's training template"

_TRACE, _ANSWER = "The trace of this probe.", "The answer of this probe."
_PROBE = f"{OPEN}\n{_TRACE}\n{CLOSE}\n\n{_ANSWER}"


@dataclass(frozen=True)
class Template:
    """A chat template that was checked: its text has the whole trace and the end of the turn.

    `kind` says whether it is the model's own, or TRL's training template for models of that family.
    """

    tokenizer: Any
    kind: str
    source: str
    end_of_turn: str

    @property
    def end_token(self) -> int:
        """The token that ends a turn, at which a student has to stop."""
        ids: list[int] = self.tokenizer(self.end_of_turn.rstrip(), add_special_tokens=False)["input_ids"]
        return ids[-1]

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text that the model sees before it answers; it is not learned."""
        return _render(self.tokenizer, self.source, messages, prompt=True)

    def conversation(self, messages: Sequence[Message], text: str, prompt: str, ended: bool | None = None) -> str:
        """Return the text of a row: the prompt, the answer, and the end of the turn.

        An answer that was cut off gets no end of the turn: `is_cut_off` says what `ended` means. If the template would
        leave out a part of the answer, for example because it looks for the last closing tag, the answer is appended to
        the prompt unchanged.
        """
        if is_cut_off(text, ended):
            return prompt + _continuation(prompt, text)
        answer: Message = {"role": "assistant", "content": text}
        rendered = _render(self.tokenizer, self.source, [*messages, answer])
        parts = split_reasoning(text, prompt)
        if all(part.strip() in rendered for part in (parts.reasoning or "", parts.answer)):
            return rendered
        return prompt + _continuation(prompt, text) + self.end_of_turn


def is_cut_off(text: str, ended: bool | None = None) -> bool:
    """Return whether an answer was cut off, as by the longest completion.

    `ended` says whether its model ended it itself. If this is not known, the answer was cut off if its reasoning is
    open, which it also is where a model ended it.
    """
    return ended is False or _is_open(text)


def _is_open(text: str) -> bool:
    return text.lstrip().startswith(OPEN) and CLOSE not in text


def choose_template(
    tokenizer: Any, messages: Sequence[Message], pin_date: Callable[[str], str] = lambda template: template
) -> Template:
    """Choose the chat template of a training: the model's own, or TRL's training template if that one fails.

    Args:
        tokenizer: The base model's tokenizer.
        messages: A conversation before the answer, with the student's system prompt.
        pin_date: Puts the recipe's date into a template that writes today's, as it is for the student's answers.

    Raises:
        TrainingError: Neither renders the whole trace once and the end of the turn; the message shows the text.
    """
    source = pin_date(tokenizer.get_chat_template())
    own, wrong = _try_template(tokenizer, OWN, source, source, messages)
    if own is not None:
        return own
    try:
        from trl.chat_template_utils import get_training_chat_template

        changed = get_training_chat_template(tokenizer)
    except (ValueError, TypeError):
        changed = None
    if changed is not None:
        training, _ = _try_template(tokenizer, TRAINING, pin_date(changed), source, messages)
        if training is not None:
            return training
    raise TrainingError(
        f"student: its chat template cannot train it: {wrong}. TRL has no training template for it. Correct "
        "chat_template.jinja of the base model (a copy of it in a folder), or use another base model. A probe row was "
        f"rendered as:\n{_render(tokenizer, source, [*messages, {'role': 'assistant', 'content': _PROBE}])}"
    )


def _try_template(
    tokenizer: Any, kind: str, source: str, asked: str, messages: Sequence[Message]
) -> tuple[Template | None, str]:
    """Check a template; return it, or None and what is wrong with it. `asked` renders what the student is asked."""
    prompt = _render(tokenizer, source, messages, prompt=True)
    if prompt != _render(tokenizer, asked, messages, prompt=True):
        return None, "it renders prompts in another way than the template that the student is asked with"
    whole = _render(tokenizer, source, [*messages, {"role": "assistant", "content": _PROBE}])
    learned = whole[_first_difference(prompt, whole) :]
    for name, part in (("trace", _TRACE), ("answer", _ANSWER)):
        if (times := learned.count(part)) != 1:
            return None, f"what is learned holds the {name} {times} times, and should once"
    if CLOSE not in learned.partition(_TRACE)[2].partition(_ANSWER)[0]:
        return None, f"there is no {CLOSE} between trace and answer"
    end = learned.partition(_ANSWER)[2]
    ids = tokenizer(end.rstrip(), add_special_tokens=False)["input_ids"]
    if not ids or ids[-1] not in {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}:
        return None, f"no end of turn follows the answer, but {end!r}"
    return Template(tokenizer, kind, source, end), ""


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _continuation(prompt: str, text: str) -> str:
    """Return the text that follows a prompt, which may have opened the reasoning itself."""
    return text.lstrip().removeprefix(OPEN).removeprefix("\n") if opens_reasoning(prompt) else text


def _render(tokenizer: Any, source: str, messages: Sequence[Message], prompt: bool = False) -> str:
    return str(
        tokenizer.apply_chat_template(
            list(messages), chat_template=source, tokenize=False, add_generation_prompt=prompt
        )
    )
