"""Reads YAML files that people write; a repeated key is an error."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _OneKeyEach(yaml.SafeLoader):
    """A YAML loader that refuses repeated keys; the usual one silently keeps the last, and a teacher could get lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE or not isinstance(key_node, yaml.ScalarNode):
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice; remove one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, error: type[ValueError]) -> Any:
    """Return the value in a YAML file. Raises `error`, which names the file, when it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _OneKeyEach)
    except OSError as problem:
        raise error(f"{shorten_path(path)}: cannot be read: {problem.strerror}; check its permissions") from problem
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        raise error(f"{shorten_path(path)}: not YAML that can be read: {problem}") from problem


def shorten_path(path: Path) -> Path:
    """Return the path relative to the working directory when the file is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
