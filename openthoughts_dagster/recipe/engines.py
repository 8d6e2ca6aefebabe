"""The table of engines: the package that each needs, how it starts, and the settings that only this engine reads.

The recipe's rules, `start_engine`, `openthoughts doctor` and the planning of pods read this table. To add an engine,
write its module and add an entry here.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from openthoughts_dagster.recipe.suggestions import did_you_mean


@dataclass(frozen=True)
class EngineEntry:
    """One way to run a model.

    Args:
        package: The library that has to be installed where the engine runs.
        extra: The extra of this project that installs the library.
        start: `module:function` of an asynchronous function that takes a `Model` and returns an `Engine`.
        is_server: Whether our processes hold no weights: they are behind an address, or the answers are published.
        settings: The fields of a model in the recipe that only this engine reads.
    """

    name: str
    package: str
    extra: str
    start: str
    is_server: bool = False
    settings: frozenset[str] = frozenset()

    def is_installed(self) -> bool:
        """Return whether the engine's package is installed in this environment."""
        return find_spec(self.package) is not None

    def how_to_install(self) -> str:
        """Return the command that installs the engine's package."""
        return f"pip install 'openthoughts-dagster[{self.extra}]'"


_MODULES = "openthoughts_dagster.generation.engines"
PUBLISHED = "published"

ENGINES = {
    entry.name: entry
    for entry in (
        EngineEntry("vllm", "vllm", "vllm", f"{_MODULES}.vllm_engine:start_vllm", settings=frozenset({"vllm"})),
        EngineEntry("transformers", "torch", "models", f"{_MODULES}.transformers_engine:start_transformers"),
        EngineEntry(
            "openai",
            "aiohttp",
            "servers",
            f"{_MODULES}.openai_start:start_openai",
            is_server=True,
            settings=frozenset({"base_url", "api_key_env", "tokenizer", "parameters", "stream", "mode", "batch"}),
        ),
        EngineEntry(
            PUBLISHED,
            "pyarrow",
            "models",
            f"{_MODULES}.published_engine:start_published",
            is_server=True,
            settings=frozenset({"published"}),
        ),
    )
}
AUTO = "auto"
_AUTO_ORDER = ("vllm", "transformers")


def engine_entry(wanted: str) -> EngineEntry:
    """Return the engine of a name; auto is vllm where it is installed and transformers otherwise."""
    if wanted != AUTO:
        return ENGINES[wanted]
    return next((ENGINES[name] for name in _AUTO_ORDER if ENGINES[name].is_installed()), ENGINES[_AUTO_ORDER[-1]])


def is_served(engine: str) -> bool:
    """Return whether our processes hold no weights of models of this engine."""
    return engine != AUTO and ENGINES[engine].is_server


def known_engine(name: str) -> str:
    """Return `name` if it is an engine or auto. Raises ValueError with the names that are close."""
    names = [AUTO, *ENGINES]
    if name not in names:
        hint = did_you_mean(name, names)
        raise ValueError(f"must be one of {', '.join(names)}, got {name!r}" + (f"; {hint}" if hint else ""))
    return name


def foreign_setting(engine: str, setting: str) -> str | None:
    """Return the engine that a setting belongs to if that is not `engine`; None if the setting may be used."""
    owners = [entry.name for entry in ENGINES.values() if setting in entry.settings]
    allowed = _AUTO_ORDER if engine == AUTO else (engine,)
    return None if not owners or set(owners) & set(allowed) else " or ".join(owners)
