"""Dumps of StackExchange sites: text with code and LaTeX, accepted answers, and hostile archives."""

import gzip
import json
from pathlib import Path
from typing import Any

import py7zr
import pytest

from openthoughts_dagster.sources import SourceError, posts
from openthoughts_dagster.sources.html_text import HtmlError, html_text
from openthoughts_dagster_tests.sources.dumps import ANSWERS, QUESTION, posts_xml, write_dump
from openthoughts_dagster_tests.sources.helpers import Read, read

SECOND = QUESTION | {
    "Id": "5",
    "AcceptedAnswerId": "99",
    "Score": "-1",
    "Title": "Second",
    "Tags": "|optics|",
    "Body": "<p>B</p>",
}


def _read(folder: Path, path: str = "site.7z", **more: Any) -> Read:
    return read(folder, {"reader": "stack_exchange", "path": path} | more)


def test_questions_are_text_with_code_and_latex_and_the_accepted_answer(tmp_path: Path) -> None:
    write_dump(
        tmp_path / "site.7z", posts_xml(QUESTION, *ANSWERS, SECOND, {"Id": "9", "PostTypeId": "5", "Body": "wiki"})
    )
    got = _read(tmp_path)
    assert got.texts == [
        "Why is $E = mc^2$?\n\nI see `E = m*c**2` and\n\n$$E_1 < m_0 c^2 \\\\ x$$\n\n"
        "```\ndef e(m):\n    return m * C ** 2\n```",
        "Second\n\nB",
    ]
    assert got.questions["reference_answer"].to_list() == ["From the *four*-momentum.", None]
    metadata = json.loads(got.questions["metadata"][0])
    assert (metadata["tags"], metadata["score"]) == (["energy", "special-relativity"], 12)
    assert got.origins()[0] == {"file": "site.7z", "post": "1"}


def test_posts_xml_itself_is_read_plain_or_compressed_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "Posts.xml.gz").write_bytes(gzip.compress(posts_xml(*ANSWERS, SECOND, QUESTION)))
    got = _read(tmp_path, "Posts.xml.gz")
    assert [text.partition("\n")[0] for text in got.texts] == ["Second", "Why is $E = mc^2$?"]
    assert got.questions["reference_answer"].to_list() == [None, "From the *four*-momentum."]


def test_filters_see_score_and_tags(tmp_path: Path) -> None:
    write_dump(tmp_path / "site.7z", posts_xml(QUESTION, *ANSWERS, SECOND))
    assert len(_read(tmp_path, where=[{"column": "score", "at_least": 0}]).texts) == 1
    assert _read(tmp_path, where=[{"column": "tags", "equals": "optics"}], columns={"question": "title"}).texts == [
        "Second"
    ]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>x<sup>2</sup> + y<sub>10</sub></p>", "x^2 + y_{10}"),
        ("<p>a<br>b</p>", "a\nb"),
        ("<p><img src='x.png' alt='a circuit'> <img src='y.png'></p>", "[image: a circuit] [image]"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ("<p>$a_1 * b_2 * c$ &amp; \\[x \\\\ y\\]</p>", "$a_1 * b_2 * c$ & \\[x \\\\ y\\]"),
        ("<script>alert(1)</script><p>ok</p>", "ok"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    assert html_text(html) == text


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        ("<div>" * 50_000 + "x", "html_too_deep"),
        ("<b>" * 20_000 + "x" + "</i>" * 20_000, "html_too_deep"),
        ("<p>a</p>" * 200_000, "html_too_long"),
    ],
)
def test_html_bombs_are_given_up_with_a_reason(bomb: str, reason: str) -> None:
    with pytest.raises(HtmlError) as caught:
        html_text(bomb)
    assert caught.value.reason == reason


@pytest.mark.timeout(20)
def test_html_that_other_parsers_take_minutes_for_takes_none() -> None:
    for broken in ("<!--" * 100_000, "<" * 500_000, "&" * 500_000, "<a " + "x=1 " * 200_000 + ">t</a>"):
        html_text(broken)


