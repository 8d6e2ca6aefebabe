"""Reads a page as a browser does: what is markup, what is text, and what would be loaded."""

from html.parser import HTMLParser


class PageParser(HTMLParser):
    """The tags, texts, attributes and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text, self.scripts = "", list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)
        else:
            self.text += data

    @property
    def loads(self) -> list[str]:
        """Addresses that a browser would load without being asked."""
        return [value for name, value in self.attributes if name in ("src", "srcset", "data", "action", "xlink:href")
                and not value.startswith("#")]  # fmt: skip

    @property
    def handlers(self) -> list[str]:
        """Attributes that run code."""
        return [name for name, _ in self.attributes if name.startswith("on")]
