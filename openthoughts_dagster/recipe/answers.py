"""The settings of the answer filters, which say which answers a student may train on."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel, Slug
from openthoughts_dagster.recipe.identity import Identity

Match = Literal["exact", "math", "judge"]


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


class JudgedFilter(RecipeModel):
    """A filter that can ask a judge whether two results are the same."""

    judge: Slug | None = Field(None, description="Name of the judge that compares results, for match: judge.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a comparison by a judge without a judge, and a judge that is not asked."""
        judged = raw.get("match") == "judge"
        if judged and raw.get("judge") is None:
            yield ("judge",), "is what match: judge needs; name one of the recipe's judges"
        if raw.get("judge") is not None and not judged:
            yield ("judge",), "is only asked with match: judge; set that, or remove the judge"


class MajorityAnswers(JudgedFilter):
    """Answers that agree with the largest group of answers to their question are kept."""

    match: Match = Field(
        "math",
        description="When two results are equal: exact text, math (math-verify), or as a judge of the recipe says.",
    )
    method: Literal["majority"] = Field(
        description="Keep the answers whose result is the most frequent one of their question; a tie keeps none."
    )


class VerifiedAnswers(JudgedFilter):
    """Answers that agree with the source's reference answer, or whose program passes the question's tests, are kept."""

    match: Match | Literal["tests"] = Field(
        "math",
        description="When an answer is right: its result is the reference as exact text, by math (math-verify), or as "
        "a judge of the recipe says; or its program passes the question's tests.",
    )
    method: Literal["verified"] = Field(
        description="Keep the answers whose result is the source's reference answer, or whose program passes its "
        "tests; a question without a reference or tests loses its answers."
    )
    seconds: Annotated[float, Identity.UNLESS_DEFAULT] = Field(
        10.0, gt=0, description="Longest time of one test of match: tests, wall clock and processor alike."
    )


class LanguageAnswers(RecipeModel):
    """Answers that are written in other languages, as a whole or in part, are dropped."""

    method: Literal["language"] = Field(description="Drop answers in other languages, as a whole or in part.")
    keep: list[str] = Field(default=["en"], min_length=1, description="Languages that are kept, as ISO 639-1 codes.")
    share: float = Field(
        0.1, ge=0, lt=1, description="Share of the letters that may stand in paragraphs of other languages."
    )
    certainty: float = Field(
        0.8, gt=0, le=1, description="Probability from which a paragraph counts as being in another language."
    )


class ParagraphAnswers(RecipeModel):
    """Answers with a long paragraph are dropped."""

    method: Literal["paragraphs"] = Field(description="Drop answers that have a paragraph of more than `words`.")
    words: Positive = Field(description="Longest paragraph that is kept, in words; a blank line ends a paragraph.")


class RepetitionAnswers(RecipeModel):
    """Answers that repeat themselves are dropped."""

    method: Literal["repetition"] = Field(description="Drop answers whose passages have been there before.")
    words: Positive = Field(20, description="Length of the passages that are compared, in words.")
    share: float = Field(0.2, ge=0, lt=1, description="Share of the passages that may have been there before.")


class FastTextAnswers(RecipeModel):
    """The answers that a fastText classifier finds most like examples are kept."""

    method: Literal["fasttext"] = Field(description="Keep the answers most like examples, by a fastText classifier.")
    positives: list[str] = Field(
        min_length=1, description="JSON Lines or Parquet files with a column text: answers of the wanted kind."
    )
    negatives: list[str] = Field(min_length=1, description="The same: answers of the unwanted kind.")
    keep: float = Field(0.5, gt=0, lt=1, description="Share of the answers that is kept.")
    dimensions: Positive = Field(256, description="Size of the word vectors.")
    epochs: Positive = Field(3, description="Passes over the examples.")
    learning_rate: float = Field(0.1, gt=0, description="Learning rate.")
    word_ngrams: Positive = Field(2, description="Longest run of words that is a feature.")
    min_count: Positive = Field(3, description="Rarer words are ignored.")


class LikelyAnswers(RecipeModel):
    """The answers of each question that are closest to what the student itself would write are kept."""

    method: Literal["likely"] = Field(
        description="Keep the answers of each question with the highest mean log-probability under the student."
    )
    count: Positive = Field(description="Answers kept of each question.")
    max_tokens: Positive = Field(4096, description="Tokens from the beginning of an answer that are looked at.")


_Choosing = (
    FinishedAnswers
    | LongestAnswers
    | ShortestAnswers
    | MajorityAnswers
    | VerifiedAnswers
    | LanguageAnswers
    | ParagraphAnswers
    | RepetitionAnswers
    | FastTextAnswers
    | LikelyAnswers
)


class RandomAnswers(RecipeModel):
    """The control for another filter: as many answers as that filter keeps, drawn at random."""

    method: Literal["random"] = Field(description="Keep as many answers as another filter keeps, drawn at random.")
    as_many_as: _Choosing = Field(discriminator="method", description="The filter whose number of answers is kept.")
    seed: int = Field(0, description="Seed of the draw.")


AnswerFilter = Annotated[KeepAllAnswers | _Choosing | RandomAnswers, Field(discriminator="method")]
