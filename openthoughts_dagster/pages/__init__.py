"""Pages for people: HTML in one file that needs no network, in which everything that was not made here is escaped."""

from openthoughts_dagster.pages.html import (
    Html,
    bullets,
    details,
    figure,
    heading,
    link,
    note,
    page,
    paragraph,
    preformatted,
    table,
)

__all__ = [
    "Html",
    "bullets",
    "details",
    "figure",
    "heading",
    "link",
    "note",
    "page",
    "paragraph",
    "preformatted",
    "table",
]
