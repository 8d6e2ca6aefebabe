"""Repairs the escapes of LaTeX in a model's JSON, whose backslashes the model may not have doubled."""

import re

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[A-Za-z]+|.)", re.DOTALL)
_DOUBLED_COMMAND = re.compile(r"(?<!\\)(?:\\\\)+[A-Za-z]{2,}")
# Escapes that JSON does not have, or that no text contains (backspace or form feed before a letter): typed LaTeX.
_SINGLE_COMMAND = re.compile(
    r"(?<!\\)(?:\\\\)*\\(?:[bf][A-Za-z]|(?!u[0-9a-fA-F]{4})[^\"\\/bfnrtu\s]|u(?![0-9a-fA-F]{4}))"
)

# LaTeX commands that begin like JSON's escape of a line break, a carriage return or a tab.
_COMMANDS = (
    "nabla natural ncong ne nearrow neg neq newcommand newline nexists ngeq ngtr ni nleq nless nmid nolimits "
    "nonumber norm normalsize not notin nparallel nprec nsim nsubseteq nsucc nsupseteq nu nwarrow "
    "raggedright raisebox rangle rbrace rbrack rceil ref renewcommand restriction rfloor rgroup rho rhd right "
    "rightarrow rightharpoonup rightleftarrows rightleftharpoons rm rmoustache root rtimes rule rvert "
    "tag tan tanh tau tbinom text textbf textcolor textit textnormal textrm textsc textsf textstyle texttt tfrac "
    "therefore theta thickapprox thicksim thinspace tilde times tiny to top triangle triangledown triangleleft "
    "triangleq triangleright twoheadrightarrow"
)
_AMBIGUOUS = frozenset(_COMMANDS.split())
_SHORT = frozenset({"ne", "ni", "nu"})  # a line break before a variable of one letter looks the same


def repair_escapes(text: str) -> str:
    """Return JSON text whose strings decode to what the model typed, whether it doubled LaTeX's backslashes or not.

    A model that writes LaTeX in JSON forgets to double backslashes: `\\frac` would become a form feed and "rac",
    `\\theta` a tab and "heta", and `\\alpha` is no JSON at all. Whether the model doubles is judged on the whole text:

    - A backslash that JSON gives no meaning to, and `\\b` and `\\f` before a letter, are typed backslashes.
    - `\\n`, `\\r` and `\\t` are a typed backslash when they begin a command of LaTeX, such as `\\nu` or `\\times`.
      Where that may be a line break as well (`\\nu`: a new line that begins with u), math around it, the model's
      habit elsewhere in the text, and a blank before it decide.
    - Two backslashes are one, except where the model doubles no command: then they are a line of a matrix.
    """
    single = _SINGLE_COMMAND.search(text) is not None
    doubled = _DOUBLED_COMMAND.search(text) is not None
    return _STRING.sub(lambda match: _repair_string(match[0], single, doubled), text)


def _repair_string(literal: str, single: bool, doubled: bool) -> str:
    def repair(match: re.Match[str]) -> str:
        escape, before = match[1], literal[: match.start()]
        if re.fullmatch("u[0-9a-fA-F]{4}", escape) or escape in '"/':
            return match[0]
        if escape == "\\":
            return r"\\\\" if single and not doubled else match[0]
        if escape[0] in "bf" and (len(escape) > 1):
            return "\\" + match[0]
        if escape[0] in "bfnrt":
            return "\\" + match[0] if _is_command(escape, before, single, doubled) else match[0]
        return "\\" + match[0]

    return _ESCAPE.sub(repair, literal)


def _is_command(escape: str, before: str, single: bool, doubled: bool) -> bool:
    """Return whether `\\` and `escape`, letters from n, r or t on, are a LaTeX command and not a control character."""
    if escape not in _AMBIGUOUS:
        return False
    if escape[0] != "n":  # hardly any text contains tabs; a table of words may
        return not (doubled and not single and escape in ("tan", "to", "top", "tag") and not _in_math(before))
    after_blank = before.endswith((" ", "$", "{", "(")) and not before.endswith("$$")
    if escape in _SHORT:
        return after_blank or (single and not doubled and _in_math(before))
    return after_blank or _in_math(before) or (single and not doubled)


def _in_math(before: str) -> bool:
    r"""Return whether the text after `before` is inside `$...$`, `\(...\)` or `\[...\]`."""
    if before.replace("$$", "$").count("$") % 2:
        return True
    return any(before.rfind(opening) > before.rfind(closing) for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")))
