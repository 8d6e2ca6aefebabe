"""A page is one file: nothing that came from elsewhere is markup, and nothing is loaded."""

from openthoughts_dagster.pages import (
    Html,
    bullets,
    details,
    heading,
    link,
    note,
    page,
    paragraph,
    preformatted,
    table,
)
from openthoughts_dagster.pages.html import bar_chart
from openthoughts_dagster_tests.pages.parsing import PageParser

EVIL = '<script>alert(1)</script><img src="http://x/" onerror=a>"\'&</style>'


def test_nothing_that_came_from_elsewhere_becomes_markup() -> None:
    made = page(
        EVIL,
        heading(EVIL),
        paragraph(EVIL, "lead"),
        note(EVIL),
        preformatted(EVIL),
        bullets([EVIL]),
        details(EVIL, preformatted(EVIL)),
        table([{EVIL: EVIL, "number": 3, "empty": None}]),
        link(EVIL, f"https://host/?{EVIL}"),
        bar_chart([EVIL], [1.0], EVIL),
    )
    read = PageParser(made)
    assert "script" not in read.tags and "img" not in read.tags
    assert read.handlers == [] and read.loads == []
    assert read.text.count("<script>alert(1)</script>") >= 10


def test_a_page_may_load_nothing_and_links_lead_only_to_the_web() -> None:
    read = PageParser(page("t", link("ui", "http://host:3000/assets"), link("no", "javascript:alert(1)")))
    assert any("default-src 'none'" in value for name, value in read.attributes if name == "content")
    assert [value for name, value in read.attributes if name == "href"] == ["http://host:3000/assets"]
    assert read.text.endswith("no")


def test_empty_parts_leave_nothing_and_markup_of_ours_stays() -> None:
    assert page("t", note(""), paragraph(None), preformatted(None)).endswith("</style>")
    assert heading(Html("<b>bold</b>")) == "<h2><b>bold</b></h2>"
    assert "none" in table([])
