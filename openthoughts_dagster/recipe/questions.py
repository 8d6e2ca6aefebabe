"""Settings of scoring, selection, deduplication and decontamination of questions."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel, Slug
from openthoughts_dagster.recipe.identity import Identity


class ScoreBase(RecipeModel):
    """One score that `scored_questions` gives to every question of some domains."""

    name: Slug = Field(description="Name of the score, as selection refers to it.")
    domains: list[Slug] | None = Field(None, description="Domains whose questions get this score; all when absent.")


class Examples(RecipeModel):
    """Example questions that are wanted or not wanted, from sources of this recipe and from files."""

    sources: list[Slug] = Field(default=[], description="Sources of this recipe; their raw_sources come first.")
    paths: list[str] = Field(
        default=[],
        description="Files with a column question (JSON Lines, JSON, CSV or Parquet), relative to the recipe's folder.",
    )
    count: Positive = Field(100_000, description="At most so many questions are used: a sample that reruns agree on.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find settings that name no example at all."""
        if not raw.get("sources") and not raw.get("paths"):
            yield (), "has no examples; name sources, paths, or both"


class DifficultyScore(ScoreBase):
    """A judge rates the question from 1 to 10, as JSON that names the rating."""

    method: Literal["difficulty"] = Field(description="A judge's rating from 1 to 10.")
    judge: Slug = Field(description="Name of the judge that rates.")
    prompt: str = Field(
        description="Prompt file with {question} in it: a path, or code_difficulty, math_difficulty or "
        "science_difficulty, which are shipped. {answer} shows the source's own answer, and a question without one "
        "gets no score; {answer?} may be empty."
    )
    attempts: Positive = Field(3, description="Times the judge is asked before a score counts as failed.")


class AskLlmScore(ScoreBase):
    """A judge rates from 1 to 100 how much a question is like the good examples and unlike the bad ones."""

    method: Literal["ask_llm"] = Field(description="A judge's rating from 1 to 100, with examples before its eyes.")
    judge: Slug = Field(description="Name of the judge that rates.")
    prompt: str = Field(
        "ask_llm",
        description="Prompt file with {question}, {positives} and {negatives} in it: a path, or the shipped ask_llm.",
    )
    positives: Examples = Field(description="Good questions; the paper shows five.")
    negatives: Examples = Field(description="Bad questions; the paper shows five.")
    shown: Positive = Field(5, description="Examples of each kind in the prompt.")
    attempts: Positive = Field(3, description="Times the judge is asked before a score counts as failed.")


