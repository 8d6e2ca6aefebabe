"""Cleaning texts without changing their meaning: one kind of line end, trimmed ends, and composed letters."""

import re
import unicodedata

# Fenced code blocks and code spans, which are not changed.
_CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)[`~]*[^\S\n]*$|\Z)|(?P<tick>`+)[^`\n]+(?P=tick)", re.M | re.S
)
_LINE_END = re.compile(r"\r\n?")
_BLANK_START = re.compile(r"\A(?:[^\S\n]*\n)+")


def has_visible_text(text: str) -> bool:
    """Whether a text has a character that can be seen: neither white space nor one without a shape of its own."""
    return any(letter.isprintable() and letter != " " for letter in text)


def clean_text(text: str) -> str:
    """Clean a text: lines end with \\n, leading blank lines and trailing white space are removed, letters are in NFC.

    Code is not brought to NFC. Indentation, also of the first line, and white space inside the text are kept, since
    programs and tables need them.
    """
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    text = _BLANK_START.sub("", text).rstrip()
    if unicodedata.is_normalized("NFC", text):
        return text
    parts, end = list[str](), 0
    for code in _CODE.finditer(text):
        parts += [unicodedata.normalize("NFC", text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, unicodedata.normalize("NFC", text[end:])])
