"""The link from an asset's page to its code."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

import openthoughts_dagster

_REPOSITORY = Path(openthoughts_dagster.__file__).parents[1]


def code_references(make: Callable[..., dg.AssetsDefinition], repository: str = "") -> dict[str, Any]:
    """Metadata that links to the code of an asset.

    `dg.with_source_code_references` would link to the wrapper that `resumable` puts around each body, and every asset
    of answers to the graph that they share.

    Args:
        make: The function that makes the asset.
        repository: The address of the repository's root in a browser, such as
            https://github.com/ORG/openthoughts-dagster/blob/main; empty for a link that opens the file in an editor.
    """
    # Code references are in beta in Dagster 1.13; a change there shows in the tests.
    warnings.filterwarnings("ignore", message=".*CodeReference", category=dg.BetaWarning)
    path, line = Path(make.__code__.co_filename), make.__code__.co_firstlineno
    inside = path.relative_to(_REPOSITORY).as_posix() if path.is_relative_to(_REPOSITORY) else path.name
    reference: dg.UrlCodeReference | dg.LocalFileCodeReference = (
        dg.UrlCodeReference(url=f"{repository.rstrip('/')}/{inside}#L{line}", label=path.name)
        if repository
        else dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=path.name)
    )
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
