"""Local copies of datasets of the hub: a folder for each, with the card that names its subsets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

Rows = Sequence[Mapping[str, Any]]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_dataset(
    copies: Path, dataset: str, rows: Rows, subset: str | None = None, split: str = "train", commit: str | None = None
) -> Path:
    """Add a subset to a copy, or make one; `commit` is noted as `hf download --local-dir` does."""
    folder = copies / dataset
    path = folder / (subset or "data") / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    if commit is not None:
        noted = folder / ".cache/huggingface/download" / path.relative_to(folder)
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.with_name(f"{noted.name}.metadata").write_text(f"{commit}\netag\n1700000000.0\n")
    files = sorted(file.relative_to(folder) for file in folder.rglob("*.parquet"))
    configs = {file.parts[0] for file in files}
    card = "".join(
        f"- config_name: {config if config != 'data' else 'default'}\n  data_files:\n"
        + "".join(
            f'  - split: {file.name.partition("-")[0]}\n    path: "{file.as_posix()}"\n'
            for file in files
            if file.parts[0] == config
        )
        for config in sorted(configs)
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{card}---\n# A copy\n")
    return folder


def write_converted(copies: Path, dataset: str, rows: Rows, subset: str) -> Path:
    """A copy of the hub's branch refs/convert/parquet: a folder for each subset, and no card."""
    path = copies / dataset / subset / "train" / "0000.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return copies / dataset