def test_a_bomb_of_html_is_quarantined_and_the_rest_goes_on(tmp_path: Path) -> None:
    bomb = QUESTION | {"Body": "<div>" * 20_000}
    write_dump(tmp_path / "site.7z", posts_xml(bomb, *ANSWERS, SECOND))
    got = _read(tmp_path)
    assert got.reasons == ["html_too_deep"] and got.texts == ["Second\n\nB"]
    assert json.loads(got.rejected["origin"][0])["post"] == "1"


def test_entities_and_document_types_are_refused(tmp_path: Path) -> None:
    laughs = "<!DOCTYPE posts [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]>"
    for number, before in enumerate((laughs, '<!DOCTYPE posts SYSTEM "file:///etc/passwd">')):
        (tmp_path / f"{number}.xml").write_bytes(posts_xml(QUESTION, before=before))
        with pytest.raises(SourceError, match="declares a document type, which could define entities"):
            _read(tmp_path, f"{number}.xml")


def test_a_dump_that_is_cut_off_or_damaged_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(posts_xml(QUESTION, after=""))
    with pytest.raises(SourceError, match=r"a\.xml is no whole XML document.*Download the dump again"):
        _read(tmp_path, "a.xml")
    packed = write_dump(tmp_path / "a.7z", posts_xml(*[QUESTION] * 50)).read_bytes()
    for number, damaged in enumerate(
        (packed[: len(packed) // 2], packed[:40] + bytes(30) + packed[70:], b"no archive")
    ):
        (tmp_path / f"{number}.7z").write_bytes(damaged)
        with pytest.raises(SourceError, match=rf"{number}\.7z is no whole 7z archive"):
            _read(tmp_path, f"{number}.7z")


def test_an_element_too_long_to_be_a_post_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posts, "_LONGEST_ELEMENT", 3 * 2**20)
    (tmp_path / "a.xml").write_bytes(posts_xml(QUESTION | {"Body": "x" * 8 * 2**20}))
    with pytest.raises(SourceError, match="an element longer than"):
        _read(tmp_path, "a.xml")


def test_references_to_characters_that_xml_forbids_do_not_end_a_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xml = posts_xml(QUESTION | {"Body": "<p>a@b</p>"}, SECOND).replace(b"a@b", b"a&#x1F;&#0;&#xA;&#65;b")
    (tmp_path / "a.xml").write_bytes(xml)
    for chunk in (1, 7, 2**20):
        monkeypatch.setattr(posts, "_CHUNK", chunk)
        assert _read(tmp_path, "a.xml", columns={"question": "body"}).texts == ["a\ufffd\ufffd\nAb", "B"]


def test_an_archive_with_paths_that_leave_it_writes_nothing(tmp_path: Path) -> None:
    path = _traversing(tmp_path / "site.7z", "../../escaped/Posts.xml")
    before = sorted(str(p) for p in tmp_path.parent.rglob("*escaped*"))
    with pytest.raises(SourceError, match=r"has no Posts\.xml at its top"):
        _read(tmp_path, str(path))
    assert sorted(str(p) for p in tmp_path.parent.rglob("*escaped*")) == before


def _traversing(path: Path, name: str) -> Path:
    """An archive whose only entry is called `name`: py7zr writes none, so a name as long is replaced in one."""
    harmless = "a" * len(name)
    with py7zr.SevenZipFile(path, "w", header_encryption=False) as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(posts_xml(QUESTION), harmless)
    content = path.read_bytes()
    old, new = harmless.encode("utf-16-le"), name.encode("utf-16-le")
    assert content.count(old) == 1
    start = content.rindex(old)
    header_size = int.from_bytes(content[20:28], "little")
    header_at = 32 + int.from_bytes(content[12:20], "little")
    changed = bytearray(content[:start] + new + content[start + len(old) :])
    changed[28:32] = _crc(bytes(changed[header_at : header_at + header_size]))
    changed[8:12] = _crc(bytes(changed[12:32]))
    path.write_bytes(bytes(changed))
    return path


def _crc(data: bytes) -> bytes:
    import zlib

    return zlib.crc32(data).to_bytes(4, "little")
