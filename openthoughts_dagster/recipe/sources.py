"""Settings of the sources of questions; each source is one block of the recipe."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from openthoughts_dagster.recipe.fields import Positive, Problem, RecipeModel, Slug
from openthoughts_dagster.recipe.identity import Identity
from openthoughts_dagster.recipe.source_rows import Columns, RowFilter

_PARTS = ("subset", "split", "revision")


def _names_outside(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find names of parts of a data set that are paths or addresses and could lead out of it."""
    for setting in _PARTS:
        value = raw.get(setting)
        for entry in value if isinstance(value, list) else [value]:
            steps = entry.split("/") if isinstance(entry, str) else ["a"]
            if any(step in ("", ".", "..") for step in steps) or re.search(r"[:\\*?\[\]{}~\x00-\x1f]", "/".join(steps)):
                yield (setting,), f"must be a name inside of the dataset, not a path that leads out, got {entry!r}"


class PaperFacts(RecipeModel):
    """What OpenThoughts (arXiv 2506.04178) says about a source: its student's scores, in percent.

    All scores are of students that were trained on 31,600 answers to this source's questions alone.
    """

    rank: Positive | None = Field(None, description="Place among the paper's sources of the domain, by average.")
    mix_rank: Positive | None = Field(
        None, description="Place in the ranking that the released mixing configurations use (at most 16)."
    )
    questions: Positive | None = Field(None, description="Questions that the source had when the paper read it.")
    average: float | None = Field(None, description="Mean over the paper's eight benchmarks.")
    code: float | None = Field(None, description="Mean over its code benchmarks.")
    math: float | None = Field(None, description="Mean over its math benchmarks.")
    science: float | None = Field(None, description="Mean over its science benchmarks.")
    published: str | None = Field(
        None, description="The hub's data set with the paper's own 31,600 rows of R1's answers to this source."
    )
    unverified: str | None = Field(None, description="What about this source no primary source confirms.")


class SourceBase(RecipeModel):
    """The settings that every source has."""

    landed_settings: ClassVar[frozenset[str]] = frozenset(
        {"name", "domain", "licence", "limit", "verbatim", "note", "reader"}
    )
    """Settings that the manifest of a landed source may have. All others need a recipe, which is reviewed."""

    name: Slug = Field(description="Partition key of the source. Never reuse a name for other data.")
    domain: Slug = Field(description="Domain that picks the scoring, selection and dedup settings, e.g. math.")
    licence: str = Field("unknown", description="SPDX licence identifier of the questions, or 'unknown'.")
    limit: Positive | None = Field(None, description="Sample this many rows with the recipe's seed; all when absent.")
    verbatim: bool = Field(
        False,
        description="Keep texts character for character, for questions that are bare code. Otherwise lines end in \\n "
        "alone, the ends are trimmed, and letters outside code are composed (Unicode NFC).",
    )
    note: Annotated[str | None, Identity.NEVER] = Field(
        None, description="Anything a reader of the recipe should know about this source."
    )
    paper: Annotated[PaperFacts | None, Identity.NEVER] = Field(
        None, description="What the OpenThoughts paper found about this source."
    )
    confined_to: Annotated[str | None, Identity.NEVER] = Field(
        None,
        description="Folder or address that every file of the source has to lie in; a dataset is then read from the "
        "hub alone. Set for each source that lands.",
    )


class Rewrite(RecipeModel):
    """A judge writes a question from each row; for rows that are documents, code or formulas."""

    judge: Slug = Field(description="Name of the judge that writes.")
    prompt: str = Field(
        description="Prompt file with {text} in it, where the column or template of the question goes: a shipped name "
        "such as question_from_text_v1, or a path."
    )
    attempts: Positive = Field(3, description="Times the judge is asked while it gives no reply that can be read.")


class TableSource(SourceBase):
    """A source whose rows have columns."""

    landed_settings = SourceBase.landed_settings | {"columns", "where"}

    columns: Columns = Field(default=Columns(), description="Column mapping.")
    where: list[RowFilter] = Field(default=[], description="Filters that a row must fit to be read, all of them.")
    rewrite: Rewrite | None = Field(
        None, description="Who writes questions from the rows. Only rows that `where` and `limit` leave are paid for."
    )


