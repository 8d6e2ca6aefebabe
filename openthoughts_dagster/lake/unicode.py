"""Texts that UTF-8, and so a table, a tokenizer and a server, cannot hold: half of a surrogate pair.

JSON can escape one half of a pair (`"\\ud83d"`), and a model or a server that cuts an emoji in two does so.
"""


def has_lone_surrogate(text: str) -> bool:
    """Whether `text` holds half of a surrogate pair, so that it cannot be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def replace_lone_surrogates(text: str) -> str:
    """`text` with every half of a surrogate pair replaced by U+FFFD; halves that stand together become a character."""
    if not has_lone_surrogate(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
