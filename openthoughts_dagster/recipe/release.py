"""Settings of the release: the data set over many sources that others load, and what must hold before it leaves."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, Field

from openthoughts_dagster.recipe.answers import AnswerFilter
from openthoughts_dagster.recipe.fields import Positive, RecipeModel, Slug
from openthoughts_dagster.recipe.questions import Dedup
from openthoughts_dagster.recipe.studies import BestSources

CARD_FIELDS: Mapping[str, str] = {
    "title": "the release's title",
    "name": "the release's name",
    "version": "the version of these rows",
    "licence": "the licence of the release",
    "summary": "rows, questions, sources, teacher and date",
    "load": "how to load each config",
    "recipe": "the settings of the recipe that decided the rows",
    "funnel": "questions and answers after every step, with a plot",
    "sources": "the sources with their licences and sizes",
    "decontamination": "what was compared with, and what was dropped",
    "limits": "truncation, unverified answers, languages",
    "responsible": "the fields of Croissant's vocabulary for responsible AI",
    "cost": "what the completions cost",
    "studies": "the studies that decided, with their results",
    "scores": "scores of the student trained on it, with errors",
    "rebuild": "how to make exactly this version again",
}
"""The fields that a card template may contain in braces, each with what it is replaced by."""

_FIELD = re.compile(r"(?<![\\{\w])\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
_BYTES = re.compile(r"([0-9]+)\s?(kB|KB|MB|GB)")
_UNITS = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def _licence(text: str) -> str:
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        raise ValueError(
            "must be an SPDX licence expression, such as Apache-2.0, CC-BY-SA-4.0 or 'MIT AND CC-BY-4.0' "
            f"(spdx.org/licenses; LicenseRef-NAME for a licence of one's own), got {text!r}"
        ) from None


def _bytes(text: str) -> str:
    if not _BYTES.fullmatch(text) or text.startswith("0"):
        raise ValueError(f"must be a size such as 256MB or 1GB, got {text!r}")
    return text


def _repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII):
        raise ValueError(f"must be owner/name, got {text!r}")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", text):
        # The word "got" keeps the value, which may be a token, out of the message (recipe/problems.py).
        raise ValueError("must be the name of an environment variable such as HF_TOKEN, got something else")
    return text


SpdxExpression = Annotated[str, AfterValidator(_licence)]


class Waiver(RecipeModel):
    """A gate that one source need not pass, with the reason, which is printed on the card."""

    source: Slug = Field(description="Name of the source.")
    gate: Literal["licence", "contamination", "completeness", "truncation", "ranking"] = Field(
        description="The gate that is waived for it."
    )
    reason: str = Field(min_length=10, description="Why, as a sentence that readers of the card understand.")


class Gates(RecipeModel):
    """What must hold before a release leaves."""

    licences: list[SpdxExpression] = Field(
        default=[], description="SPDX identifiers that rows may have; the release's own licence when empty."
    )
    waive: list[Waiver] = Field(default=[], description="Gates that single sources need not pass, with reasons.")
    truncated: float = Field(0.05, ge=0, le=1, description="Largest share of answers that are cut off.")
    missing: float = Field(0.01, ge=0, le=1, description="Largest share of answers that are missing.")


class Hub(RecipeModel):
    """Where a person pushes the release to."""

    repository: Annotated[str, AfterValidator(_repository)] = Field(description="Repository on the hub, owner/name.")
    private: bool = Field(True, description="Whether the repository is made private when it does not exist yet.")
    token_variable: Annotated[str, AfterValidator(_variable)] = Field(
        "HF_TOKEN", description="Name of the environment variable with the token."
    )


class Release(RecipeModel):
    """The data set that is published: sources, sizes, what is dropped across sources, the gates, and where it goes."""

    name: Slug = Field(description="Name of the release: its folder, and the default name of its repository.")
    title: str = Field(description="Title of the card.")
    licence: SpdxExpression = Field(description="Licence of the release as a whole, an SPDX expression.")
    sources: list[Slug] | BestSources = Field(
        description="Sources by name, or `best: n` of source_ranking for each domain. Of a question that several "
        "sources have, the source that is named first keeps it."
    )
    sizes: dict[Slug, Positive] = Field(
        default={}, description="Questions by domain or by source; all of a domain or source that is not named."
    )
    answers_per_question: Positive | None = Field(
        None, description="Most answers of each question; the recipe's answers_per_question when absent."
    )
    dedup: Dedup = Field(
        default=Dedup(),
        description="How a question that two sources have is found. Duplicates within one source are the business of "
        "`domains`.",
    )
    against: list[str] = Field(
        default=[],
        description="Older releases and data sets whose questions are left out: folders of releases, Parquet, JSON "
        "Lines or Delta tables with a column question, or data sets of the hub as in `decontamination.against`.",
    )
    answer_filter: AnswerFilter | None = Field(
        None, description="Which of the answers that the recipe's answer_filter kept are published; all when absent."
    )
    majority: bool = Field(
        False, description="Whether each answer also says if it agrees with the majority of its question's answers."
    )
    seed: int = Field(42, description="Seed of the sample of questions and of the order of rows.")
    student: dict[str, Any] = Field(
        default={}, description="Settings of the student of the whole release that differ from the recipe's student."
    )
    shard_bytes: Annotated[str, AfterValidator(_bytes)] = Field(
        "256MB", description="Size of a Parquet file's columns before compression, about."
    )
    short: bool = Field(
        False, description="Whether a release with fewer questions than `sizes` is made, instead of being an error."
    )
    card: str | None = Field(
        None,
        description="A card template of one's own with fields in braces, relative to the recipe's folder. Fields: "
        + ", ".join(CARD_FIELDS)
        + ".",
    )
    gates: Gates = Field(default=Gates(), description="What must hold before the release leaves.")
    hub: Hub | None = Field(None, description="Where a person pushes it to; absent: nowhere.")

    @property
    def shard_size(self) -> int:
        """`shard_bytes` as a number of bytes."""
        found = _BYTES.fullmatch(self.shard_bytes)
        assert found is not None
        return int(found[1]) * _UNITS[found[2]]

    @property
    def allowed_licences(self) -> list[str]:
        """The SPDX identifiers that rows may have."""
        return list(self.gates.licences) or [self.licence]


def fields_of_card(template: str) -> list[str]:
    """Return the fields in braces that a card template contains, each once, in order.

    Doubled braces stand for one brace, and braces after a backslash or a letter, as in LaTeX, are no field.
    """
    return list(dict.fromkeys(_FIELD.findall(template)))
