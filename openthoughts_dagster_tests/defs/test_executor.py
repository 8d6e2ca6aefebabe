"""Which pod a step gets, and what is wrong with a cluster's description when definitions load."""

import inspect
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._utils import interrupts
from dagster_k8s.client import DagsterKubernetesClient
from dagster_k8s.executor import K8sStepHandler

from openthoughts_dagster.cluster import ClusterError
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.kubernetes.pod_config import check_pods
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster_tests.cluster.helpers import CLUSTER, cluster, recipe, recipe_file
from openthoughts_dagster_tests.defs.step_world import MODELS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, recipe(tmp_path, **MODELS), cluster())


def _launched(world: World, key: str, teacher: str | None = None) -> Any:
    list(world.pods.launch_step(world.step(key, teacher)))
    return world.api.created[-1]


def _container(job: Any) -> Any:
    (container,) = job.spec.template.spec.containers
    return container


@pytest.mark.parametrize(("name", "gpus"), [("small", "1"), ("large", "8")])
def test_a_shard_gets_the_accelerators_of_its_partitions_teacher(world: World, name: str, gpus: str) -> None:
    job = _launched(world, "teacher_answers.answer[0]", name)

    assert _container(job).resources.limits["nvidia.com/gpu"] == gpus
    assert job.spec.template.spec.priority_class_name == "openthoughts-generation"


def test_a_student_gets_its_own_accelerators_whoever_taught_it(world: World) -> None:
    for key in ("student_checkpoint", "benchmark_scores"):
        assert _container(_launched(world, key, "large")).resources.limits["nvidia.com/gpu"] == "2"


def test_a_step_on_accelerators_leaves_the_runs_nodes_and_names_nothing_twice(world: World) -> None:
    job = _launched(world, "student_checkpoint", "small")

    spec = job.spec.template.spec
    assert spec.node_selector == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    names = [volume.name for volume in spec.volumes]
    assert sorted(names) == sorted(set(names))
    assert "recipe" in names
    assert next(v for v in spec.volumes if v.name == "scratch").empty_dir.size_limit == "400Gi"
    assert spec.service_account_name == "runs"
    assert _container(job).image == "registry/openthoughts-gpu:1"
    assert job.spec.backoff_limit == 0


def test_cheap_steps_stay_small_on_the_runs_nodes_and_the_slim_image(world: World) -> None:
    for key, name in (("deduped_questions", None), ("teacher_answers.publish", "large"), ("raw_sources", None)):
        job = _launched(world, key, name)

        assert _container(job).image == "registry/openthoughts-code:1"
        assert _container(job).resources.requests == {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "10Gi"}
        assert job.spec.template.spec.node_selector == {"pool": "cpu"}


def test_a_judge_without_an_accelerator_runs_on_cpus_of_the_image_with_engines(world: World) -> None:
    container = _container(_launched(world, "scored_questions"))

    assert container.image == "registry/openthoughts-gpu:1"
    assert container.resources.limits == {"cpu": "3", "memory": "4Gi", "ephemeral-storage": "20Gi"}


def test_a_teacher_behind_a_server_needs_no_accelerator_here(world: World) -> None:
    container = _container(_launched(world, "teacher_answers.answer[0]", "served"))

    assert container.image == "registry/openthoughts-code:1"
    assert "nvidia.com/gpu" not in container.resources.limits


def test_a_training_on_several_machines_is_launched_from_a_small_pod(tmp_path: Path) -> None:
    student = MODELS["student"] | {"hardware": {"accelerator": "h100", "count": 8, "nodes": 2}}
    world = World(tmp_path, recipe(tmp_path, **MODELS | {"student": student}), cluster())

    launches = _container(_launched(world, "student_checkpoint", "small"))
    scores = _container(_launched(world, "benchmark_scores", "small"))

    assert "nvidia.com/gpu" not in launches.resources.limits
    assert scores.resources.limits["nvidia.com/gpu"] == "8"


# Canceled


