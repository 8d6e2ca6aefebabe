"""Which answers a student may train on."""

from typing import Annotated, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import RecipeModel


class KeepAllAnswers(RecipeModel):
    """Every answer is kept. The paper's final recipe does so."""

    method: Literal["none"] = Field("none", description="Keep every answer.")


class FinishedAnswers(RecipeModel):
    """Answers that are cut off are dropped."""

    method: Literal["finished"] = Field(
        description="Drop answers that max_tokens cut off or that never left their reasoning."
    )


AnswerFilter = Annotated[KeepAllAnswers | FinishedAnswers, Field(discriminator="method")]
