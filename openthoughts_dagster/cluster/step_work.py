"""Which model a step runs, and so which pod it gets. Its kind of work and its partition decide."""

from collections.abc import Sequence
from dataclasses import dataclass

from openthoughts_dagster.cluster.pods import Image, PodConfig, amount, cpu_pod, model_pod
from openthoughts_dagster.cluster.settings import Cluster, Kind
from openthoughts_dagster.recipe import EmbeddingScore, Hardware, Judge, ModelReference, PdfSource, Recipe, Source
from openthoughts_dagster.recipe.engines import is_served


@dataclass(frozen=True)
class StepWork:
    """What one step does.

    Attributes:
        kind: The kind of work.
        hardware: The hardware of the model that runs in the step's pod; None when no model runs there.
        image: The image of the pod.
    """

    kind: Kind
    hardware: Hardware | None = None
    image: Image = "code"

    def pod(self, cluster: Cluster, group: str | None = None) -> PodConfig:
        """Configure the step's pod on a cluster. `group` is the name of its Job."""
        if self.hardware is None:
            return cpu_pod(cluster, self.kind, self.image, group)
        return model_pod(cluster, self.hardware, self.kind, self.image, group)


def teacher_work(recipe: Recipe, teacher: str | None) -> StepWork:
    """Return the work of a shard of a teacher's answers. Without a name the pod is large enough for every teacher."""
    models = recipe.teachers if teacher is None else [recipe.teacher(teacher)]
    return _work_with_models("teacher", models)


def reference_work(recipe: Recipe, name: str | None) -> StepWork:
    """Return the work of a model that answers benchmarks for comparison. Without a name the pod fits all of them."""
    models = recipe.references()
    return _work_with_models("teacher", list(models.values()) if name not in models else [models[name]])


def student_work(recipe: Recipe) -> StepWork:
    """Return the work of a student that answers benchmarks, in its own pod."""
    return _work_with_models("student", [recipe.student.for_scoring()])


def training_work(recipe: Recipe) -> StepWork:
    """Return the work of a student's training. On several machines it is a small pod that launches another Job."""
    one_machine = recipe.student.hardware.nodes == 1
    return _work_with_models("student", [recipe.student]) if one_machine else StepWork("student")


def reading_work(recipe: Recipe, source: str | None) -> StepWork:
    """Return the work of reading a source, which is cheap unless a judge finds or writes the questions."""
    sources = recipe.sources if source is None else [recipe.source(source)]
    return _work_with_models("judge", [recipe.judge(name) for each in sources for name in _reading_judges(each)])


def scoring_work(recipe: Recipe, source: str | None) -> StepWork:
    """Return the work of scoring a source's questions with every judge that scores its domain."""
    domains = {each.domain for each in (recipe.sources if source is None else [recipe.source(source)])}
    scores = [score for domain in domains for score in recipe.scores_for(domain)]
    work = _work_with_models("judge", _scoring_judges(recipe, domains))
    embeds = any(isinstance(score, EmbeddingScore) for score in scores)
    return StepWork(work.kind, work.hardware, "gpu") if embeds else work  # an encoder needs torch


def _reading_judges(source: Source) -> list[str]:
    rewrite = getattr(source, "rewrite", None)
    return ([source.judge] if isinstance(source, PdfSource) else []) + ([rewrite.judge] if rewrite else [])


def _scoring_judges(recipe: Recipe, domains: set[str]) -> list[Judge]:
    scores = [score for domain in domains for score in recipe.scores_for(domain)]
    names = {str(judge) for score in scores if (judge := getattr(score, "judge", None)) is not None}
    return [judge for judge in recipe.judges if judge.name in names]


def runs_in_our_pods(model: ModelReference) -> bool:
    """Whether the model runs in the pod that asks it, and not behind a server."""
    return not is_served(model.engine)


def _work_with_models(kind: Kind, models: Sequence[ModelReference]) -> StepWork:
    own = [model for model in models if runs_in_our_pods(model)]
    if not models:
        return StepWork("cpu")
    if not own:
        return StepWork(kind)
    return StepWork(kind, _largest_hardware([model.hardware for model in own]), "gpu")


def _largest_hardware(wanted: list[Hardware]) -> Hardware:
    """Return hardware that is enough for each of several models, which one pod runs one after the other."""
    accelerators = [hardware for hardware in wanted if hardware.accelerator is not None]
    return Hardware(
        accelerator=accelerators[0].accelerator if accelerators else None,
        count=max(hardware.count for hardware in wanted),
        cpus=max(hardware.cpus for hardware in wanted),
        memory=max((hardware.memory for hardware in wanted), key=amount),
        disk=max((hardware.disk for hardware in wanted), key=amount),
    )
