"""The text of a PDF page with its exponents and indexes: small raised or lowered characters are marked."""

from typing import Any

from openthoughts_dagster.sources.html_text import script

_SMALL, _RAISED = 0.85, 0.12  # as shares of the size of the text before it


def page_text(page: Any) -> str:
    """Extract the text of a page, with `10^6` for a raised small 6 and `x_{12}` for a lowered small 12.

    For a page without such characters the result is the text that pypdf returns.
    """
    pieces = _Pieces()
    text = str(page.extract_text(visitor_text=pieces.add, visitor_operand_before=pieces.note_rise))
    if not pieces.scripts or "".join(pieces.before) != text:
        return text
    return "".join(pieces.after)


class _Pieces:
    """The pieces of text that pypdf visits: unchanged, and with marks before small raised or lowered pieces."""

    def __init__(self) -> None:
        self.before, self.after = list[str](), list[str]()
        self.scripts = 0
        self._rise = self._text_rise = 0.0
        self._size = self._height = 0.0  # those of the latest text of full size

    def note_rise(self, operator: bytes, operands: list[Any], *_: Any) -> None:
        """Remember how far the text that is shown next is raised above its line."""
        if operator == b"Ts" and operands:
            self._rise = float(operands[0])
        elif operator in (b"Tj", b"TJ", b"'", b'"'):
            self._text_rise = self._rise

    def add(self, text: str, user: list[float], matrix: list[float], font: Any, font_size: float) -> None:
        """Add the next piece. Its position is that of its end."""
        self.before.append(text)
        inside = text.strip()
        size, height = abs(font_size * matrix[3] * user[3]), matrix[5] * user[3] + user[5] + self._text_rise
        small = inside and 0 < size < _SMALL * self._size
        raised = height - self._height
        if small and len(inside) <= 12 and _RAISED * self._size < abs(raised) < self._size and self._follows_text():
            sign = "^" if raised > 0 else "_"
            self.after.append(script(sign, inside) + (" " if text[-1] == " " else ""))
            self.scripts += 1
            return
        self.after.append(text)
        if inside and not small:
            self._size, self._height = size, height

    def _follows_text(self) -> bool:
        last = next((piece for piece in reversed(self.after) if piece), "")
        return bool(last) and not last[-1].isspace()
