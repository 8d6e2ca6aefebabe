"""The card of a version: README.md, written from the tables, and the plot beside it.

`facts` reads the tables, `sections` writes them down, `drawing` draws the funnel. A template of one's own has the
fields of the recipe's CARD_FIELDS in braces; the recipe refuses others.
"""

import re
from pathlib import Path

from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.card.drawing import FUNNEL_PLOT, draw_funnel
from openthoughts_dagster.release.card.facts import CardFacts, read_card_facts
from openthoughts_dagster.release.card.sections import SECTIONS

__all__ = [
    "FUNNEL_PLOT",
    "CardFacts",
    "draw_funnel",
    "fill_template",
    "read_card_facts",
    "template_of",
    "write_card",
]

_FIELD = re.compile(r"\{\{|\}\}|(?<![\\{\w])\{([A-Za-z_][A-Za-z0-9_]*)\}")


def write_card(facts: CardFacts) -> str:
    """Write the card's text in Markdown, without its YAML head. The plot is FUNNEL_PLOT, a file beside it.

    Texts of questions, answers and studies are escaped: they are shown, and make no markup.

    Args:
        facts: What the tables say of the version, as `read_card_facts` reads it.

    Returns:
        The text, from the recipe's own template where it has one.

    Raises:
        KeyError: The template has a field that there is not.
    """
    return fill_template(template_of(facts.recipe), {name: write(facts) for name, write in SECTIONS.items()})


def template_of(recipe: Recipe) -> str:
    """Return the text of the recipe's card template, or of the one that comes with the package."""
    own = recipe.release.card if recipe.release else None
    path = recipe.folder / own if own else Path(__file__).parent / "template.md"
    return path.read_text(encoding="utf-8")


def fill_template(template: str, values: dict[str, str]) -> str:
    """Put values in the place of fields in braces. Doubled braces become one brace.

    Args:
        template: The text, with fields such as `{title}`.
        values: The text of each field. Fields inside of them stay as they are.

    Returns:
        The text.

    Raises:
        KeyError: The template has a field that has no value; the message lists the fields.
    """

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        if name not in values:
            raise KeyError(f"the card's template has the field {{{name}}}; there are {', '.join(values)}")
        return values[name]

    return _FIELD.sub(replace, template)