@pytest.mark.parametrize("canceled", [True, False])
def test_a_canceled_run_leaves_no_step_behind_and_one_that_is_resumed_all(
    world: World, monkeypatch: pytest.MonkeyPatch, canceled: bool
) -> None:
    monkeypatch.setattr(type(world.instance), "run_will_resume", lambda *_: True)
    context = world.step("scored_questions")
    list(world.pods.launch_step(context))
    if canceled:
        world.instance.report_run_canceling(world.run)

    monkeypatch.setitem(interrupts._received_interrupt, "received", True)  # as SIGTERM does
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        list(world.executor.execute(context._plan_context, context._plan_context.execution_plan))

    assert world.api.deleted == ([world.pods._get_k8s_step_job_name(context)] if canceled else [])


# At load


def test_a_misspelt_setting_of_a_pod_is_an_error_when_definitions_load(tmp_path: Path) -> None:
    work = {
        "student": {"pod": {"pod_spec_config": {"nodeSelecto": {"a": "b"}}}},
        "cpu": {"pod": {"container_config": {"resources": {"limit": {"cpu": "2"}}}}},
    }
    with pytest.raises(ClusterError) as caught:
        check_pods(recipe(tmp_path, **MODELS), cluster(work=work))

    lines = str(caught.value).splitlines()
    assert lines == [
        "work.cpu.pod: no pod that Kubernetes would take: ResourceRequirements has no 'limit'; did you mean 'limits'?",
        "work.student.pod: no pod that Kubernetes would take: PodSpec has no 'nodeSelecto'; did you mean "
        "'nodeSelector'?",
    ]


def test_an_executor_without_a_cluster_and_an_unknown_one_say_what_to_set() -> None:
    with pytest.raises(ValueError, match="OPENTHOUGHTS_CLUSTER: is not set"):
        Settings.from_environment({"OPENTHOUGHTS_EXECUTOR": "kubernetes"})
    with pytest.raises(ValueError, match="OPENTHOUGHTS_EXECUTOR: must be kubernetes"):
        Settings.from_environment({"OPENTHOUGHTS_EXECUTOR": "k8s"})


def test_definitions_run_in_process_unless_the_environment_says_kubernetes(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
    variables = {
        "OPENTHOUGHTS_RECIPE": str(recipe_file(tmp_path, **MODELS)),
        "OPENTHOUGHTS_DATA": str(tmp_path),
        "OPENTHOUGHTS_CLUSTER": str(tmp_path / "cluster.yaml"),
    }
    here, there = (
        Settings.from_environment(variables | executor) for executor in ({}, {"OPENTHOUGHTS_EXECUTOR": "kubernetes"})
    )

    assert build_definitions(here.load_recipe(), here).executor is dg.in_process_executor
    executor = build_definitions(there.load_recipe(), there).executor
    assert isinstance(executor, dg.ExecutorDefinition)
    assert executor.name == "kubernetes"


def test_the_private_methods_of_dagster_k8s_that_are_overridden_are_as_they_were() -> None:
    """dagster_k8s is pinned: with another version look at step_pods.py and job_client.py again."""
    overridden: dict[Any, list[str]] = {
        K8sStepHandler._get_container_context: ["self", "step_handler_context"],
        K8sStepHandler._get_k8s_step_job_name: ["self", "step_handler_context"],
        K8sStepHandler._get_step_key: ["self", "step_handler_context"],
        K8sStepHandler.check_step_health: ["self", "step_handler_context"],
        DagsterKubernetesClient.create_namespaced_job_with_retries: [
            "self",
            "body",
            "namespace",
            "wait_time_between_attempts",
        ],
        DagsterKubernetesClient.delete_job: ["self", "job_name", "namespace"],
    }
    for method, parameters in overridden.items():
        assert list(inspect.signature(method).parameters) == parameters
    source = inspect.getsource(K8sStepHandler.launch_step)
    assert "self._get_container_context(step_handler_context)" in source
    assert "self._api_client.create_namespaced_job_with_retries(body=job, namespace=namespace)" in source
    assert "self._api_client" in inspect.getsource(K8sStepHandler.__init__)
