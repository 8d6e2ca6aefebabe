"""The link from an asset's page to its code."""

import inspect
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

import openthoughts_dagster

_REPOSITORY = Path(openthoughts_dagster.__file__).parents[1]


def code_references(asset: dg.AssetsDefinition, repository: str = "") -> dict[str, Any]:
    """Metadata that links to the body of an asset.

    `dg.with_source_code_references` would link to the wrapper that `resumable` puts around each body.

    Args:
        asset: The asset, of one step or of several.
        repository: The address of the repository's root in a browser, such as
            https://github.com/ORG/openthoughts-dagster/blob/main; empty for a link that opens the file in an editor.
    """
    # Code references are in beta in Dagster 1.13; a change there shows in the tests.
    warnings.filterwarnings("ignore", message=".*CodeReference", category=dg.BetaWarning)
    node = asset.node_def
    body = node.composition_fn if isinstance(node, dg.GraphDefinition) else getattr(node, "compute_fn", None)
    body = inspect.unwrap(body.decorated_fn if isinstance(body, DecoratedOpFunction) else body)  # type: ignore[arg-type]
    path, line = Path(body.__code__.co_filename), body.__code__.co_firstlineno
    label = path.relative_to(_REPOSITORY).as_posix() if path.is_relative_to(_REPOSITORY) else path.name
    reference: dg.UrlCodeReference | dg.LocalFileCodeReference = (
        dg.UrlCodeReference(url=f"{repository.rstrip('/')}/{label}#L{line}", label=label)
        if repository
        else dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=label)
    )
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
