"""The reader of StackExchange dumps. The accepted answer of a question is its reference answer."""

import json
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from openthoughts_dagster.recipe import Recipe, StackExchangeSource
from openthoughts_dagster.sources.contract import Reader, ReaderContext, Reading, Row, Shard, quote
from openthoughts_dagster.sources.html_text import HtmlError, html_text
from openthoughts_dagster.sources.opening import File, find_files, reading
from openthoughts_dagster.sources.posts import read_posts

_QUESTION, _ANSWER = "1", "2"
_BATCH = 1000
_TABLES = """
create table questions (number integer primary key, accepted integer, post text);
create table answers (id integer primary key, score integer, body text);
"""
_QUESTIONS = """
select post, body, score from questions left join answers on answers.id = questions.accepted order by number
"""


def read_stack_exchange(source: StackExchangeSource, recipe: Recipe, context: ReaderContext, seed: str) -> Reading:
    """Read the questions of StackExchange dumps. Accepted answers are found by a database in the staging folder.

    Args:
        source: The source, whose `path` names 7z archives or Posts.xml files.
        recipe: The recipe, whose folder relative paths start at.
        context: Has the staging folder.
        seed: Not used by this reader.

    Returns:
        One shard for each dump.

    Raises:
        SourceError: No dump is at the path.
    """
    scratch = context.staging / source.name
    where = f"sources.{source.name}.path"

    def opened(file: File) -> Callable[[], Iterator[Row]]:
        def rows() -> Iterator[Row]:
            with reading(where, file), tempfile.TemporaryDirectory(dir=scratch) as folder:
                yield from _rows(where, file, Path(folder) / "posts.sqlite")

        return rows

    files = find_files(where, recipe.path(source.path), source.confined_to)
    return Reading([Shard(file.name, file.version, opened(file)) for file in files])


def _rows(where: str, file: File, database: Path) -> Iterator[Row]:
    """Yield the questions of a dump. Answers come after their questions, and memory cannot hold a site, so all posts
    go through a database first."""
    with closing(sqlite3.connect(database)) as posts:
        posts.executescript("pragma journal_mode = off; pragma synchronous = off;" + _TABLES)
        questions: list[tuple[int | None, str]] = []
        answers: list[tuple[int | None, int | None, str]] = []

        def flush() -> None:
            posts.executemany("insert into questions (accepted, post) values (?, ?)", questions)
            posts.executemany("insert or replace into answers values (?, ?, ?)", answers)
            questions.clear()
            answers.clear()

        def take(post: dict[str, str]) -> None:
            if post.get("PostTypeId") == _QUESTION:
                questions.append((_parse_integer(post.get("AcceptedAnswerId")), json.dumps(post)))
            elif post.get("PostTypeId") == _ANSWER:
                answers.append(
                    (_parse_integer(post.get("Id")), _parse_integer(post.get("Score")), post.get("Body", ""))
                )
            if len(questions) + len(answers) >= _BATCH:
                flush()

        read_posts(where, file, take)
        flush()
        for text, answer, score in posts.execute(_QUESTIONS):
            yield _row(file, json.loads(text), answer, score)


def _row(file: File, post: dict[str, str], answer: str | None, score: int | None) -> Row:
    values = {
        "id": _parse_integer(post.get("Id")),
        "title": post.get("Title"),
        "body": post.get("Body"),
        "tags": re.findall(r"[^<>|]+", post.get("Tags", "")),  # <a><b>, and |a|b| in newer dumps
        "score": _parse_integer(post.get("Score")),
        "views": _parse_integer(post.get("ViewCount")),
        "answers": _parse_integer(post.get("AnswerCount")),
        "created": post.get("CreationDate"),
        "licence": post.get("ContentLicense"),
        "accepted_answer": answer,
        "accepted_score": score,
    }
    origin = {"file": file.name, "post": post.get("Id")}
    return Row(values, origin, finish=lambda: _convert_html(values, origin))


def _convert_html(values: dict[str, Any], origin: dict[str, Any]) -> Row:
    texts = dict[str, str | None]()
    for name in ("body", "accepted_answer"):
        try:
            texts[name] = None if values[name] is None else html_text(values[name])
        except HtmlError as error:
            return Row({}, origin, (error.reason, f"{name}: {error}: {quote(values[name])}"))
    return Row(values | texts, origin)


def _parse_integer(text: str | None) -> int | None:
    try:
        number = int(text or "")
    except ValueError:
        return None
    return number if abs(number) < 2**63 else None


READER = Reader(StackExchangeSource, read_stack_exchange, package="markdownify")
