"""Makes code for `python -c` that runs a few modules of this package without the rest of the package."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path


def standalone_code(modules: Sequence[str]) -> str:
    """Return code that loads modules from their sources and calls `main()` of the last one.

    Args:
        modules: Full names, in the order in which they import each other; they import nothing else of this package.
    """
    return _START.replace("SOURCES", repr([(name, _source(name)) for name in modules]))


def _source(name: str) -> str:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} has no source in {sys.path}")
    return Path(spec.origin).read_text(encoding="utf-8")


_START = """
import sys, types
for name, source in SOURCES:
    module = sys.modules[name] = types.ModuleType(name)
    parent = sys.modules.setdefault(name.rpartition(".")[0], types.ModuleType("parent"))
    setattr(parent, name.rpartition(".")[2], module)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""
