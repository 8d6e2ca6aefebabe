"""The settings of the answer filters, which say which answers a student may train on."""

from typing import Annotated, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, RecipeModel

Match = Literal["exact", "math"]


class KeepAllAnswers(RecipeModel):
    """Every answer is kept. The paper's final recipe does so."""

    method: Literal["none"] = Field("none", description="Keep every answer.")


class FinishedAnswers(RecipeModel):
    """Answers that are cut off are dropped."""

    method: Literal["finished"] = Field(
        description="Drop answers that max_tokens cut off or that never left their reasoning."
    )


class LongestAnswers(RecipeModel):
    """The longest answers of each question are kept."""

    method: Literal["longest"] = Field(description="Keep the longest answers of each question, by tokens.")
    count: Positive = Field(description="Answers kept of each question.")


class ShortestAnswers(RecipeModel):
    """The shortest answers of each question are kept."""

    method: Literal["shortest"] = Field(description="Keep the shortest answers of each question, by tokens.")
    count: Positive = Field(description="Answers kept of each question.")


class MajorityAnswers(RecipeModel):
    """Answers that agree with the largest group of answers to their question are kept."""

    method: Literal["majority"] = Field(
        description="Keep the answers whose result is the most frequent one of their question; a tie keeps none."
    )
    match: Match = Field("math", description="When two results are equal: exact text, or math (math-verify).")


class VerifiedAnswers(RecipeModel):
    """Answers that agree with the source's reference answer are kept."""

    method: Literal["verified"] = Field(
        description="Keep the answers whose result is the source's reference answer; a question without a reference "
        "loses its answers."
    )
    match: Match = Field("math", description="When two results are equal: exact text, or math (math-verify).")


FilterOfTexts = Annotated[
    FinishedAnswers | LongestAnswers | ShortestAnswers | MajorityAnswers | VerifiedAnswers,
    Field(discriminator="method"),
]


class RandomAnswers(RecipeModel):
    """The control for another filter: as many answers as that filter keeps, drawn at random."""

    method: Literal["random"] = Field(description="Keep as many answers as another filter keeps, drawn at random.")
    as_many_as: FilterOfTexts = Field(description="The filter whose number of answers is kept.")
    seed: int = Field(0, description="Seed of the draw.")


AnswerFilter = Annotated[
    KeepAllAnswers
    | FinishedAnswers
    | LongestAnswers
    | ShortestAnswers
    | MajorityAnswers
    | VerifiedAnswers
    | RandomAnswers,
    Field(discriminator="method"),
]
