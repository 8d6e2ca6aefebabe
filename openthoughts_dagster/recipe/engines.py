"""The table of engines: what each needs, how it starts, and which settings of a model are its own.

The recipe's rules, `start_engine`, `openthoughts doctor` and the planning of pods read it. To add an engine, write its
module and add an entry here.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from openthoughts_dagster.recipe.suggestions import did_you_mean


@dataclass(frozen=True)
class EngineEntry:
    """One way to run a model.

    `package` is the library that has to be installed where the engine runs, `extra` the extra of this project that
    brings it. `start` is `module:function`, an asynchronous function from a `Model` to an `Engine`. `is_server` says
    that the weights are behind an address and not in our processes. `settings` are the fields of a model in the recipe
    that only this engine reads.
    """

    name: str
    package: str
    extra: str
    start: str
    is_server: bool = False
    settings: frozenset[str] = frozenset()

    def is_installed(self) -> bool:
        """Whether the engine's package is installed here."""
        return find_spec(self.package) is not None

    def how_to_install(self) -> str:
        """The command that installs it."""
        return f"pip install 'openthoughts-dagster[{self.extra}]'"


_MODULES = "openthoughts_dagster.generation.engines"

ENGINES = {
    entry.name: entry
    for entry in (
        EngineEntry("vllm", "vllm", "vllm", f"{_MODULES}.vllm_engine:start_vllm", settings=frozenset({"vllm"})),
        EngineEntry("transformers", "torch", "models", f"{_MODULES}.transformers_engine:start_transformers"),
        EngineEntry(
            "openai",
            "aiohttp",
            "servers",
            f"{_MODULES}.openai_engine:start_openai",
            is_server=True,
            settings=frozenset({"base_url", "api_key_env", "tokenizer", "parameters", "stream"}),
        ),
    )
}
AUTO = "auto"
_AUTO_ORDER = ("vllm", "transformers")


def engine_entry(wanted: str) -> EngineEntry:
    """The engine that a recipe's `engine` means here: auto is vllm where it is installed, transformers otherwise."""
    if wanted != AUTO:
        return ENGINES[wanted]
    return next((ENGINES[name] for name in _AUTO_ORDER if ENGINES[name].is_installed()), ENGINES[_AUTO_ORDER[-1]])


def is_served(engine: str) -> bool:
    """Whether a model of this engine is behind a server, so that its weights are in none of our processes."""
    return engine != AUTO and ENGINES[engine].is_server


def known_engine(name: str) -> str:
    """`name` when it is an engine or auto. Raises ValueError with what was probably meant."""
    names = [AUTO, *ENGINES]
    if name not in names:
        hint = did_you_mean(name, names)
        raise ValueError(f"must be one of {', '.join(names)}, got {name!r}" + (f"; {hint}" if hint else ""))
    return name


def foreign_setting(engine: str, setting: str) -> str | None:
    """The engine that a setting belongs to where it is not for `engine`; None where the setting is in place."""
    owners = [entry.name for entry in ENGINES.values() if setting in entry.settings]
    allowed = _AUTO_ORDER if engine == AUTO else (engine,)
    return None if not owners or set(owners) & set(allowed) else " or ".join(owners)
