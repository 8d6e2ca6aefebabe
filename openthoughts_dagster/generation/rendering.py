"""Renders many prompts at once by the model's chat template."""

from collections.abc import Sequence

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import messages_for

_PROBE = 'a "probe" of \\ two\n\nlines'  # a template that escapes texts changes this one
_CHECKED = 64


def render_all(model: Model, texts: Sequence[str]) -> list[str]:
    """Render the prompt of every user text, as the model reads it.

    Nearly all chat templates put a plain text unchanged between a fixed beginning and end. A million texts are then
    joined in seconds, whereas the template takes half a minute. Texts that a template may change, such as those with
    blanks at the ends or with tags, are rendered by the template, and so are all texts if a sample shows a difference.

    Args:
        model: The model, for its chat template and system prompt.
        texts: The user messages.

    Returns:
        One prompt for each text, in order.

    Raises:
        EngineError: The chat template writes today's date, and the recipe does not set `template_date`.
    """
    frame = _find_frame(model)
    if frame is None:
        return [_render_text(model, text) for text in texts]
    before, after = frame
    prompts = [f"{before}{text}{after}" if _is_plain(text) else _render_text(model, text) for text in texts]
    step = max(1, len(texts) // _CHECKED)
    if all(prompts[i] == _render_text(model, texts[i]) for i in range(0, len(texts), step)):
        return prompts
    return [_render_text(model, text) for text in texts]


def _find_frame(model: Model) -> tuple[str, str] | None:
    """Return what the template puts before and after a user's text; None if it changes the text."""
    before, found, after = _render_text(model, _PROBE).partition(_PROBE)
    if not found or _PROBE in after:
        return None
    return before, after


def _is_plain(text: str) -> bool:
    return bool(text) and not text[0].isspace() and not text[-1].isspace() and "<" not in text


def _render_text(model: Model, text: str) -> str:
    return model.render(messages_for(model.reference, text))
