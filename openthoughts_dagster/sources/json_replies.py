"""Questions to a judge whose replies are JSON: asked again where one cannot be read, and given up with a reason."""

import json
from collections.abc import Callable
from typing import Any

from openthoughts_dagster.generation.requests import AskModel, Prompt
from openthoughts_dagster.sources.contract import quoted


def ask_for_json(
    prompts: list[str], schema: dict[str, Any], attempts: int, ask: AskModel, parse: Callable[[Any], Any]
) -> list[Any]:
    """For each prompt what `parse` makes of the reply, or why there is nothing: a tuple of reason and evidence.

    `parse` gets the JSON object of the reply, and returns None, never a tuple, when it is not what was asked for.
    Such a reply is asked again as another sample, as is one that its engine found to be no JSON of that shape. Other
    requests that failed are not: their engine has tried as often as it does. Raises EngineError when it is of no use.
    """
    results: list[Any] = [None] * len(prompts)
    open_ = list(range(len(prompts)))
    for attempt in range(attempts):
        if not open_:
            break
        unreadable: list[int] = []
        for i, [answer] in zip(open_, ask([Prompt(prompts[i], 1, attempt, schema) for i in open_]), strict=True):
            # With a text the engine was well, and found it to be no JSON of that shape, or cut off.
            if answer.error and not answer.answer:
                results[i] = ("judge_failed", answer.error)
            elif answer.error or (parsed := parse(_object_in(answer.answer))) is None:
                results[i] = ("reply_unreadable", f"{attempt + 1} replies, the last: {quoted(answer.answer)}")
                unreadable.append(i)
            else:
                results[i] = parsed
        open_ = unreadable
    return results


def _object_in(reply: str) -> Any:
    """The JSON object in a reply, within prose or a code fence too; None when there is none."""
    try:
        return json.loads(reply[reply.index("{") : reply.rindex("}") + 1])
    except (ValueError, RecursionError):
        return None
