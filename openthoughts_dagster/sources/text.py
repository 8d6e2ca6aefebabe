"""Texts made comparable without changing what they say: one kind of line end, trimmed ends, composed letters."""

import re
import unicodedata

# Fenced blocks and code spans: what a program would read is not touched.
_CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)[`~]*[^\S\n]*$|\Z)|(?P<tick>`+)[^`\n]+(?P=tick)", re.M | re.S
)
_LINE_END = re.compile(r"\r\n?")
_BLANK_START = re.compile(r"\A(?:[^\S\n]*\n)+")


def clean_text(text: str) -> str:
    """`text` with lines ended by \\n, no blank lines before it, no white space after it, and in NFC outside code.

    Indentation, the first line's too, and white space inside are kept: programs and tables need them.
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
