"""Settings that say which rows of a source are read, and which of their columns are the question and its answer."""

import re
import string
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from openthoughts_dagster.recipe.fields import Problem, RecipeModel

CONDITIONS = ("equals", "one_of", "matches", "at_least", "at_most")


def _column(text: str) -> str:
    if "{" not in text and "}" not in text:
        return text
    try:
        fields = [(name, extra) for _, name, *extra in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"is no template: {error}; write braces that are text twice, got {text!r}") from error
    if not fields or any(not name or extra != ["", None] for name, extra in fields):
        raise ValueError(f"a template names columns in braces, as '{{title}} {{body}}', and no formats, got {text!r}")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}; correct it, got {text!r}") from error
    return text


def _pattern_of_a_part(text: str) -> str:
    if re.compile(_pattern(text)).groups < 1:
        raise ValueError(f"has no group; put parentheses around what the question is, got {text!r}")
    return text


ColumnText = Annotated[str, AfterValidator(_column)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Scalar = str | bool | int | float


class Columns(RecipeModel):
    """The columns of the source's rows that contain the question, the answer and other fields.

    A value with braces is a template over the row's columns; dots lead into nested columns, and into JSON text.
    `{input?}` in a template may be absent, and a list in it becomes lines. In a chat, `messages.first_user` is the
    first turn of its user and `messages.first_reply` the turn after it, whatever system turns come before.
    """

    question: ColumnText = Field(
        "question",
        description="Column of the question, e.g. 'problem', 'messages.first_user', or '{title}\\n\\n{body}'.",
    )
    part: Annotated[str, AfterValidator(_pattern_of_a_part)] | None = Field(
        None,
        description="Regular expression whose first group is the question, where its column holds more, such as a "
        "whole chat: `\\[INST\\](.*)\\[/INST\\]`. A row in which it is not found is rejected.",
    )
    answer: ColumnText | None = Field(
        None, description="Column or template of the reference answer, if the source has one."
    )
    metadata: list[str] | None = Field(
        None,
        description="Other columns that raw_sources keeps; all when absent. Name them where rows are large: columns "
        "that nothing names are not read from Parquet.",
    )


class RowFilter(RecipeModel):
    """A condition on a column. Rows that do not meet it are counted, and are neither kept nor rejected.

    If the column is a list, one entry that meets the condition is enough. A row without the column does not meet it.
    """

    column: ColumnText = Field(description="Column, path into nested columns, or template to look at.")
    equals: Scalar | None = Field(None, description="Keep rows with exactly this value.")
    one_of: list[Scalar] | None = Field(None, description="Keep rows with one of these values.")
    matches: Pattern | None = Field(None, description="Keep rows in whose text this regular expression is found.")
    at_least: float | None = Field(None, description="Keep rows with this number or a larger one.")
    at_most: float | None = Field(None, description="Keep rows with this number or a smaller one.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a filter without a condition or with several; each condition needs a filter of its own."""
        given = [name for name in CONDITIONS if raw.get(name) is not None]
        if len(given) != 1:
            found = f"got {' and '.join(given)}" if given else "got none"
            yield (), f"needs exactly one of {', '.join(CONDITIONS)}, {found}; write a filter for each condition"
