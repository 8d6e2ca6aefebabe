"""Converting the HTML of forum posts to Markdown. Code blocks and LaTeX stay as they were written."""

from functools import lru_cache
from typing import Any

LONGEST_HTML = 1_000_000  # characters; StackExchange allows posts of 30,000


class HtmlError(ValueError):
    """HTML is too long or nested too deeply to be converted. `reason` is the slug that rejections are counted by."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


def html_text(html: str) -> str:
    """Convert an HTML fragment to text. Raises HtmlError when it is too long or nested too deeply."""
    if len(html) > LONGEST_HTML:
        raise HtmlError("html_too_long", f"{len(html):,} characters of HTML; {LONGEST_HTML:,} are read")
    try:
        return str(_converter().convert(html)).strip("\n")
    except RecursionError as error:
        raise HtmlError("html_too_deep", "elements nested hundreds deep") from error


@lru_cache(maxsize=1)
def _converter() -> Any:
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):  # type: ignore[misc, unused-ignore]
        """A converter to Markdown that does not escape formulas, keeps exponents, and replaces images by their text."""

        def convert_sup(self, element: Any, text: str, parent_tags: Any) -> str:
            return script("^", text)

        def convert_sub(self, element: Any, text: str, parent_tags: Any) -> str:
            return script("_", text)

        def convert_br(self, element: Any, text: str, parent_tags: Any) -> str:
            return " " if "_inline" in parent_tags else "\n"

        def convert_img(self, element: Any, text: str, parent_tags: Any) -> str:
            says = str(element.attrs.get("alt") or "").strip()
            return f"[image: {says}]" if says else "[image]"

    return Converter(
        # html.parser takes quadratic time for some broken input, lxml does not.
        bs4_options={"features": "lxml"},  # type: ignore[arg-type] # as its documentation says
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        heading_style="atx",
        bullets="-",
    )


def script(sign: str, text: str) -> str:
    """Write an exponent (`^`) or an index (`_`) as in LaTeX."""
    inside = text.strip()
    return "" if not inside else f"{sign}{inside}" if len(inside) == 1 else f"{sign}{{{inside}}}"
