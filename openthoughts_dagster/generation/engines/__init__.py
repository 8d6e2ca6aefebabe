"""The engines, which run a model in several ways behind one protocol; `recipe/engines.py` lists them."""

from collections.abc import Awaitable, Callable
from importlib import import_module

from openthoughts_dagster.generation.engine import Engine, EngineError
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.recipe.engines import engine_entry


def start_engine(model: Model) -> tuple[str, Callable[[], Awaitable[Engine]]]:
    """Return the name of the model's engine and the function that starts it.

    Raises:
        EngineError: The engine's package is not installed.
    """
    entry = engine_entry(model.reference.engine)
    if not entry.is_installed():
        raise EngineError(
            f"{model.reference.name}: engine {entry.name!r} needs the package {entry.package}, which is not installed: "
            f"{entry.how_to_install()}, or choose another engine in the recipe"
        )
    module, _, function = entry.start.partition(":")
    start = getattr(import_module(module), function)
    return entry.name, lambda: start(model)
