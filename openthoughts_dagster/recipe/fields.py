"""What every recipe model shares: strict parsing, slugs, and short constrained types."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def _slug(name: str) -> str:
    if not re.fullmatch(SLUG, name):
        raise ValueError(
            f"is a partition key, so use only letters, digits, '-' and '_' (no '/ , | [ ]' or spaces), got {name!r}"
        )
    return name


Slug = Annotated[str, AfterValidator(_slug)]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class RecipeModel(BaseModel):
    """Base of all recipe models: unknown keys are errors, values are never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