class HubPart(RecipeModel):
    """One more data set of the same source. Absent settings are those of the source."""

    dataset: str = Field(description="Dataset id, or a local folder.")
    subset: str | list[str] | None = Field(None, description="Configuration name or names of the dataset.")
    split: str | None = Field(None, description="Split to read.")
    revision: str | None = Field(None, description="Commit to pin; the newest when absent.")
    columns: Columns | None = Field(None, description="Column mapping.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find names of parts of the data set that lead out of it."""
        yield from _names_outside(raw)


class HuggingFaceSource(TableSource):
    """A dataset on the Hugging Face hub, or a local folder of the same shape."""

    landed_settings = TableSource.landed_settings | {"dataset", "subset", "split", "revision"}

    reader: Literal["hugging_face"] = Field(description="Streams with the `datasets` library.")
    dataset: str = Field(description="Dataset id such as nvidia/OpenCodeReasoning, or a local folder.")
    subset: str | list[str] | None = Field(None, description="Configuration name or names of the dataset.")
    split: str = Field("train", description="Split to read.")
    revision: str | None = Field(
        None, description="Commit to pin, so that every run reads the same rows; the newest when absent."
    )
    more: list[HubPart] = Field(default=[], description="Further datasets whose rows belong to this source.")

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find names of parts of the data set that lead out of it."""
        yield from _names_outside(raw)


class FilesSource(TableSource):
    """Your own files: JSON Lines, JSON, CSV or Parquet, plain or compressed."""

    landed_settings = TableSource.landed_settings | {"path", "records"}

    reader: Literal["files"] = Field(description="Reads JSON Lines, JSON, CSV and Parquet files.")
    path: str = Field(
        description="File, glob, or URL that fsspec knows (s3://bucket/*.jsonl.zst); relative paths start at the "
        "recipe's folder. Endings say the format: .jsonl .json .csv .tsv .parquet, and .gz .zst .bz2 .xz around them."
    )
    records: str | None = Field(
        None, description="Path to the list of rows in a JSON file, such as data.items; the file itself when absent."
    )


class StackExchangeSource(TableSource):
    """Questions of a site of the StackExchange network, from its public dump, as text with code and LaTeX kept.

    Columns of a question: id, title, body, tags, score, views, answers, created, licence, accepted_answer (null when
    there is none) and accepted_score. Filters see body and accepted_answer as HTML.
    """

    landed_settings = TableSource.landed_settings | {"path"}

    reader: Literal["stack_exchange"] = Field(description="Reads Posts.xml of a StackExchange dump.")
    path: str = Field(
        description="The site's .7z file, or its Posts.xml, plain or compressed; a path or a URL that fsspec knows."
    )
    columns: Columns = Field(
        default=Columns(question="{title}\n\n{body}", answer="accepted_answer"), description="Column mapping."
    )


class PdfSource(SourceBase):
    """Question-answer pairs that a judge extracts from PDF files, refines, and then accepts or rejects.

    `limit` counts groups of pages here, because each group is paid for.
    """

    reader: Literal["pdf"] = Field(description="Reads the text of PDF pages and asks a judge for the questions in it.")
    path: str = Field(description="File or glob of PDF files; a path or a URL that fsspec knows.")
    judge: Slug = Field(description="Name of the judge that extracts, refines and filters.")
    pages: Positive = Field(2, description="Pages that the judge sees at once.")
    overlap: int = Field(
        1, ge=0, description="Pages that a group shares with the next, for questions across a page's end."
    )
    attempts: Positive = Field(3, description="Times the judge is asked while it gives no reply that can be read.")
    extract_prompt: str = Field(
        "pdf_extract_v1", description="Prompt file with {text} in it: a shipped name, or a path."
    )
    refine_prompt: str | None = Field(
        "pdf_refine_v1", description="Prompt file with {question} and {answer} in it; null skips this step."
    )
    filter_prompt: str | None = Field(
        "pdf_filter_v1", description="Prompt file of the yes/no question with {question} and {answer}; null keeps all."
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find an overlap that is not smaller than the group of pages."""
        pages, overlap = raw.get("pages", 2), raw.get("overlap", 1)
        if isinstance(pages, int) and isinstance(overlap, int) and 0 < pages <= overlap:
            yield ("overlap",), f"must be below pages ({pages}), got {overlap}"


class ProceduralSource(SourceBase):
    """Questions generated by a family of reasoning_gym; one seed always gives the same questions."""

    landed_settings = SourceBase.landed_settings | {"family", "size", "seed", "options"}

    reader: Literal["procedural"] = Field(description="Generates with reasoning_gym.")
    family: str = Field(description="Name of the reasoning_gym dataset, e.g. chain_sum.")
    size: Positive = Field(description="Number of questions to generate.")
    seed: int = Field(0, description="Seed of the generator.")
    options: dict[str, Any] = Field(default={}, description="Options of the family, e.g. {min_terms: 2}.")


Source = Annotated[
    HuggingFaceSource | FilesSource | StackExchangeSource | PdfSource | ProceduralSource, Field(discriminator="reader")
]


def resolve_path(path: str, folder: Path) -> str:
    """Return `path` if it is absolute or a URL, and the same path below `folder` otherwise."""
    return path if "://" in path or Path(path).is_absolute() else str(folder / path)
