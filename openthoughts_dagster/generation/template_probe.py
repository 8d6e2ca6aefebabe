"""Tries a chat template in a process of its own, with limits, before it is used in ours.

A chat template is a program of whoever made the model's folder. transformers runs it in Jinja's sandbox, which keeps it
from files and attributes but limits neither its time nor its memory.
"""

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.template_child import MEGABYTES, MOST_LETTERS, TOO_LARGE, TOO_LONG

SECONDS = 10
_CHILD = Path(__file__).with_name("template_child.py")


@lru_cache(maxsize=64)
def check_chat_template(template: str, where: str) -> None:
    """Render a few conversations by a chat template, within limits of time, memory and length.

    A template that refuses a conversation, such as one with a system prompt, is no problem here: rendering says so.

    Args:
        template: The source of the template.
        where: The file that has it, for the error.

    Raises:
        EngineError: It takes more than 10 s, 1 GiB or a million letters; it names the file.
    """
    command = [sys.executable, "-I", str(_CHILD), str(SECONDS)]
    try:
        done = subprocess.run(
            command, input=template.encode("utf-8", "replace"), capture_output=True, timeout=3 * SECONDS, check=False
        )
        code, said = done.returncode, done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    except subprocess.TimeoutExpired:
        code, said = -9, []
    if code == 0:
        return
    problem = {
        TOO_LONG: f"renders a short conversation as more than {MOST_LETTERS:,} letters",
        TOO_LARGE: f"takes more than {MEGABYTES:,} MiB of memory",
    }.get(code, f"does not end within {SECONDS} s" if code < 0 else f"cannot be tried: {' '.join(said)}")
    raise EngineError(
        f"{where}: the chat template {problem}. Correct the file, or use a model from a source that you trust"
    )
