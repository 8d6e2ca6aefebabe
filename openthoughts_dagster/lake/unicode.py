"""Lone surrogates: halves of a surrogate pair, which UTF-8 cannot encode and tables and servers therefore refuse.

JSON can escape one half of a pair (`"\\ud83d"`). A model or a server writes such a half when it cuts an emoji in two.
"""


def has_lone_surrogate(text: str) -> bool:
    """Return whether `text` contains half of a surrogate pair, so that it cannot be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def replace_lone_surrogates(text: str) -> str:
    """Replace every lone surrogate in `text` by U+FFFD, and every adjacent pair by the character that it encodes."""
    if not has_lone_surrogate(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
