"""Pod configurations in the form of dagster_k8s. They are checked when definitions load and merged when steps start."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

from openthoughts_dagster.cluster import Cluster, ClusterError, check_fits, merge_settings
from openthoughts_dagster.cluster.step_work import (
    StepWork,
    reading_work,
    reference_work,
    scoring_work,
    student_work,
    teacher_work,
    training_work,
)
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.suggestions import did_you_mean
from openthoughts_dagster.studies import arm_keys, arm_teacher
from openthoughts_dagster.training import TrainingError, check_batch_divides

# Which nodes runs go to, and how they are spread over them.
_PLACES = ("node_selector", "affinity", "topology_spread_constraints")


def step_work(recipe: Recipe, kind: str | None, op: str, tags: Mapping[str, str]) -> StepWork:
    """Find out what a step does, from its work tag, its op, and the partition in the tags of its run."""
    source = tags.get("dagster/partition/source")
    if op == "reference_scores":
        return reference_work(recipe, tags.get("dagster/partition"))
    if kind == "teacher":
        return teacher_work(recipe, tags.get("dagster/partition/teacher") or _arm_teacher(recipe, tags))
    if kind == "student":
        trains = op in ("student_checkpoint", "arm_student")
        return training_work(recipe) if trains else student_work(recipe)
    if kind == "judge":
        source = source or tags.get("dagster/partition")
        return reading_work(recipe, source) if op == "raw_sources" else scoring_work(recipe, source)
    return StepWork("cpu")


def _arm_teacher(recipe: Recipe, tags: Mapping[str, str]) -> str | None:
    """Return the teacher of the arm that the run's partition names, or None when it names no arm."""
    key = tags.get("dagster/partition", "")
    return arm_teacher(recipe, key) if key in arm_keys(recipe) else None


def over_launcher(
    launchers: UserDefinedDagsterK8sConfig, pod: Mapping[str, Mapping[str, Any]]
) -> UserDefinedDagsterK8sConfig:
    """Merge a step's pod over the chart's settings for all pods. A step with accelerators has its own nodes."""
    ours = UserDefinedDagsterK8sConfig.from_dict(pod).to_dict()
    base = dict(launchers.to_dict())
    if "node_selector" in ours["pod_spec_config"]:
        base["pod_spec_config"] = {k: v for k, v in base["pod_spec_config"].items() if k not in _PLACES}
    return UserDefinedDagsterK8sConfig.from_dict(
        {k: merge_settings(base[k], v) if isinstance(v, Mapping) else v for k, v in ours.items()}
    )


def check_pods(recipe: Recipe, cluster: Cluster) -> None:
    """Check the pods of all steps of a recipe.

    Raises:
        ClusterError: A model does not fit the cluster, the student's processes cannot share a batch, or Kubernetes
            would refuse a pod.
    """
    check_fits(recipe, cluster)
    works = {StepWork("cpu"), training_work(recipe), student_work(recipe)}
    works |= {teacher_work(recipe, teacher.name) for teacher in recipe.teachers}
    works |= {reference_work(recipe, name) for name in recipe.references()}
    works |= {work(recipe, source.name) for source in recipe.sources for work in (reading_work, scoring_work)}
    try:
        check_batch_divides(recipe.student)
    except TrainingError as error:
        raise ClusterError(str(error)) from error
    problems = list(dict.fromkeys(problem for work in works for problem in _problems(work, cluster)))
    if problems:
        raise ClusterError("\n".join(sorted(problems)))


def _problems(work: StepWork, cluster: Cluster) -> Iterator[str]:
    try:
        config = UserDefinedDagsterK8sConfig.from_dict(work.pod(cluster))
        construct_dagster_k8s_job(DagsterK8sJobConfig(job_image="checked"), [], "checked", config)
    except Exception as error:  # dagster_k8s raises plain Exceptions, the client's models ValueError
        yield f"work.{work.kind}.pod: no pod that Kubernetes would take: {_explain(str(error))}"


def _explain(error: str) -> str:
    """Rewrite an error of dagster_k8s, such as to `PodSpec has no 'nodeSelecto'; did you mean 'nodeSelector'?`."""
    import kubernetes.client

    match = re.fullmatch(r"Unexpected keys in model class (\w+): \{(.*)\}", error)
    if match is None:
        return error
    known = list(getattr(kubernetes.client, match[1]).attribute_map.values())
    parts = []
    for key in sorted(re.findall(r"'([^']*)'", match[2])):
        hint = did_you_mean(key, known)
        parts.append(f"{match[1].removeprefix('V1')} has no {key!r}" + (f"; {hint}" if hint else ""))
    return "; ".join(parts)
