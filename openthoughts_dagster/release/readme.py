"""The YAML head of README.md, by which the hub and `datasets` know the configs, the licence and the sizes."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from openthoughts_dagster.recipe import HuggingFaceSource, Recipe, Source
from openthoughts_dagster.recipe.lock import parts_of
from openthoughts_dagster.recipe.lock_references import is_on_hub
from openthoughts_dagster.recipe.recipe import UnknownNameError
from openthoughts_dagster.release.columns import CONFIGS
from openthoughts_dagster.release.files import ConfigFiles
from openthoughts_dagster.release.record import RECORD

README = "README.md"

_OF_THE_HUB = {
    "Apache-2.0", "MIT", "OpenRAIL", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "C-UDA", "CC0-1.0",
    "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0",
    "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0",
    "CC-BY-NC-SA-4.0", "CDLA-Sharing-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "WTFPL", "ECL-2.0",
    "EPL-1.0", "EPL-2.0", "EUPL-1.1", "AGPL-3.0", "GFDL", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "ISC",
    "MPL-2.0", "MS-PL", "OFL-1.1", "OSL-3.0", "PostgreSQL", "NCSA", "Unlicense", "Zlib", "PDDL", "ODC-By", "ODbL",
}  # fmt: skip
_NAMES = {"ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl", "PDDL-1.0": "pddl", "GPL-3.0-only": "gpl-3.0"}
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
)


def write_description(folder: Path, recipe: Recipe, sources: list[str], record: Mapping[str, Any], card: str) -> None:
    """Write the files that describe a version: README.md with its YAML head, and its record.

    Args:
        folder: Where they go.
        recipe: The recipe with its release.
        sources: The sources of the version's rows.
        record: The record of the version, with the sizes of its configs.
        card: The text of the card.
    """
    sizes = {name: ConfigFiles(**size) for name, size in record["configs"].items()}
    head = readme_head(recipe, record, sources, sizes)
    (folder / README).write_text(f"{head}\n{card}", encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def readme_head(recipe: Recipe, record: Mapping[str, Any], sources: list[str], sizes: Mapping[str, ConfigFiles]) -> str:
    """Return the YAML head of README.md with its two lines of dashes.

    Args:
        recipe: The recipe, which says where sources are from.
        record: The record of the version, with its title and licence.
        sources: The sources of the release.
        sizes: What was written, by config.
    """
    rows, known = sizes["default"].rows, _known_sources(recipe, sources)
    head: dict[str, Any] = {
        **_licence(record["licence"]),
        "pretty_name": record["title"],
        "task_categories": ["text-generation"],
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "100M<n<1B")],
        "source_datasets": _datasets(recipe, known) or ["original"],
        "tags": ["reasoning", "synthetic", "openthoughts", *sorted({source.domain for source in known})],
        "configs": [_config(name) for name in sizes],
        "dataset_info": [_info(name, size) for name, size in sizes.items()],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120)}---\n"


def _licence(expression: str) -> dict[str, str]:
    names = {name.lower() for name in _OF_THE_HUB}
    own = _NAMES.get(expression, expression.lower())
    if own in names:
        return {"license": own}
    single = expression.replace("-", "").replace(".", "").replace("+", "").isalnum()
    known = single and not expression.startswith("LicenseRef")
    link = f"https://spdx.org/licenses/{expression}.html" if known else "https://spdx.org/licenses/"
    # The hub wants an id there, such as my-license-1.0; the text of the card has the expression.
    name = re.sub(r"[^a-z0-9.-]+", "-", expression.lower()).strip("-")
    return {"license": "other", "license_name": name, "license_link": link}


def head_of(card: str) -> str:
    """Return the YAML head of a card with its lines of dashes; empty where it has none."""
    if not card.startswith("---\n"):
        return ""
    head, dashes, _ = card.removeprefix("---\n").partition("\n---\n")
    return f"---\n{head}\n---\n" if dashes else ""


def _known_sources(recipe: Recipe, names: Iterable[str]) -> list[Source]:
    """Return the sources that the recipe still has."""
    found = []
    for name in names:
        with suppress(UnknownNameError):
            found.append(recipe.source(name))
    return found


def _datasets(recipe: Recipe, sources: Iterable[Source]) -> list[str]:
    """List the data sets of the hub that the sources read."""
    named = (source for source in sources if isinstance(source, HuggingFaceSource))
    ids = dict.fromkeys(part.dataset for source in named for part in parts_of(source))
    return [name for name in ids if is_on_hub(recipe, name)]


def _config(name: str) -> dict[str, Any]:
    files = [{"split": "train", "path": f"{CONFIGS[name].folder}/train-*.parquet"}]
    return {"config_name": name, **({"default": True} if name == "default" else {}), "data_files": files}


def _info(name: str, size: ConfigFiles) -> dict[str, Any]:
    return {
        "config_name": name,
        "features": CONFIGS[name].features,
        "splits": [{"name": "train", "num_bytes": size.bytes, "num_examples": size.rows}],
        "download_size": size.file_bytes,
        "dataset_size": size.bytes,
    }