class ResponseLengthScore(ScoreBase):
    """Length of an answer to the question, by default in characters of a judge's: hard questions get long answers."""

    method: Literal["response_length"] = Field(description="Length of an answer: a judge's, or the source's own.")
    of: Literal["judge", "source"] = Field(
        "judge",
        description="Whose answer is measured. source is the reference answer of raw_sources, which costs nothing; a "
        "question without one gets no score.",
    )
    judge: Slug | None = Field(None, description="Name of the judge that answers; none with `of: source`.")
    unit: Literal["characters", "words", "tokens"] = Field(
        "characters", description="What is counted; words are separated by white space."
    )
    tokenizer: str | None = Field(
        None,
        description="Model whose tokens are counted, a hub id or a folder. Without it, tokens of a judge's answer are "
        "those that its engine counted.",
    )
    attempts: Positive = Field(3, description="Times the judge is asked before a score counts as failed.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a judge or a tokenizer that is missing or that nothing would use."""
        of, unit = raw.get("of", "judge"), raw.get("unit", "characters")
        if of == "judge" and raw.get("judge") is None:
            yield ("judge",), "is missing; name the judge that answers, or set `of: source`"
        if of == "source" and raw.get("judge") is not None:
            yield ("judge",), f"is not asked with `of: source`; remove one of the two, got {raw['judge']!r}"
        if of == "source" and unit == "tokens" and raw.get("tokenizer") is None:
            yield ("tokenizer",), "is missing; name the model whose tokens are counted, or count words"
        if unit in ("characters", "words") and raw.get("tokenizer") is not None:
            yield ("tokenizer",), f"counts tokens, and `unit` is {unit}; remove it, or set `unit: tokens`"


class FastTextScore(ScoreBase):
    """Probability that a question is one of the positives, by a fastText classifier trained on the examples."""

    method: Literal["fasttext"] = Field(description="Probability of being a positive, by a fastText classifier.")
    positives: Examples = Field(description="Questions of the kind that is wanted.")
    negatives: Examples = Field(description="Questions of the kind that is not.")
    dimensions: Positive = Field(256, description="Size of the word vectors (the paper's).")
    epochs: Positive = Field(3, description="Passes over the examples (the paper's).")
    learning_rate: float = Field(0.1, gt=0, description="Learning rate (the paper's).")
    word_ngrams: Positive = Field(2, description="Longest run of words that is a feature (the paper's).")
    min_count: Positive = Field(3, description="Rarer words are ignored (the paper's).")


class EmbeddingScore(ScoreBase):
    """Mean cosine similarity of the question's embedding to the positives minus that to the negatives."""

    method: Literal["embedding"] = Field(description="Similarity to positives less similarity to negatives.")
    model: str = Field(description="Embedding model: Hugging Face id, folder, or the server's name of it.")
    revision: str | None = Field(None, description="Commit of the model on the hub.")
    engine: Literal["transformers", "openai"] = Field(
        "transformers", description="transformers (in process), or openai: any server with /embeddings."
    )
    base_url: str | None = Field(None, description="Address of the OpenAI-compatible server, for engine openai.")
    api_key_env: str | None = Field(None, description="Name of the environment variable with the server's key.")
    pooling: Literal["mean", "first", "last"] = Field(
        "mean", description="Which token states make the embedding, for engine transformers."
    )
    batch_size: Positive = Field(64, description="Questions embedded at once.")
    positives: Examples = Field(description="Questions of the kind that is wanted.")
    negatives: Examples = Field(description="Questions of the kind that is not.")


class RandomScore(ScoreBase):
    """A seeded random number for each question: the baseline that a score has to beat."""

    method: Literal["random"] = Field(description="A random number between 0 and 1 from the question's id.")
    seed: int = Field(0, description="Seed; another one gives another order.")


Score = Annotated[
    DifficultyScore | ResponseLengthScore | AskLlmScore | FastTextScore | EmbeddingScore | RandomScore,
    Field(discriminator="method"),
]


class ScoreRange(RecipeModel):
    """The values of a score that a question may have; both ends belong to the range."""

    minimum: float | None = Field(None, description="Questions below it are left out.")
    maximum: float | None = Field(None, description="Questions above it are left out.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find a range without ends, and one that is empty."""
        low, high = raw.get("minimum"), raw.get("maximum")
        if low is None and high is None:
            yield (), "needs a minimum, a maximum, or both"
        elif isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield ("minimum",), f"must be at most maximum ({high:g}), got {low:g}"


class Selection(RecipeModel):
    """Which scored questions of a source are selected: the top by rank, if wanted of those within ranges."""

    by: Slug = Field(description="Name of the score to rank by.")
    count: Positive = Field(description="Questions kept per source.")
    copies: Annotated[Literal["once", "each"], Identity.UNLESS_DEFAULT] = Field(
        "once",
        description="Whether exact copies of a question count once, or each of them, as in the paper, so that dedup "
        "leaves fewer than `count`. Where the domain keeps duplicates, each counts.",
    )
    refill: bool = Field(
        False,
        description="Go on in the ranking until so many questions are left after decontamination and dedup. false "
        "selects first, so that fewer are left.",
    )
    within: Annotated[dict[Slug, ScoreRange], Identity.UNLESS_DEFAULT] = Field(
        default={},
        description="Ranges by name of the score, all of which a question has to be in before it is ranked, e.g. "
        "{difficulty: {minimum: 3, maximum: 9}}. A question without that score is out.",
    )


class Dedup(RecipeModel):
    """How duplicates within a source are found."""

    method: Literal["none", "exact", "fuzzy"] = Field("exact", description="none, exact text, or fuzzy similarity.")
    similarity: float = Field(
        90, gt=0, le=100, description="Indel similarity (rapidfuzz ratio, 0-100) from which fuzzy finds a duplicate."
    )
    same_numbers: bool = Field(
        True,
        description="Fuzzy duplicates differ in nothing but formatting and misspellings: another number, sign, word or "
        "negation makes another problem. false is the paper's rule, similarity alone.",
    )
    against: list[str] = Field(
        default=[],
        description="Questions that older releases have: Parquet, JSON, CSV or Delta tables with a column question; "
        "what repeats one of them is dropped, with method none only exact copies. Relative paths start at the recipe's "
        "folder.",
    )
    brute_force: bool = Field(
        False, description="Compare all pairs instead of looking candidates up: exact, for some ten thousand questions."
    )


class DomainQuestions(RecipeModel):
    """Selection and deduplication of one domain's sources."""

    selection: Selection | None = Field(None, description="Top questions to keep; all when absent.")
    dedup: Dedup = Field(default=Dedup(), description="How duplicates are found.")
    downsample: dict[Slug, Positive] = Field(
        default={},
        description="Questions to keep after dedup, by name of the source: a uniform sample that reruns agree on. "
        "All of a source without an entry.",
    )


class Decontamination(RecipeModel):
    """When a question counts as leaked from a benchmark (OpenThoughts: 13 shared tokens or Indel ratio >= 75)."""

    ngram: Positive | None = Field(
        13,
        description="Words in a row shared with a benchmark question; a question of 6 words up to that is found as a "
        "whole. null is off.",
    )
    tokenizer: str | None = Field(
        None,
        description="Model whose tokens are counted, as the paper's Qwen/Qwen2-7B-Instruct. Words when absent. With "
        "tokens, questions shorter than `ngram` are not looked for as a whole.",
    )
    similarity: float | None = Field(
        75,
        gt=0,
        le=100,
        description="Indel similarity to a benchmark question (rapidfuzz ratio, 0-100); null is off.",
    )
    normalize: bool = Field(
        True,
        description="Compare without letter case, typography and the delimiters of LaTeX, and count only letters and "
        "digits as words. false is the paper's rule, which compares texts as they are.",
    )
    common_share: float | None = Field(
        0.01,
        gt=0,
        le=1,
        description="Words in a row that stand beside different questions in this share of a source (and at least 50), "
        "or of a benchmark (at least 10), are an instruction: reported, and no leak. null is the paper's rule.",
    )
    against: list[str] = Field(
        default=[],
        description="More questions that may not be trained on, beside those of the recipe's benchmarks: "
        "dataset:split:column, dataset@revision(subset):split:column with dots for nested columns, or files with a "
        "column question (JSON Lines, JSON, CSV or Parquet), with :column where it has another name.",
    )
    brute_force: bool = Field(
        False, description="Compare with every benchmark question instead of looking candidates up: exact, and slow."
    )
