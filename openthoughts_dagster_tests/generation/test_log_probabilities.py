"""How likely a model finds texts, compared with the loss that transformers computes."""

from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.answers.filter_context import FilterContext, FilterTools
from openthoughts_dagster.answers.filters import dropped_answers
from openthoughts_dagster.generation.log_probabilities import compute_mean_log_probabilities
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import ModelReference
from openthoughts_dagster.recipe.answers import LikelyAnswers
from openthoughts_dagster_tests.answers.rows import completion_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the quickstart's shape, with its tokenizer."""
    import torch

    from openthoughts_dagster.quickstart.problems import problems_of
    from openthoughts_dagster.quickstart.tiny_models import _new_model
    from openthoughts_dagster.quickstart.tokenizer import save_tokenizer, train_tokenizer

    path = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(problem.question for problem in problems_of("chain_sum", 100, 0))
    torch.manual_seed(0)
    _new_model(tokenizer).save_pretrained(path)
    save_tokenizer(tokenizer, path)
    return path


def test_the_mean_is_over_the_tokens_of_the_answer_whatever_the_batch(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = locate(ModelReference(name="s", model=str(folder), engine="transformers"), folder)
    questions, texts = ["What is 1 + 1?", "1", "Why?"], ["<think>one and one</think>2", "", "because of it " * 9]
    values = compute_mean_log_probabilities(model, questions, texts, max_tokens=20)
    assert values[1] is None

    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), model.tokenizer()
    for place in (0, 2):
        prompt = tokenizer.encode(model.render([{"role": "user", "content": questions[place]}]))
        answer = tokenizer.encode(texts[place], add_special_tokens=False)[:20]
        labels = torch.tensor([[-100] * len(prompt) + answer])
        loss = network(input_ids=torch.tensor([prompt + answer]), labels=labels).loss
        assert values[place] == pytest.approx(-loss.item(), abs=1e-5)


def test_the_answer_that_is_likeliest_under_the_student_is_kept(folder: Path, lake: Lake) -> None:
    model = locate(ModelReference(name="s", model=str(folder), engine="transformers"), folder)
    texts, ids = ["2 2 2 2", "one and one are two", "What?"], ["i0", "i1", "i2"]
    lake.append(COMPLETIONS, completion_rows("m@1", ids, texts, [None] * 3))
    names = {"source": ["s"] * 3, "question_id": ["q"] * 3, "model": ["m@1"] * 3, "completion_id": ids}
    answers = pl.DataFrame(names | {"sample_index": pl.Series(range(3), dtype=pl.Int32)})
    questions = pl.LazyFrame({"source": ["s"], "question_id": ["q"], "question": ["1 + 1?"]})
    context = FilterContext(lake, answers, questions, FilterTools(student=lambda: model))
    dropped = dropped_answers(LikelyAnswers(method="likely", count=1), context).sort("sample_index")

    values = compute_mean_log_probabilities(model, ["1 + 1?"] * 3, texts, 4096)
    best = max(range(3), key=lambda n: values[n] or 0.0)
    assert dropped["sample_index"].to_list() == [n for n in range(3) if n != best]
    assert all("likeliest, mean log-probability -" in text for text in dropped["evidence"])
