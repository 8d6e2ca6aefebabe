"""The pods that work gets, as dictionaries: amounts, placement, storage, and whose settings win."""

from typing import Any

import pytest

from openthoughts_dagster.cluster import cpu_pod, merge_settings, model_pod, pod_template
from openthoughts_dagster.recipe import Hardware
from openthoughts_dagster.recipe.hardware import SHAPES
from openthoughts_dagster_tests.cluster.helpers import CLUSTER, cluster


def _volumes(pod: dict[str, Any]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in pod["pod_spec_config"]["volumes"]}


def _mounts(pod: dict[str, Any]) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in pod["container_config"]["volumeMounts"]}


def test_a_teacher_on_an_accelerator_gets_its_amounts_its_node_and_its_deadline() -> None:
    pod = model_pod(cluster(), SHAPES["h100x8"], "teacher")

    resources = pod["container_config"]["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"] == {
        "cpu": "128",
        "memory": "1024Gi",
        "ephemeral-storage": "1600Gi",
        "nvidia.com/gpu": "8",
    }
    spec = pod["pod_spec_config"]
    assert pod["container_config"]["image"] == "registry/openthoughts-gpu:1"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["priorityClassName"] == "openthoughts-generation"
    assert spec["terminationGracePeriodSeconds"] == 90
    assert pod["job_spec_config"] == {"backoffLimit": 0, "activeDeadlineSeconds": 12 * 3600}
    assert _volumes(pod)["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16384Mi"}
    assert _mounts(pod)["/dev/shm"] == "shared-memory"


def test_cheap_work_gets_a_small_pod_and_the_slim_image() -> None:
    pod = cpu_pod(cluster())

    assert pod["container_config"]["image"] == "registry/openthoughts-code:1"
    assert pod["container_config"]["resources"]["limits"] == {
        "cpu": "1",
        "memory": "2Gi",
        "ephemeral-storage": "10Gi",
    }
    assert "nodeSelector" not in pod["pod_spec_config"]
    assert "shared-memory" not in _volumes(pod)


@pytest.mark.parametrize("pod", [cpu_pod(cluster()), model_pod(cluster(), Hardware(), "judge")])
def test_every_pod_meets_the_restricted_standard_and_can_write_where_programs_do(pod: dict[str, Any]) -> None:
    assert pod["container_config"]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    variables = {entry["name"]: entry["value"] for entry in pod["container_config"]["env"]}
    for path in (variables["HOME"], variables["OPENTHOUGHTS_DATA"], "/tmp"):
        assert path in _mounts(pod)


def test_the_models_of_the_hub_are_read_from_the_claim_when_there_is_one() -> None:
    pod = model_pod(cluster(model_cache_claim="models"), SHAPES["h100x1"], "teacher")

    assert _volumes(pod)["model-cache"]["persistentVolumeClaim"] == {"claimName": "models"}
    home = next(e["value"] for e in pod["container_config"]["env"] if e["name"] == "HF_HOME")
    assert _mounts(pod)[home] == "model-cache"


def test_the_queue_and_the_gang_are_labels() -> None:
    pod = model_pod(
        cluster(queue="research", pod_group_label="scheduling.x-k8s.io/pod-group"),
        SHAPES["h100x1"],
        "teacher",
        group="dagster-step-1",
    )

    assert pod["job_metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "research"}
    assert pod["pod_template_spec_metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "dagster-step-1"


def test_what_the_platform_team_sets_wins_and_names_nothing_twice() -> None:
    work = {
        "teacher": {
            "pod": {
                "container_config": {
                    "resources": {"limits": {"memory": "2Ti"}},
                    "env": [{"name": "HF_HOME", "value": "/shared"}, {"name": "NCCL_DEBUG", "value": "INFO"}],
                },
                "pod_spec_config": {
                    "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}],
                    "nodeSelector": {"pool": "spot"},
                    "runtimeClassName": "nvidia",
                },
            }
        }
    }
    pod = model_pod(cluster(work=work), SHAPES["h100x1"], "teacher")

    assert pod["container_config"]["resources"]["limits"]["memory"] == "2Ti"
    assert pod["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    names = [entry["name"] for entry in pod["container_config"]["env"]]
    assert len(names) == len(set(names))
    assert {"name": "HF_HOME", "value": "/shared"} in pod["container_config"]["env"]
    assert _volumes(pod)["scratch"] == {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}
    assert pod["pod_spec_config"]["nodeSelector"] == {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "pool": "spot",
    }
    assert pod["pod_spec_config"]["runtimeClassName"] == "nvidia"


def test_other_kinds_of_accelerator_have_other_names_and_taints() -> None:
    trainium = {"resource": "aws.amazon.com/neuron", "node_selector": {"family": "trn2"}}
    here = cluster(accelerators=CLUSTER["accelerators"] | {"trainium2": trainium})

    pod = model_pod(here, Hardware(accelerator="trainium2", count=16), "student")

    assert pod["container_config"]["resources"]["limits"]["aws.amazon.com/neuron"] == "16"
    assert pod["pod_spec_config"]["nodeSelector"] == {"family": "trn2"}


def test_a_template_holds_the_same_pod_for_jobs_of_ones_own() -> None:
    pod = model_pod(cluster(), SHAPES["h100x2"], "student")

    template = pod_template(
        pod,
        {"name": "train", "command": ["torchrun"], "env": [{"name": "HOME", "value": "/elsewhere"}]},
        {"labels": {"student": "s"}},
    )

    (container,) = template["spec"]["containers"]
    assert container["command"] == ["torchrun"]
    assert container["resources"] == pod["container_config"]["resources"]
    assert [e["value"] for e in container["env"] if e["name"] == "HOME"] == ["/elsewhere"]
    assert template["spec"]["restartPolicy"] == "Never"
    assert template["metadata"]["labels"] == {"openthoughts/work": "student", "student": "s"}


def test_lists_without_names_are_joined_and_commands_replaced() -> None:
    one = {"tolerations": [{"key": "a"}], "args": ["x"], "volumes": [{"name": "v", "emptyDir": {}}]}
    two = {"tolerations": [{"key": "a"}, {"key": "b"}], "args": ["y"], "volumes": [{"name": "v", "secret": {}}]}

    assert merge_settings(one, two) == {
        "tolerations": [{"key": "a"}, {"key": "b"}],
        "args": ["y"],
        "volumes": [{"name": "v", "secret": {}}],
    }
