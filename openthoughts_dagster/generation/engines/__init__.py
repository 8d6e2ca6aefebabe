"""The engines: one protocol, several ways to run a model."""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec

from openthoughts_dagster.generation.engine import Engine, EngineError
from openthoughts_dagster.generation.model import Model


def engine_name(wanted: str) -> str:
    """The engine that `wanted` means here: auto is vllm where it is installed, transformers otherwise."""
    if wanted != "auto":
        return wanted
    return "vllm" if find_spec("vllm") else "transformers"


def start_engine(model: Model) -> tuple[str, Callable[[], Awaitable[Engine]]]:
    """Name of the model's engine, and the function that starts it.

    Raises EngineError when the engine's package is not installed.
    """
    name = engine_name(model.reference.engine)
    package = {"vllm": "vllm", "transformers": "transformers", "openai": "aiohttp"}[name]
    if find_spec(package) is None:
        extra = "vllm" if name == "vllm" else "models"
        raise EngineError(
            f"{model.reference.name}: engine {name!r} needs the package {package}, which is not installed: "
            f"pip install 'openthoughts-dagster[{extra}]', or choose another engine in the recipe"
        )
    if name == "vllm":
        from openthoughts_dagster.generation.engines.vllm_engine import start_vllm

        return name, lambda: start_vllm(model)
    if name == "openai":
        from openthoughts_dagster.generation.engines.openai_engine import start_openai

        return name, lambda: start_openai(model)
    from openthoughts_dagster.generation.engines.transformers_engine import start_transformers

    return name, lambda: start_transformers(model)
