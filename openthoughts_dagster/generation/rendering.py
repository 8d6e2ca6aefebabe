"""Many prompts at once, rendered by the model's chat template."""

from collections.abc import Sequence

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import messages_for

_PROBE = 'a "probe" of \\ two\n\nlines'  # no format that escapes texts leaves it as it is
_CHECKED = 64


def render_all(model: Model, texts: Sequence[str]) -> list[str]:
    """The prompt of every user text, as the model reads it.

    Nearly all chat templates put a plain text unchanged between a fixed beginning and end; a million texts are then
    put together in seconds, where the template itself takes half a minute. What a template may look at or change
    (blanks at the ends, tags) goes through it, and so does everything when a sample of the texts shows a difference.
    """
    frame = _frame(model)
    if frame is None:
        return [_render(model, text) for text in texts]
    before, after = frame
    prompts = [f"{before}{text}{after}" if _is_plain(text) else _render(model, text) for text in texts]
    step = max(1, len(texts) // _CHECKED)
    if all(prompts[i] == _render(model, texts[i]) for i in range(0, len(texts), step)):
        return prompts
    return [_render(model, text) for text in texts]


def _frame(model: Model) -> tuple[str, str] | None:
    """What the template puts before and after a user's text; None when the text does not stand there as it is."""
    before, found, after = _render(model, _PROBE).partition(_PROBE)
    if not found or _PROBE in after:
        return None
    return before, after


def _is_plain(text: str) -> bool:
    return bool(text) and not text[0].isspace() and not text[-1].isspace() and "<" not in text


def _render(model: Model, text: str) -> str:
    return model.render(messages_for(model.reference, text))
