"""The quickstart as it is released to the test's cluster: its recipe cut down, and its values.

Hardware differs by teacher: `direct` wants one accelerator, `worked` a machine of eight, `slow` is answered by a server
of the test's, and `colossal` wants what no node has.
"""

from typing import Any

import yaml

from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE, GPU_IMAGE, H100, POOL, PRODUCT

MADE = "two-digit-sums"  # its cells are made from the sources to the scores
MORE = ("shop-sums", "more-sums", "other-sums")
LONG = ("long-a", "long-b", "long-c")  # many questions, for a teacher that takes its time
SAMPLES = 2
_QUOTA = {"enabled": True, "hard": {"requests.nvidia.com/gpu": "10", "pods": "100"}}
_UNSCORED = {"domain": "puzzle"}  # no judge rates it
_TOLERATES = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def recipe_files(slow_teacher: str) -> dict[str, str]:
    """The recipe and what it refers to, flat as a ConfigMap is. `slow_teacher` is the address of its server."""
    folder = SHIPPED / "quickstart"
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    sums, shop = recipe["sources"][0], recipe["sources"][1]
    recipe["sources"] = [
        sums | {"size": 40, "limit": 40},
        shop | _UNSCORED | {"limit": 12},
        *(_sums(sums, name, 12, terms) for terms, name in enumerate(MORE[1:], 3)),
        *(_sums(sums, name, 150, terms) for terms, name in enumerate(LONG, 5)),
    ]
    recipe["domains"]["math"]["selection"] = {"by": "drawn", "count": 12}  # the judge is untrained and rates nothing
    recipe["domains"].pop("puzzle")
    recipe["scores"][0] |= {"prompt": "difficulty.md", "domains": ["math"]}
    recipe["scores"].append({"name": "drawn", "method": "random", "domains": ["math"]})
    worked, direct = (teacher | {"engine": "transformers"} for teacher in recipe["teachers"])
    slow = {"name": "slow", "model": "slow", "engine": "openai", "base_url": slow_teacher, "max_in_flight": 2}
    slow |= {"commit": {"seconds": 1}, "sampling": {"max_tokens": 16}}
    recipe["teachers"] = [
        worked | {"hardware": "hgx"},
        direct | {"hardware": {"accelerator": "h100", "count": 1, "memory": "4Gi", "cpus": 2, "disk": "10Gi"}},
        slow,
        direct | {"name": "colossal", "hardware": "b200x8", "sampling": {"max_tokens": 8}},
    ]
    recipe["answers_per_question"], recipe["studies"] = SAMPLES, []
    recipe.pop("release")
    student = recipe["student"]
    student |= {"rows": 16, "hardware": {"accelerator": "h100", "count": 1, "memory": "4Gi", "cpus": 2, "nodes": 2}}
    student["training"] |= {"epochs": 1, "global_batch_size": 8, "per_device_batch_size": 4}
    [benchmark, *_] = recipe["evaluation"]["benchmarks"]
    recipe["evaluation"]["benchmarks"] = [benchmark]
    benchmark |= {"items": 8, "path": "two_digit_sums_test.jsonl"}
    return {
        "recipe.yaml": yaml.safe_dump(recipe, sort_keys=False),
        "shop_sums.jsonl": (folder / "shop_sums.jsonl").read_text(),
        "difficulty.md": (folder / "prompts" / "difficulty.md").read_text(),
        "two_digit_sums_test.jsonl": (folder / "benchmarks" / "two_digit_sums" / "test.jsonl").read_text(),
    }


def _sums(like: dict[str, Any], name: str, size: int, terms: int) -> dict[str, Any]:
    """A source of sums of so many terms: two sources have no question in common, which would be paid for once."""
    options = like["options"] | {"min_terms": terms, "max_terms": terms}
    return like | _UNSCORED | {"name": name, "size": size, "options": options}


def cluster_values() -> dict[str, Any]:
    """What the platform team says of the pools, as values of the chart."""
    single = {"per_node": 1, "node_selector": {POOL: "gpu-1", PRODUCT: H100}, "tolerations": _TOLERATES}
    eight = {"per_node": 8, "node_selector": {POOL: "gpu-8", PRODUCT: H100}, "tolerations": _TOLERATES}
    none = {"node_selector": {PRODUCT: "NVIDIA-B200"}, "tolerations": _TOLERATES}
    return {
        "accelerators": {"h100": single, "h100-hgx": eight, "b200": none},
        "shapes": {"hgx": {"accelerator": "h100-hgx", "count": 8, "memory": "64Gi", "cpus": 32, "disk": "100Gi"}},
        "work": {"teacher": {"grace_seconds": 15}, "student": {"grace_seconds": 15}},
    }


def on_one_gpu() -> dict[str, Any]:
    """What makes every shard of answers a pod that holds a GPU, also one whose model is behind a server."""
    gpu = {"nvidia.com/gpu": "1"}
    return {
        "container_config": {"resources": {"limits": gpu, "requests": gpu}},
        "pod_spec_config": {"nodeSelector": {POOL: "gpu-1"}, "tolerations": _TOLERATES},
    }


def values(slow_teacher: str, store: str, database: dict[str, Any], web: int, code: int) -> dict[str, Any]:
    """The chart's values. `web` and `code` are the ports of the webserver and of the code location."""
    code_image, gpu_image = (
        dict(zip(("repository", "tag"), name.rsplit(":", 1), strict=True)) for name in (CODE_IMAGE, GPU_IMAGE)
    )
    return {
        "images": {"code": code_image, "gpu": gpu_image},
        "recipe": {"files": recipe_files(slow_teacher)},
        "storage": {"endpoint": store, "allowHttp": True},
        "cluster": cluster_values(),
        "severalNodes": {"enabled": True},
        "quota": _QUOTA,
        "dagster": {
            "dagsterWebserver": {
                "image": code_image,
                "service": {"port": web},
                "readinessProbe": {"httpGet": {"port": web}, "periodSeconds": 2},
                "workspace": {"servers": [{"host": "openthoughts-code", "port": code, "name": "openthoughts"}]},
            },
            "dagsterDaemon": {
                "image": code_image,
                "runCoordinator": {"config": {"queuedRunCoordinator": {"dequeueIntervalSeconds": 1}}},
                "runMonitoring": {"pollIntervalSeconds": 5, "maxResumeRunAttempts": 1},
            },
            "postgresql": database,
        },
    }


def values_for_own_cluster(slow_teacher: str) -> dict[str, Any]:
    """Values over values-kind.yaml for a cluster whose nodes have the labels of `pools.py`."""
    return {
        "recipe": {"files": recipe_files(slow_teacher)},
        "cluster": cluster_values(),
        "severalNodes": {"enabled": True},
        "quota": _QUOTA,
        "dagster": {"concurrency": {"pools": {"defaultLimit": 4}, "runs": {"maxConcurrentRuns": 4}}},
    }
