"""The base of all recipe models: strict parsing, rules over several fields, and constrained types."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]*"

Problem = tuple[tuple[int | str, ...], str]
"""Where in a model's raw values something is wrong, and what a person should change."""


def _slug(name: str) -> str:
    if not re.fullmatch(SLUG, name):
        raise ValueError(
            "use only letters, digits, '-' and '_', and start with a letter or digit (names become partition keys and "
            f"folders: no '/ , | [ ]' or spaces), got {name!r}"
        )
    return name


def _quantity(text: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?([kMGTP]|[KMGTP]i)?", text):
        raise ValueError(f"must be an amount as Kubernetes writes it, e.g. 64Gi or 500M, got {text!r}")
    return text


Slug = Annotated[str, AfterValidator(_slug)]
Quantity = Annotated[str, AfterValidator(_quantity)]
Positive = Annotated[int, Field(gt=0)]


class RecipeModel(BaseModel):
    """Base of all recipe models: unknown keys are errors, and values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield problems between several fields; the raw values may have any type.

        Rules read raw values and not a finished model, so that a person sees their problems together with the
        mistakes in single fields: pydantic calls its own after-validators only when every field is valid.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _every_problem_at_once(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, Mapping):
            return handler(value)
        details = [
            InitErrorDetails(
                type=PydanticCustomError("rule", "{text}", {"text": text}),
                loc=location,
                input=_value_at(value, location),
            )
            for location, text in cls.problems(value)
        ]
        try:
            model = handler(value)
        except ValidationError as error:
            details = [_to_error_detail(problem) for problem in error.errors()] + details
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)
        return model


def _to_error_detail(problem: Any) -> InitErrorDetails:
    """Convert a reported error to a detail of a new error with the same text."""
    message = PydanticCustomError(problem["type"], "{text}", {"text": problem["msg"]} | problem.get("ctx", {}))
    return InitErrorDetails(type=message, loc=problem["loc"], input=problem["input"])


def _value_at(value: Any, location: tuple[int | str, ...]) -> Any:
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
