"""The whole way with real parts: a model, its engine, the ledger, lighteval."""

from pathlib import Path

import pytest

from openthoughts_dagster.evaluation import evaluate
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Evaluation, FileBenchmark, ModelReference, Sampling
from openthoughts_dagster_tests.evaluation.helpers import json_lines


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of some 10,000 random parameters that reads and writes characters."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("model")
    symbols = ["<pad>", "<end>", "<unk>", *"0123456789+?=QA: "]
    tokens = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = "{% for message in messages %}Q:{{ message.content }} A:{% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(symbols), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_second_evaluation_reuses_every_answer_and_more_repeats_ask_only_for_the_rest(
    random_model: Path, tmp_path: Path
) -> None:
    path = json_lines(tmp_path / "b.jsonl", [{"question": f"{i}+1?", "answer": i + 1} for i in range(6)])
    lake, pool = Lake(tmp_path / "lake"), EnginePool()
    model = locate(ModelReference(name="random", model=str(random_model), engine="transformers"), tmp_path)
    spent = []
    results = []
    for repeats in (2, 2, 3):
        evaluation = Evaluation(
            benchmarks=[FileBenchmark(kind="file", name="sums", path=str(path), repeats=repeats)],
            sampling=Sampling(temperature=1.0, max_tokens=4),
        )
        cost = Usage()
        ask = ledger_client(lake, pool, model, evaluation.sampling, cost, Purpose(), lambda _: None)
        results.append(evaluate(evaluation, str, ask, tmp_path / "out", "random").items)
        spent.append((cost.generated, cost.reused))
    pool.close()
    assert spent == [(12, 0), (0, 12), (6, 12)]
    assert results[0].equals(results[1])
    assert results[0]["item"].to_list() == results[2]["item"].to_list()
    assert results[2]["score"].is_between(0, 1).all()
