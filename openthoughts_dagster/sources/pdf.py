"""The reader of PDF files: it extracts the text of pages, and a judge finds questions in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.lake import text_hash, value_hash
from openthoughts_dagster.recipe import Columns, PdfSource, Recipe, identity_of
from openthoughts_dagster.sources.contract import Reader, ReaderContext, Reading, Row, Shard, SourceError
from openthoughts_dagster.sources.opening import File, find_files
from openthoughts_dagster.sources.pdf_questions import Group, PdfPrompts, questions_in
from openthoughts_dagster.sources.pdf_text import page_text
from openthoughts_dagster.sources.prompts import read_prompt
from openthoughts_dagster.sources.sampling import sample_positions

_ASKED_AT_ONCE = 256


@dataclass(frozen=True)
class _Pages:
    """A group of pages, from `first` (counted from 0) up to but without `last`; or why the file cannot be read."""

    file: File
    first: int
    last: int
    problem: str = ""

    @property
    def origin(self) -> dict[str, Any]:
        """The file and the pages, which are counted from 1 here."""
        return {"file": self.file.name} | ({} if self.problem else {"pages": [self.first + 1, self.last]})


def read_pdf(source: PdfSource, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    """Read question-answer pairs that a judge finds in PDF files. Files are opened here to count their pages.

    Args:
        source: The source, whose `limit` counts groups of pages.
        recipe: The recipe, which has the judge.
        context: Opens the judge.
        seed: The seed of the sample of groups.

    Returns:
        One shard for each file that has a group in the sample.

    Raises:
        SourceError: There are no files, a prompt is missing, or no judge can be asked.
    """
    where = f"sources.{source.name}"
    prompts = PdfPrompts(
        read_prompt(source.extract_prompt, ("text",), recipe.path, f"{where}.extract_prompt"),
        _read_optional_prompt(source.refine_prompt, recipe, f"{where}.refine_prompt"),
        _read_optional_prompt(source.filter_prompt, recipe, f"{where}.filter_prompt"),
    )
    if context.ask is None:
        raise SourceError(
            f"{where}: the judge {source.judge!r} cannot be asked here; materialize raw_sources, or pass "
            "`ask` in the context"
        )
    ask = context.ask(source.judge)
    files = find_files(f"{where}.path", recipe.path(source.path), source.confined_to)
    groups = [group for file in files for group in _group_pages(source, file)]
    drawn = [groups[i] for i in sample_positions(len(groups), source.limit or len(groups), seed)]
    judge = value_hash(identity_of(recipe.judge(source.judge)))

    def opened(file: File, own: list[_Pages]) -> Callable[[], Iterator[Row]]:
        def rows() -> Iterator[Row]:
            if own[0].problem:
                yield Row({}, own[0].origin, ("not_a_pdf", own[0].problem))
                return
            with _open_pdf(file) as pdf:
                for start in range(0, len(own), _ASKED_AT_ONCE):
                    read = [_read_pages(pdf, pages) for pages in own[start : start + _ASKED_AT_ONCE]]
                    texts = [entry for entry in read if isinstance(entry, Group)]
                    yield from (entry for entry in read if isinstance(entry, Row))
                    try:
                        yield from questions_in(texts, prompts, source.attempts, ask)
                    except EngineError as error:
                        raise SourceError(
                            f"{where}: {file.shown}: {error}. If the judge refuses this file only, take it out"
                        ) from error

        return rows

    shards = []
    for file in files:
        if own := [pages for pages in drawn if pages.file == file]:
            places = str([(pages.first, pages.last, bool(pages.problem)) for pages in own])
            version = text_hash(file.version, judge, *(text or "" for text in prompts.texts), places)
            shards.append(Shard(file.name, version, opened(file, own)))
    return Reading(shards, sampled=True)


def _read_optional_prompt(name: str | None, recipe: Recipe, where: str) -> str | None:
    return None if name is None else read_prompt(name, ("question", "answer"), recipe.path, where)


def _group_pages(source: PdfSource, file: File) -> list[_Pages]:
    try:
        with _open_pdf(file) as pdf:
            count = len(pdf.pages)
    except Exception as error:  # damaged files raise many kinds of errors in pypdf, and reject only themselves
        return [_Pages(file, 0, 0, f"{type(error).__name__}: {error}")]
    step = source.pages - source.overlap
    starts = range(0, max(1, count - source.overlap), step)
    return [_Pages(file, start, min(start + source.pages, count)) for start in starts]


def _read_pages(pdf: Any, pages: _Pages) -> Group | Row:
    try:
        text = "\n\n".join(page_text(pdf.pages[number]) for number in range(pages.first, pages.last))
    except Exception as error:
        return Row({}, pages.origin, ("page_unreadable", f"{type(error).__name__}: {error}"))
    if not text.strip():
        return Row({}, pages.origin, ("no_text", "the pages have no text, as scans do: run OCR on the file first"))
    return Group(text.encode("utf-8", "replace").decode("utf-8"), pages.origin)


@contextmanager
def _open_pdf(file: File) -> Iterator[Any]:
    from pypdf import PdfReader

    with file.open() as stream:
        pdf = PdfReader(stream)
        if pdf.is_encrypted and not pdf.decrypt(""):
            raise ValueError("the file needs a password")
        yield pdf


READER = Reader(
    PdfSource, read_pdf, package="pypdf", columns=Columns(question="question", answer="answer"), asks_judge=True
)
