"""The process in which mathematical answers are compared: each pair in a child of its own, which may be killed.

math-verify parses what a model wrote with sympy, which may take for ever and evaluates parts of it. So it happens in
a process that reads only libraries, opens no connection, and ends after a second of processor time.
"""

import contextlib
import json
import os
import re
import signal
import sys
import sysconfig
from typing import Any

from openthoughts_dagster.evaluation.confined import kernel
from openthoughts_dagster.evaluation.reading.final import last_box, remove_decoration

SECONDS = 0.9  # of processor time for one pair
_MEMORY = 2 * 2**30
_ORDINAL = re.compile(r"(?<=\d)\s*\^?\s*\{?\s*(?:\\(?:text|mathrm|textrm|rm)\s*\{?\s*)?(?:st|nd|rd|th)\b\s*\}*")
_PERCENT = re.compile(r"\s*\\?%")
# Compared before any child is forked: the parser's tables, which are made on first use, are then in all of them.
_WARM = (
    ("\\frac{1}{2}", "0.5"), ("[1,2)", "[1, 2)"), ("1 \\pm \\sqrt{2}", "1+\\sqrt{2}, 1-\\sqrt{2}"), ("x=2", "2"),
    ("(1,2)", "(2,1)"), ("90", "90^\\circ"), ("x \\in [-2,7]", "[-2, 7]"), ("\\frac{x^2+1}{2}", "\\frac{1}{2}x^2+0.5"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 3 \\end{pmatrix}"), ("2\\pi", "6.28"),
)  # fmt: skip


def main() -> None:
    """Read pairs from standard input, a JSON list [gold, text] a line; write [right, extracted] for each."""
    import math_verify  # noqa: F401 (what every child needs)

    for gold, answer in _WARM:
        compare(gold, f"\\boxed{{{answer}}}")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    filter_program = _confine()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(_in_child(json.loads(line), filter_program, nowhere)) + "\n")
        sys.stdout.flush()


def compare(gold: str, text: str) -> tuple[bool, str | None]:
    """Whether a text's answer is `gold`, and the answer as it was read; None when there is none."""
    from math_verify import parse, verify

    box = last_box(text)
    gold, said = _cleaned(gold), _cleaned(text if box is None else box)
    if box is not None and _word(gold) and _word(gold) == _word(said):
        return True, remove_decoration(said)
    answer = parse(said if box is None else f"${said}$")
    extracted = remove_decoration(box) if box is not None else str(answer[-1]) if answer else None
    if not extracted:
        return False, None
    if verify(parse(f"${gold}$"), answer):
        return True, extracted
    # A percent sign in only one of the two: math-verify takes 50% for 0.5.
    if bool(_PERCENT.search(gold)) != bool(_PERCENT.search(said)):
        plain = _PERCENT.sub("", said)
        answer = parse(plain if box is None else f"${plain}$")
        return bool(verify(parse(f"${_PERCENT.sub('', gold)}$"), answer)), extracted
    return False, extracted


def _cleaned(text: str) -> str:
    return _ORDINAL.sub("", text)


def _word(text: str) -> str | None:
    """A text of words only, in one letter case; None for anything with a number or a sign."""
    plain = remove_decoration(text)
    return plain.casefold() if re.fullmatch(r"[A-Za-z][A-Za-z \-]+", plain) else None


def _confine() -> Any:
    """Restrict this process as far as this machine allows; the answer's reader needs nothing but libraries."""
    with contextlib.suppress(OSError):
        kernel.never_gain_privileges()
        if kernel.landlock_version():
            paths = [*sys.path, sysconfig.get_paths()["stdlib"], "/lib", "/lib64", "/usr/lib", "/usr/lib64"]
            kernel.restrict_files([path for path in paths if path])
        return kernel.system_call_filter()
    return None


def _in_child(pair: list[str], filter_program: Any, nowhere: int) -> list[Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            for printed in (1, 2):  # the parser prints some of its errors, which would be read as verdicts
                os.dup2(nowhere, printed)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            kernel.limit_resources(5, _MEMORY, None)
            if filter_program is not None:
                kernel.restrict_system_calls(filter_program)
            right, extracted = compare(*pair)
            os.write(writing, json.dumps([right, extracted and extracted[:1000]]).encode())
        except BaseException as error:
            os.write(writing, json.dumps([False, _shown(pair[1]), type(error).__name__]).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return list(json.loads(text)) if text else [False, _shown(pair[1]), "time"]


def _shown(text: str) -> str | None:
    box = last_box(text)
    return remove_decoration(box)[:1000] if box is not None else None
