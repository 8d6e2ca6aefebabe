"""What assets work with: the lake, and the models with their engines."""

from collections.abc import Callable
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import ModelReference, Recipe, Sampling
from openthoughts_dagster.sources import ReaderContext
from openthoughts_dagster.storage import Folders, joined, local_path
from openthoughts_dagster.training.students import Students


@cache
def engine_pool() -> EnginePool:
    """This process's engines: one pool, so that an engine survives from one asset to the next."""
    pool = EnginePool(grace=Settings.from_environment().drain_seconds)
    # Not atexit: Dagster's run workers are multiprocessing children, which skip it and wait for their own children, the
    # engine's processes, for ever. A finalizer runs before that, and in other processes at exit.
    Finalize(None, pool.close, exitpriority=100)
    return pool


class LakeResource(dg.ConfigurableResource):
    """The tables."""

    root: str
    _opened: Lake | None = PrivateAttr(default=None)

    def open(self) -> Lake:
        """The lake at `root`, the same object each time: it knows what a step read."""
        if self._opened is None:
            self._opened = Lake(self.root)
        return self._opened


class ReadersResource(dg.ConfigurableResource):
    """What the readers of sources work with: a folder for rows on their way, and one of copies of hub datasets."""

    staging: str
    copies: str = ""

    def context(self, ask: Callable[[str], AskModel], log: Callable[[str], None]) -> ReaderContext:
        """What one reading works with; `ask` opens a judge by name."""
        return ReaderContext(Path(self.staging), Path(self.copies) if self.copies else None, ask, log)


class ModelsResource(dg.ConfigurableResource):
    """The recipe's models: where their weights are, and engines that ask them.

    What they leave belongs to `files`, a folder or an object store address; `data` is a folder of this machine. The UI
    shows these fields: keys of a store are never among them, its libraries take them from the environment.
    """

    recipe_folder: str
    data: str
    files: str = ""

    @property
    def folders(self) -> Folders:
        """Folders in the store, with their copies on this machine."""
        return Folders(Path(self.data) / "cache")

    def address(self, *below: str) -> str:
        """Where something belongs, such as `address("evaluations", source, teacher)`."""
        return joined(self.files or self.data, *below)

    def workplace(self, *below: str) -> Path:
        """Where this machine makes it: at its address when that is a folder, else in a folder of its own."""
        return local_path(self.address(*below)) or Path(self.data).joinpath(*below)

    @property
    def students(self) -> Students:
        """Where students are, whoever asks for them."""
        return Students(self.address("students"), self.workplace("students"), self.folders.cache)

    @property
    def pool(self) -> EnginePool:
        """The engines of this process."""
        return engine_pool()

    def locate(self, reference: ModelReference, weights: bool = True) -> Model:
        """Find the weights of a model; without `weights` only what keys and prompts need. Raises EngineError."""
        return locate(reference, Path(self.recipe_folder), self.folders, weights)

    def ledger_client(
        self,
        lake: Lake,
        reference: ModelReference,
        sampling: Sampling,
        spent: Usage,
        purpose: Purpose,
        log: Callable[[str], None],
    ) -> AskModel:
        """A function that asks the model, through the ledger; costs are added to `spent`."""
        return ledger_client(lake, self.pool, self.locate(reference), sampling, spent, purpose, log)

    def judges(
        self, lake: Lake, recipe: Recipe, spent: Usage, purpose: Purpose, log: Callable[[str], None]
    ) -> Callable[[str], AskModel]:
        """A function that opens a judge of the recipe by its name, through the ledger."""

        def judge(name: str) -> AskModel:
            reference = recipe.judge(name)
            return self.ledger_client(lake, reference, reference.sampling, spent, purpose, log)

        return judge
