"""A check that a recipe fits a cluster. It runs when definitions load, before a step waits for a missing node."""

from collections.abc import Iterator

from openthoughts_dagster.cluster.loading import ClusterError
from openthoughts_dagster.cluster.settings import Cluster
from openthoughts_dagster.cluster.step_work import runs_in_our_pods
from openthoughts_dagster.recipe import ModelReference, Recipe


def check_fits(recipe: Recipe, cluster: Cluster) -> None:
    """Check that the cluster has the hardware of every model of the recipe.

    Raises:
        ClusterError: Names every model that does not say its hardware, and every one whose hardware the cluster lacks.
    """
    problems = list(_find_problems(recipe, cluster))
    if problems:
        raise ClusterError("\n".join(f"recipe {recipe.name!r} on this cluster: {problem}" for problem in problems))


def _find_problems(recipe: Recipe, cluster: Cluster) -> Iterator[str]:
    has = ", ".join(sorted(cluster.accelerators)) or "no accelerators"
    for name, model in _models(recipe):
        if not runs_in_our_pods(model):
            continue  # the server has the hardware
        if "hardware" not in model.model_fields_set:
            yield (
                f"{name}: is missing: the model runs in a pod of its own, which is sized by it. Name a shape "
                "such as h100x1, or give {cpus, memory, disk} for a model that runs on CPUs"
            )
            continue
        hardware = model.hardware
        if hardware.accelerator is None:
            continue
        offered = cluster.accelerators.get(hardware.accelerator)
        if offered is None:
            yield (
                f"{name}.accelerator: the cluster has no {hardware.accelerator!r}; it has {has}. Name one of "
                "them, or describe this one under accelerators in the chart's values"
            )
        elif offered.per_node is not None and hardware.count > offered.per_node:
            yield (
                f"{name}.count: no node has {hardware.count} {hardware.accelerator}, the largest has "
                f"{offered.per_node}; ask for fewer, or correct accelerators.{hardware.accelerator}.per_node"
            )
    yield from _find_mixed_judges(recipe)


def _models(recipe: Recipe) -> Iterator[tuple[str, ModelReference]]:
    """Yield every model beside the setting that is its hardware."""
    for judge in recipe.judges:
        yield f"judges.{judge.name}.hardware", judge
    for teacher in recipe.teachers:
        yield f"teachers.{teacher.name}.hardware", teacher
    for reference in recipe.evaluation.references:
        yield f"evaluation.references.{reference.name}.hardware", reference
    yield "student.hardware", recipe.student
    if recipe.student.scoring_hardware is not None:
        yield "student.scoring_hardware", recipe.student.for_scoring()


def _find_mixed_judges(recipe: Recipe) -> Iterator[str]:
    """Find judges that need different accelerators: one pod asks all judges of a step, and it is on one node."""
    kinds = {
        judge.hardware.accelerator: judge.name
        for judge in recipe.judges
        if runs_in_our_pods(judge) and judge.hardware.accelerator is not None
    }
    if len(kinds) > 1:
        named = ", ".join(f"{name} on {accelerator}" for accelerator, name in kinds.items())
        yield f"judges: one pod asks them all, and these need different accelerators: {named}. Give them one"
