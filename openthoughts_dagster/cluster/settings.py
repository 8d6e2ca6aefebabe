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

    code: str = Field(description="Image without torch, for work on CPUs and for models behind a server.")
    gpu: str = Field(description="Image with vLLM, TRL and lighteval, for models that run in our own pods.")


class Accelerator(RecipeModel):
    """One model of accelerator, and the nodes that have it."""

    resource: str = Field("nvidia.com/gpu", description="Name of the resource that the device plugin offers.")
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that have the accelerator.")
    tolerations: list[dict[str, str | int]] = Field(
        default=[], description="Taints of these nodes that our pods tolerate, as in a Pod."
    )
    per_node: Positive | None = Field(
        None, description="Number on one node. A model that needs more is refused at load. Not checked when absent."
    )


class WorkSettings(RecipeModel):
    """How one kind of work runs. A pod that runs a model takes cpus, memory and disk from its hardware instead."""

    cpus: float = Field(1, gt=0, description="CPU cores of a pod without a model.")
    memory: Quantity = Field("2Gi", description="Memory of a pod without a model.")
    disk: Quantity = Field("10Gi", description="Scratch disk of a pod without a model.")
    priority_class: str | None = Field(None, description="PriorityClass of its pods. By default the launcher's.")
    deadline_hours: float = Field(24, gt=0, description="Hours after which its Job is stopped, with time of waiting.")
    grace_seconds: Positive = Field(
        60, description="Seconds between SIGTERM and SIGKILL, in which a pod commits what is finished."
    )
    pod: dict[str, Any] = Field(
        default={},
        description="Raw configuration as dagster-k8s takes it (container_config, pod_spec_config, "
        "pod_template_spec_metadata, job_spec_config, job_metadata). Names inside are those of a manifest. It wins "
        "over all other settings.",
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


class ProgramPods(RecipeModel):
    """Pods in which programs that models write run: without token and network, in a sandbox of their own."""

    runtime_class: str | None = Field(
        description="RuntimeClass of the pods, such as gvisor. null, in so many words: the nodes' own runtime, where "
        "only Landlock and seccomp inside the pod separate programs from the kernel.",
    )
    pods: Positive = Field(4, description="Pods of one benchmark at the same time.")
    cpus: Positive = Field(2, description="CPU cores of a pod, and programs that run in it at the same time.")
    memory: Quantity = Field("10Gi", description="Memory of a pod. A program may use up to 4 GiB.")
    disk: Quantity = Field("1Gi", description="Ephemeral storage of a pod, which is its log: programs write no files.")
    deadline_minutes: Positive = Field(
        60, description="Minutes after which a pod is stopped. Programs that did not run by then get another pod."
    )
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes of these pods.")
    tolerations: list[dict[str, str | int]] = Field(
        default=[], description="Taints of these nodes that the pods tolerate, as in a Pod."
    )


class Cluster(RecipeModel):
    """A cluster: its images, its accelerators, and how each kind of work runs on it."""

    images: Images = Field(description="The images.")
    accelerators: dict[str, Accelerator] = Field(
        default={}, description="The accelerators of the cluster, by the name that recipes use in `accelerator`."
    )
    shapes: dict[str, Hardware] = Field(
        default={}, description="Named shapes of hardware. A shape with the name of a built-in one replaces it."
    )
    work: Work = Field(default=Work(), description="Settings by kind of work.")
    programs: ProgramPods | None = Field(
        None, description="Pods for programs that models write (`evaluation.confinement: pod`). Absent: there are none."
    )
    queue: str | None = Field(None, description="Kueue LocalQueue that admits our Jobs. Without it Kueue is not used.")
    pod_group_label: str | None = Field(
        None,
        description="Label by which a gang scheduler finds the pods that start together, such as "
        "scheduling.x-k8s.io/pod-group. Its value is the name of the Job.",
    )
    model_cache_claim: str | None = Field(
        None,
        description="PersistentVolumeClaim for the hub's files (HF_HOME). Without it they go to the scratch disk.",
    )
    lost_pods: int = Field(
        10, ge=0, description="Number of restarts of a step whose pod was lost. Each continues from the ledger."
    )
    patience_minutes: float = Field(
        5,
        gt=0,
        description="Minutes that a pod may wait for a missing image, secret or volume before its step fails.",
    )
    api_patience_minutes: float = Field(
        30, gt=0, description="Minutes that the API server may be out of reach before running steps count as lost."
    )

    def settings(self, kind: Kind) -> WorkSettings:
        """Return the settings of a kind of work."""
        settings: WorkSettings = getattr(self.work, kind)
        return settings
