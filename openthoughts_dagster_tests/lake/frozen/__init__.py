"""Lakes that earlier versions wrote, kept as they were; each folder's README.md says how it was made."""

import json
import tarfile
from pathlib import Path
from typing import Any

NOVEMBER_2026 = Path(__file__).parent / "2026_11"
RECIPE = NOVEMBER_2026 / "recipe" / "recipe.yaml"


def unpack_frozen_lake(folder: Path, frozen: Path = NOVEMBER_2026) -> dict[str, Any]:
    """Unpack a frozen deployment and return what it has in it.

    Args:
        folder: Gets `lake/`, `models/`, `students/` and `landing/`: what OPENTHOUGHTS_DATA was.
        frozen: Which frozen lake.

    Returns:
        `contents.json`: `rows` of every table, `completions` with their keys, `models` and `students`.
    """
    with tarfile.open(frozen / "lake.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    contents: dict[str, Any] = json.loads((frozen / "contents.json").read_text())
    return contents
