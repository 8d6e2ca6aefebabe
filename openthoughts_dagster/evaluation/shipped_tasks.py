"""lighteval's built-in tasks by name, without importing the others.

lighteval's `Registry` imports every task module, and some of them download files or ask the hub while they are
imported. Names are read from the sources instead, and only the module of the task that was asked for is imported.
"""

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from openthoughts_dagster.evaluation.errors import BenchmarkError
from openthoughts_dagster.recipe.suggestions import did_you_mean


@dataclass
class Catalog:
    """Which module defines which task. `prefixes` are the beginnings of names that are built in a loop."""

    names: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)

    def modules(self, task: str) -> list[str]:
        """Modules that may define `task`, or the family `task`, as mmlu is of mmlu:anatomy."""
        found = {module for name, module in self.names.items() if name == task or name.startswith(f"{task}:")}
        found |= {
            module
            for prefix, module in self.prefixes.items()
            if task.startswith(prefix) or prefix.startswith(f"{task}:")
        }
        return sorted(found)


def shipped_configs(task: str) -> list[Any]:
    """The `LightevalTaskConfig`s, one's own to change, of a lighteval task string.

    A string is `task` or `task|few-shot examples`, with `@k=v` after the name for metrics that have parameters; a
    family such as mmlu gives one config for each of its tasks. Raises BenchmarkError for a string or a name that is
    none, with the names that are close.
    """
    name, separator, shots = task.partition("|")
    name = name.partition("@")[0]
    if not name or (separator and not shots.isdecimal()):
        raise BenchmarkError(
            f"task: must be lighteval's task|few-shot examples, such as 'aime24' or 'aime24|0', got {task!r}"
        )
    modules = catalog().modules(name)
    configs = {config.name: config for module in modules for config in _configs(module)}
    if not any(known == name or known.startswith(f"{name}:") for known in configs):
        raise BenchmarkError(f"task: lighteval has no task {name!r}{_hint(name, {*catalog().names, *configs})}")

    from lighteval.tasks.registry import Registry

    class TheseTasks(Registry):
        """lighteval's reading of task strings, over configs that are already there."""

        def __init__(self) -> None:
            self.tasks_list = [task]
            self._task_registry = configs
            self.task_to_configs = self._update_task_configs()

    try:
        return [config for group in TheseTasks().task_to_configs.values() for config in group]
    except (ValueError, SyntaxError) as error:
        raise BenchmarkError(f"task: {task!r} is not a task string of lighteval: {error}") from error


@cache
def catalog() -> Catalog:
    """All of lighteval's task names, from its sources: takes 0.2 s, imports and downloads nothing."""
    spec = importlib.util.find_spec("lighteval")
    if spec is None or not spec.submodule_search_locations:
        raise BenchmarkError("lighteval is not installed; install this package with its `models` extra")
    folder = Path(spec.submodule_search_locations[0]) / "tasks" / "tasks"
    found = Catalog()
    for path in sorted([*folder.glob("*.py"), *folder.glob("*/main.py")]):
        parts = path.relative_to(folder).with_suffix("").parts
        _read_names(ast.parse(path.read_text(encoding="utf-8")), ".".join(("lighteval.tasks.tasks", *parts)), found)
    return found


def _configs(module: str) -> list[Any]:
    try:
        return list(importlib.import_module(module).TASKS_TABLE)
    except Exception as error:  # whatever a task module does at import, say which one it was
        raise BenchmarkError(f"lighteval's {module} could not be imported: {type(error).__name__}: {error}") from error


def _read_names(tree: ast.Module, module: str, found: Catalog) -> None:
    nodes = list(ast.walk(tree))
    for call in nodes:
        if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "LightevalTaskConfig":
            continue
        for name in [keyword.value for keyword in call.keywords if keyword.arg == "name"]:
            if isinstance(name, ast.Constant):
                found.names[str(name.value)] = module
                continue
            values = [name] if not isinstance(name, ast.Name) else list(_assigned(nodes, name.id))
            texts = (text for value in values for text in ast.walk(value) if isinstance(text, ast.Constant))
            found.prefixes |= {str(text.value): module for text in texts if ":" in str(text.value)}


def _assigned(nodes: list[ast.AST], name: str) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
            yield node.value


def _hint(name: str, names: set[str]) -> str:
    families = {known.partition(":")[0] for known in names}
    hint = did_you_mean(name, names | families, most=5)
    return f"; {hint}" if hint else "; `lighteval tasks list` prints its tasks"
