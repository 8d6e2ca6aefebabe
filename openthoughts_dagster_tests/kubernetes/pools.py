"""The three pools of the test's cluster, as clouds label and taint them, and the images that its nodes know."""

from pathlib import Path

from openthoughts_dagster_tests.kubelet import Image, Node, packages_without, program_image, python_image

POSTGRES_IMAGE = "docker.io/library/postgres:17.6"  # of which only pg_isready is used
CODE_IMAGE, GPU_IMAGE = "registry.test/openthoughts-code:1", "registry.test/openthoughts-gpu:1"
POOL = "openthoughts.test/pool"
PRODUCT = "nvidia.com/gpu.product"
H100 = "NVIDIA-H100-80GB-HBM3"
_GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def pools() -> list[Node]:
    """Two CPU nodes, two nodes of one GPU, and one node of eight."""
    cpu = [Node(f"cpu-{n}", cpus=16, memory="64Gi", labels={POOL: "cpu"}) for n in range(2)]
    single = {POOL: "gpu-1", PRODUCT: H100}
    one = [Node(f"gpu1-{n}", cpus=32, memory="256Gi", gpus=1, labels=single, taints=[_GPU_TAINT]) for n in range(2)]
    eight = Node(
        "gpu8-0",
        cpus=208,
        memory="1800Gi",
        disk="4Ti",
        gpus=8,
        labels={POOL: "gpu-8", PRODUCT: H100},
        taints=[_GPU_TAINT],
    )
    return [*cpu, *one, eight]


def images(folder: Path) -> dict[str, Image]:
    """The slim image, in which no model can run, and the one for GPUs; what they are made of is in `folder`."""
    models = ("torch", "vllm", "trl", "lighteval", "accelerate")  # it has transformers, for the tokenizers
    code, gpu = python_image(packages_without(folder / "code", models)), python_image()
    return {CODE_IMAGE: code, GPU_IMAGE: gpu, POSTGRES_IMAGE: program_image("/usr/lib/postgresql")}
