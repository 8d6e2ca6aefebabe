"""Parts that many tests share: a lake in a temporary folder, and a tiny model on disk."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library of Hugging Face is imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests run side by side

from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.lake import Lake
from openthoughts_dagster_tests.object_store import ObjectStore, object_store
from openthoughts_dagster_tests.processes import ProcessGuard
from openthoughts_dagster_tests.scheduling import rank_of, scheduler_by_group

EVERYTHING = bool(os.environ.get("OPENTHOUGHTS_TEST_EVERYTHING"))


def pytest_configure(config: pytest.Config) -> None:
    """Watch over the processes and threads of all tests."""
    config.pluginmanager.register(ProcessGuard())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, tests are shared out by the groups of `scheduling.py`."""
    return scheduler_by_group(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, the longest groups begin first."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: rank_of(item.nodeid))


def skip_without(part: str, present: bool, remedy: str) -> None:
    """Skip with one line when a part is absent; fail where everything has to be tested."""
    if not present:
        (pytest.fail if EVERYTHING else pytest.skip)(f"{part} is not installed: {remedy}")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def store_server() -> Iterator[ObjectStore]:
    """An S3 server on loopback for the whole session; tests take `store`."""
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3]' flask flask-cors")
    with object_store() as store:
        yield store


@pytest.fixture
def store(store_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An S3 server that this process's environment leads to, with empty buckets `lake` and `files`."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # one of another test's server would be taken
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in store_server.environment.items():
        monkeypatch.setenv(name, value)
    return store_server.emptied("lake", "files")


@pytest.fixture(scope="session")
def pool() -> Iterator[EnginePool]:
    """Engines for the whole session: vLLM takes half a minute to start."""
    pool = EnginePool()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a tiny model with random weights: its answers are noise, and nothing else is fake."""
    return untrained_models(tmp_path_factory.mktemp("models"), "untrained") / "untrained"


def untrained_models(folder: Path, *names: str) -> Path:
    """`folder` with a checkpoint folder for each name: tiny models with random weights of their own."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from openthoughts_dagster.quickstart.problems import FAMILIES, problems_of
    from openthoughts_dagster.quickstart.tokenizer import CHAT_TEMPLATE, save_tokenizer, train_tokenizer

    tokenizer = train_tokenizer([p.question for family in FAMILIES for p in problems_of(family, 100, 1)])
    # like the templates of reasoning models, it opens the reasoning; here only when it is asked to
    opens = "{% if add_generation_prompt and 'Think first' in messages[-1]['content'] %}<think>{% endif %}"
    tokenizer.chat_template = CHAT_TEMPLATE + opens
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        Qwen3ForCausalLM(config).save_pretrained(folder / name)
        save_tokenizer(tokenizer, folder / name)
    return folder
