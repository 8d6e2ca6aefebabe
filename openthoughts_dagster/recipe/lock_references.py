"""Finds what of a recipe a lock file pins, and puts the commits of a lock file there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from openthoughts_dagster.recipe.benchmarks import Benchmark, LightevalBenchmark, PaperBenchmark
from openthoughts_dagster.recipe.engines import PUBLISHED, is_served
from openthoughts_dagster.recipe.lock import CONVERTED, HubReference, Lock, is_commit, parts_of, split_commit
from openthoughts_dagster.recipe.models import ModelReference
from openthoughts_dagster.recipe.questions import EmbeddingScore, ResponseLengthScore
from openthoughts_dagster.recipe.recipe import Recipe
from openthoughts_dagster.recipe.sources import HuggingFaceSource, resolve_path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def hub_references(recipe: Recipe) -> list[HubReference]:
    """List the data sets and models of the hub that runs of a recipe read and that it names without a commit.

    Servers' models are not among them, and neither are folders, sources that are only described in the catalogue,
    sources that landed, and the data sets of lighteval's tasks, which only lighteval knows.
    """
    found = {reference for reference in _references(recipe) if reference is not None}
    return sorted(found, key=lambda reference: (reference.kind, reference.key))


def apply_lock(recipe: Recipe, lock: Lock) -> Recipe:
    """Return the recipe with the commits of its lock file in the places of models, benchmarks and compared sets.

    Data sets of sources keep their `revision`, so that a new lock file changes no setting of a source; readers ask the
    recipe for the commit (`Recipe.locked_commit`).
    """

    def pinned(reference: HubReference | None) -> str | None:
        return None if reference is None else lock.commit(reference)

    def model(reference: Any) -> Any:
        commit, tokenizer = pinned(_model_of(recipe, reference)), pinned(_tokenizer_of(recipe, reference))
        changes = {"revision": commit} if commit else {}
        return reference.model_copy(
            update=changes | ({"tokenizer": f"{reference.tokenizer}@{tokenizer}"} if tokenizer else {})
        )

    def benchmark(each: Benchmark) -> Benchmark:
        changes: dict[str, Any] = {}
        if isinstance(each, PaperBenchmark) and (commit := pinned(_paper_data(recipe, each))):
            changes["revision"] = commit
        if isinstance(each, LightevalBenchmark):
            if each.revision is None and (locked := lock.tasks.get(task_name(each))):
                changes["revision"] = locked.rpartition("@")[2]
            if each.questions is not None:
                changes["questions"] = address(each.questions)
        return each.model_copy(update=changes)

    def address(text: str) -> str:
        reference = _addressed(recipe, text)
        commit = pinned(reference)
        if reference is None or commit is None or reference.revision == CONVERTED:
            return text
        return f"{reference.id}@{commit}{text.removeprefix(reference.key)}"

    scores = [
        model(score) if isinstance(score, EmbeddingScore | ResponseLengthScore) else score for score in recipe.scores
    ]
    against = [address(text) for text in recipe.decontamination.against]
    benchmarks = [benchmark(each) for each in recipe.evaluation.benchmarks]
    references = [model(each) for each in recipe.evaluation.references]
    decontamination = model(recipe.decontamination).model_copy(update={"against": against})
    older = [address(text) for text in recipe.release.against] if recipe.release else []
    locked = recipe.model_copy(
        update={
            "judges": [model(judge) for judge in recipe.judges],
            "teachers": [model(teacher) for teacher in recipe.teachers],
            "student": model(recipe.student),
            "scores": scores,
            "decontamination": decontamination,
            "release": recipe.release and recipe.release.model_copy(update={"against": older}),
            "evaluation": recipe.evaluation.model_copy(update={"benchmarks": benchmarks, "references": references}),
        }
    )
    locked._lock = lock
    return locked


def task_name(benchmark: LightevalBenchmark) -> str:
    """Return the name of lighteval's task without few-shot examples and parameters."""
    return benchmark.task.partition("|")[0].partition("@")[0]


def is_on_hub(recipe: Recipe, name: str) -> bool:
    """Whether a name of a data set or a model is an id of the hub, and no folder."""
    return _HUB_ID.fullmatch(name) is not None and not Path(resolve_path(name, recipe.folder)).exists()


def _references(recipe: Recipe) -> Iterator[HubReference | None]:
    for source in recipe.sources:
        if isinstance(source, HuggingFaceSource):
            yield from (_reference(recipe, "dataset", part.dataset, part.revision) for part in parts_of(source))
    for text in (*recipe.decontamination.against, *(recipe.release.against if recipe.release else ())):
        yield _addressed(recipe, text)
    for benchmark in recipe.evaluation.benchmarks:
        if isinstance(benchmark, PaperBenchmark):
            yield _paper_data(recipe, benchmark)
        elif isinstance(benchmark, LightevalBenchmark) and benchmark.questions is not None:
            yield _addressed(recipe, benchmark.questions)
    models = (*recipe.judges, *recipe.teachers, recipe.student, *recipe.evaluation.references)
    for each in (*models, *recipe.scores, recipe.decontamination):
        yield from (_model_of(recipe, each), _tokenizer_of(recipe, each))


def _reference(
    recipe: Recipe, kind: Literal["dataset", "model"], name: str, revision: str | None
) -> HubReference | None:
    """Return the reference to something on the hub; None for a folder, and for what a commit pins."""
    return HubReference(kind, name, revision) if is_on_hub(recipe, name) and not is_commit(revision) else None


def _model_of(recipe: Recipe, owner: Any) -> HubReference | None:
    """Return the reference to weights that this project loads itself, or to the data set of published answers."""
    if isinstance(owner, ModelReference):
        kind: Literal["dataset", "model"] = "dataset" if owner.engine == PUBLISHED else "model"
        served = kind == "model" and is_served(owner.engine)
        return None if served else _reference(recipe, kind, owner.model, owner.revision)
    if isinstance(owner, EmbeddingScore) and owner.engine == "transformers":
        return _reference(recipe, "model", owner.model, owner.revision)
    return None


def _tokenizer_of(recipe: Recipe, owner: Any) -> HubReference | None:
    name = getattr(owner, "tokenizer", None)
    if name is None or split_commit(name)[1]:
        return None
    return _reference(recipe, "model", name, None)


def _paper_data(recipe: Recipe, benchmark: PaperBenchmark) -> HubReference | None:
    return _reference(recipe, "dataset", benchmark.dataset or benchmark.data.dataset, benchmark.revision)


def _addressed(recipe: Recipe, text: str) -> HubReference | None:
    """Return the data set of an address such as dataset@revision(subset):split:column; None for that of a file."""
    parts = text.rsplit(":", 2)
    if len(parts) != 3:
        return None
    name, _, revision = parts[0].partition("(")[0].partition("@")
    return _reference(recipe, "dataset", name, revision or None)
