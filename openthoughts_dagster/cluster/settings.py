"""The settings of cluster.yaml, in which a platform team describes its cluster for all recipes that run there."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from openthoughts_dagster.recipe import Hardware
from openthoughts_dagster.recipe.fields import Positive, Problem, Quantity, RecipeModel

Kind = Literal["cpu", "judge", "teacher", "student"]
"""The kinds of work. A step that asks or trains a model is of the model's kind; every other step is `cpu`."""

_FREE_FORM = ("labels", "annotations", "nodeSelector", "limits", "requests", "matchLabels")
_SECTIONS = (
    "container_config",
    "pod_spec_config",
    "pod_template_spec_metadata",
    "job_spec_config",
    "job_metadata",
)


class Images(RecipeModel):
    """The names of the two images that the Dockerfile builds."""

    code: str = Field(description="Image without torch: CPU work, and models that a server answers for.")
    gpu: str = Field(description="Image with vLLM, TRL and lighteval: models that run in our own pods.")


class Accelerator(RecipeModel):
    """One model of accelerator, and the nodes that have it."""

    resource: str = Field("nvidia.com/gpu", description="Name under which the device plugin offers it.")
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that have it.")
    tolerations: list[dict[str, str | int]] = Field(
        default=[], description="Taints of those nodes that our pods put up with, as in a Pod."
    )
    per_node: Positive | None = Field(
        None, description="How many one node has: a model that needs more is refused at load. Absent: not checked."
    )


class WorkSettings(RecipeModel):
    """How one kind of work runs. A pod that runs a model takes cpus, memory and disk from its hardware instead."""

    cpus: float = Field(1, gt=0, description="CPU cores; a pod that runs a model gets what its hardware says.")
    memory: Quantity = Field("2Gi", description="Memory; likewise.")
    disk: Quantity = Field("10Gi", description="Scratch disk; likewise.")
    priority_class: str | None = Field(None, description="PriorityClass of its pods; absent: the launcher's.")
    deadline_hours: float = Field(24, gt=0, description="Hours after which its Job is stopped, waiting included.")
    grace_seconds: Positive = Field(
        60, description="Seconds between SIGTERM and SIGKILL: what a pod has to commit what is finished."
    )
    pod: dict[str, Any] = Field(
        default={},
        description="Raw configuration as dagster-k8s takes it (container_config, pod_spec_config, "
        "pod_template_spec_metadata, job_spec_config, job_metadata; inside them names as in a manifest). It wins.",
    )

    @classmethod
    def problems(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Find sections that dagster-k8s does not have, and names in snake case, which would not merge."""
        pod = raw.get("pod")
        for section, fields in pod.items() if isinstance(pod, Mapping) else ():
            if section not in _SECTIONS:
                yield ("pod", section), f"is no section of a pod's configuration; there are {', '.join(_SECTIONS)}"
            elif not isinstance(fields, Mapping):
                yield ("pod", section), "must be a mapping, each line 'setting: value'"
            else:
                yield from _find_snake_case(fields, ("pod", section))


def _find_snake_case(value: Any, where: tuple[int | str, ...]) -> Iterator[Problem]:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _find_snake_case(entry, (*where, index))
    for field, inner in value.items() if isinstance(value, Mapping) else ():
        if "_" in str(field):
            head, *tail = str(field).split("_")
            yield (*where, field), f"write {head}{''.join(part.capitalize() for part in tail)}, as in a manifest"
        elif field not in _FREE_FORM:
            yield from _find_snake_case(inner, (*where, field))


class Work(RecipeModel):
    """The settings of each kind of work."""

    cpu: WorkSettings = Field(default=WorkSettings(), description="Steps without a model.")
    judge: WorkSettings = Field(default=WorkSettings(), description="Steps that ask judges.")
    teacher: WorkSettings = Field(
        default=WorkSettings(deadline_hours=48, grace_seconds=120), description="Shards of a teacher's answers."
    )
    student: WorkSettings = Field(
        default=WorkSettings(deadline_hours=48, grace_seconds=120),
        description="Training of students, and their scores on benchmarks.",
    )


class Cluster(RecipeModel):
    """A cluster: its images, its accelerators, and how each kind of work runs on it."""

    images: Images = Field(description="The images.")
    accelerators: dict[str, Accelerator] = Field(
        default={}, description="What a recipe's `accelerator` means here, by its name."
    )
    shapes: dict[str, Hardware] = Field(
        default={}, description="Named shapes of this cluster; one with a built-in shape's name replaces it."
    )
    work: Work = Field(default=Work(), description="Settings by kind of work.")
    queue: str | None = Field(None, description="Kueue LocalQueue that admits our Jobs; absent: no Kueue.")
    pod_group_label: str | None = Field(
        None,
        description="Label under which a gang scheduler knows the pods that start together, e.g. "
        "scheduling.x-k8s.io/pod-group; its value is the Job's name.",
    )
    model_cache_claim: str | None = Field(
        None,
        description="PersistentVolumeClaim for the hub's files (HF_HOME); absent: downloaded into the scratch disk.",
    )
    lost_pods: int = Field(
        10, ge=0, description="How often a step whose pod was lost is started again; each goes on from the ledger."
    )
    patience_minutes: float = Field(
        5,
        gt=0,
        description="Minutes that a pod may wait for an image, a secret or a volume that is not there until its step "
        "fails.",
    )
    api_patience_minutes: float = Field(
        30, gt=0, description="Minutes that the API server may be out of reach until running steps count as lost."
    )

    def settings(self, kind: Kind) -> WorkSettings:
        """Return the settings of a kind of work."""
        settings: WorkSettings = getattr(self.work, kind)
        return settings
