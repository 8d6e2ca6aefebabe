"""The prompts of scores, which judges are asked with: where they are, and the slots of each method."""

from collections.abc import Callable
from pathlib import Path

from openthoughts_dagster.recipe.prompts import PromptError, PromptFileError, check_slots, read_prompt_file
from openthoughts_dagster.recipe.questions import Score

_SHIPPED = Path(__file__).parent.parent / "recipes" / "openthoughts3" / "prompts"
_NEEDED = {"difficulty": ("question",), "ask_llm": ("question", "positives", "negatives")}
_OPTIONAL = {"difficulty": ("answer", "answer?")}


def read_score_prompt(score: Score, resolve: Callable[[str], str]) -> str:
    """Read the prompt of a score, and check its slots.

    Args:
        score: A score of a method that has a prompt.
        resolve: Makes a path of the recipe absolute.

    Returns:
        The text of the file, or of the shipped prompt of its name.

    Raises:
        PromptError: The file cannot be read, lacks a slot, or has one that nothing fills in.
    """
    name = str(getattr(score, "prompt"))  # noqa: B009 - only some methods have a prompt
    shipped = {path.stem: path for path in _SHIPPED.glob("*.md")}
    try:
        text = read_prompt_file(Path(resolve(name)), shipped)
        check_slots(name, text, _NEEDED[score.method], _OPTIONAL.get(score.method, ()))
    except PromptError as error:
        raise type(error)(f"scores.{score.name}.prompt: {error}") from error
    return text


def find_prompt_problems(scores: list[Score], resolve: Callable[[str], str]) -> list[str]:
    """List the problems of the slots of prompts, one line for each.

    A file that is not there is no problem yet: it may be made before the run that needs it, which names it.
    """
    problems = []
    for score in scores:
        if score.method in _NEEDED:
            try:
                read_score_prompt(score, resolve)
            except PromptFileError:
                continue
            except PromptError as error:
                problems.append(str(error))
    return problems
