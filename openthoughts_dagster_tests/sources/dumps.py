"""Small StackExchange dumps, as the public ones are laid out."""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

QUESTION = {
    "Id": "1",
    "PostTypeId": "1",
    "AcceptedAnswerId": "3",
    "Score": "12",
    "ViewCount": "99",
    "AnswerCount": "2",
    "CreationDate": "2014-05-01T10:00:00.000",
    "Title": "Why is $E = mc^2$?",
    "Tags": "<energy><special-relativity>",
    "Body": "<p>I see <code>E = m*c**2</code> and</p>\n<p>$$E_1 &lt; m_0 c^2 \\\\ x$$</p>\n"
    "<pre><code>def e(m):\n    return m * C ** 2\n</code></pre>",
    "ContentLicense": "CC BY-SA 3.0",
}
ANSWERS = [
    {"Id": "2", "PostTypeId": "2", "ParentId": "1", "Score": "1", "Body": "<p>Because.</p>"},
    {"Id": "3", "PostTypeId": "2", "ParentId": "1", "Score": "40", "Body": "<p>From the <em>four</em>-momentum.</p>"},
]


def posts_xml(*posts: dict[str, str], before: str = "", after: str = "</posts>") -> bytes:
    """Posts.xml with these rows."""
    rows = "".join(f"  <row {' '.join(f'{k}={quoteattr(v)}' for k, v in post.items())} />\n" for post in posts)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{before}<posts>\n{rows}{after}'.encode()


def write_dump(path: Path, content: bytes, name: str = "Posts.xml", **more: Any) -> Path:
    """A 7z archive with one file of that name beside another."""
    import py7zr

    path.parent.mkdir(parents=True, exist_ok=True)
    with py7zr.SevenZipFile(path, "w", **more) as archive:
        archive.writestr(content, name)
        archive.writestr(b"<users></users>", "Users.xml")
    return path
