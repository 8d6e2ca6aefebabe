"""The resources of assets: the lake, the readers, and the models with their engines."""

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from multiprocessing.util import Finalize
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from openthoughts_dagster.answers import FilterTools
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.evaluation.reference_tests import run_reference_tests
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import ModelReference, Recipe, Sampling, Student
from openthoughts_dagster.sources import ReaderContext
from openthoughts_dagster.storage import Folders, join_address, local_path
from openthoughts_dagster.training.students import Students


@cache
def engine_pool() -> EnginePool:
    """Return the engines of this process. There is one pool, so that an engine of one asset serves the next."""
    pool = EnginePool(grace=Settings.from_environment().drain_seconds)
    # Not atexit: Dagster's run workers are children of multiprocessing. They skip atexit, and wait for ever for their
    # own children, the processes of the engine. A finalizer runs before that, and in other processes at exit.
    Finalize(None, pool.close, exitpriority=100)
    return pool


class LakeResource(dg.ConfigurableResource):
    """The lake, which has all tables."""

    root: str
    _opened: Lake | None = PrivateAttr(default=None)

    def open(self) -> Lake:
        """Open the lake at `root`. Every call returns the same object, which remembers what the step has read."""
        if self._opened is None:
            self._opened = Lake(self.root)
        return self._opened


class ReadersResource(dg.ConfigurableResource):
    """The folders of readers: one for rows on their way to the lake, and one with copies of the hub's datasets."""

    staging: str
    copies: str = ""

    def context(self, ask: Callable[[str], AskModel], log: Callable[[str], None]) -> ReaderContext:
        """Make the context of reading one source. `ask` opens a judge by name."""
        return ReaderContext(Path(self.staging), Path(self.copies) if self.copies else None, ask, log)


class ModelsResource(dg.ConfigurableResource):
    """The recipe's models: where their weights are, and the engines that run them.

    `files` is the folder or object store address of all files that outlive a step, and `data` is a folder of this
    machine. The UI shows these fields, so they never hold keys: the store's libraries take keys from the environment.
    """

    recipe_folder: str
    data: str
    files: str = ""

    @property
    def folders(self) -> Folders:
        """The folders in the store, with their copies on this machine."""
        return Folders(Path(self.data) / "cache")

    def address(self, *below: str) -> str:
        """Return the address of something in the store, such as `address("evaluations", source, teacher)`."""
        return join_address(self.files or self.data, *below)

    def workplace(self, *below: str) -> Path:
        """Return the local folder in which something is made: its address when this is a folder, else one in `data`."""
        return local_path(self.address(*below)) or Path(self.data).joinpath(*below)

    @property
    def students(self) -> Students:
        """The students of all assets."""
        return Students(self.address("students"), self.workplace("students"), self.folders.cache)

    @property
    def pool(self) -> EnginePool:
        """The engines of this process."""
        return engine_pool()

    def locate(self, reference: ModelReference, weights: bool = True) -> Model:
        """Find the weights of a model.

        Args:
            reference: The model.
            weights: Whether the weights are fetched. Without them only what keys and prompts need is fetched.

        Raises:
            EngineError: The model cannot be found.
        """
        return locate(reference, Path(self.recipe_folder), self.folders, weights)

    def ledger_client(
        self,
        lake: Lake,
        reference: ModelReference,
        sampling: Sampling,
        spent: Usage,
        purpose: Purpose,
        log: Callable[[str], None],
        most: int | None = None,
        retry_refused_before: datetime | None = None,
    ) -> AskModel:
        """Return a function that asks a model through the ledger.

        Args:
            lake: The tables, which have the ledger.
            reference: The model.
            sampling: How replies are sampled.
            spent: Gets the costs added.
            purpose: The asset and the source that the costs are recorded for.
            log: Gets lines of progress.
            most: The most completions that one call may generate; None for no limit.
            retry_refused_before: Permanent failures from before this moment are asked again; by default none are.

        Raises:
            EngineError: The model cannot be found.
        """
        model = self.locate(reference)
        return ledger_client(lake, self.pool, model, sampling, spent, purpose, log, most, retry_refused_before)

    def judges(
        self,
        lake: Lake,
        recipe: Recipe,
        spent: Usage,
        purpose: Purpose,
        log: Callable[[str], None],
        most: int | None = None,
        retry_refused_before: datetime | None = None,
    ) -> Callable[[str], AskModel]:
        """Return a function that opens a judge of the recipe by its name, as `ledger_client` opens a model."""

        def judge(name: str) -> AskModel:
            reference = recipe.judge(name)
            sampling = reference.sampling
            return self.ledger_client(lake, reference, sampling, spent, purpose, log, most, retry_refused_before)

        return judge

    def filter_tools(
        self,
        lake: Lake,
        recipe: Recipe,
        purpose: Purpose,
        log: Callable[[str], None],
        student: Student | None = None,
        retry_refused_before: datetime | None = None,
    ) -> FilterTools:
        """Return what answer filters ask: the recipe's judges, the student before training, and tests of programs."""
        return FilterTools(
            judge=self.judges(lake, recipe, Usage(), purpose, log, retry_refused_before=retry_refused_before),
            resolve=recipe.path,
            student=lambda: self.locate(student or recipe.student),
            run_tests=partial(run_reference_tests, confinement=recipe.evaluation.confinement),
        )
