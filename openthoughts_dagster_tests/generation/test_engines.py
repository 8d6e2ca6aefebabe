"""What every engine promises, on a real tiny model."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from openthoughts_dagster.generation.engine import Engine, EngineError
from openthoughts_dagster.generation.generate import ledger_client
from openthoughts_dagster.generation.ledger_writer import Purpose
from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.reasoning import split_reasoning
from openthoughts_dagster.generation.requests import Answer, Completion, Prompt
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.recipe import ModelReference, RepetitionGuard, Sampling
from openthoughts_dagster_tests.generation.asking import complete

PROMPTS = [Prompt(f"What is {n} + {n}?", samples=3) for n in range(30)]
RATING = {
    "type": "object",
    "properties": {"difficulty": {"type": "integer", "enum": [1, 5, 10]}, "kind": {"enum": ["algebra", "geometry"]}},
    "required": ["difficulty", "kind"],
    "additionalProperties": False,
}
TEXTS = {
    "an empty question": "",
    "a NUL byte": "What is\x00 1 + 1?\x00",
    "right to left and combining marks": "\u202e\u0645\u0627 \u0647\u0648 e\u0301\u0323 + Z\u0351\u036b\u0343",
    "astral planes and joined emoji": "\U0001d6fc + \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\U000e0067",
    "unassigned, private and not characters": "\u0378 \ue000 \ufffe\uffff \U0010ffff",
    "controls and odd spaces": "\x01\x1b[31m\r\n\t\u2028\u2029\ufeff\u00a0\u200b\x7f",
    "markup of the model's own": "<|end|><|assistant|></think>{% raw %}{{ messages }}",
}


def _ask(lake: Lake, pool: EnginePool, model: Model, prompts: list[Prompt], sampling: Sampling) -> list[list[Answer]]:
    return ledger_client(lake, pool, model, sampling, Usage(), Purpose(), print)(prompts)


def _with_transformers(pool: EnginePool, folder: Path, prompts: list[Prompt], sampling: Sampling) -> list[Completion]:
    reference = ModelReference(name="tiny", model=str(folder), engine="transformers", dtype="float32")
    return complete(pool, locate(reference, Path()), prompts, sampling)


def test_every_sample_of_every_prompt_is_answered_once_and_recorded(lake: Lake, pool: EnginePool, model: Model) -> None:
    answers = _ask(lake, pool, model, PROMPTS, Sampling(max_tokens=12))

    assert [[a.sample_index for a in group] for group in answers] == [[0, 1, 2]] * len(PROMPTS)
    assert all(a.error is None and 0 < a.completion_tokens <= 12 and a.prompt_tokens > 0 for g in answers for a in g)
    rows = lake.scan(COMPLETIONS).collect()
    assert rows.select("key", "sample_index").n_unique() == rows.height == 90
    assert rows["engine"].str.contains(f'"name": "{model.reference.engine}"').all()


def test_samples_of_a_prompt_differ_and_a_long_answer_says_so(pool: EnginePool, model: Model) -> None:
    group = complete(pool, model, [Prompt("What is 1 + 1?", samples=40)], Sampling(max_tokens=30))

    assert len({a.text for a in group}) > 30
    assert {a.completion_tokens for a in group if a.finish_reason == "length"} == {30}
    assert all(a.completion_tokens <= 30 for a in group if a.finish_reason == "stop")
    assert {a.finish_reason for a in group} <= {"stop", "length"}


def test_a_higher_cap_goes_on_where_a_lower_one_cut_off_and_pays_for_the_rest(
    lake: Lake, pool: EnginePool, model: Model
) -> None:
    low, high, usage = Sampling(max_tokens=8, seed=5), Sampling(max_tokens=32, seed=5), Usage()
    before = [answer for [answer] in _ask(lake, pool, model, [Prompt(p.user) for p in PROMPTS], low)]
    ask = ledger_client(lake, pool, model, high, usage, Purpose(), print)
    after = [answer for [answer] in ask([Prompt(p.user) for p in PROMPTS])]
    cut = [answer.finish_reason == "length" for answer in before]
    assert 20 < sum(cut) == usage.generated
    if model.tokenizer() is None:  # the server renders the prompt
        return
    for was, now, is_cut in zip(before, after, cut, strict=True):
        begun, whole = ((one.reasoning or "") + one.answer for one in (was, now))
        assert now.error is None and whole.startswith(begun.rstrip("\ufffd"))
        assert is_cut or (whole, now.completion_tokens) == (begun, was.completion_tokens)
        assert now.completion_tokens == 32 or now.finish_reason == "stop"
    # a random model writes halves of letters, which are other tokens when their text is encoded again
    total = sum(now.completion_tokens for now, is_cut in zip(after, cut, strict=True) if is_cut)
    assert usage.completion_tokens < total - 3 * sum(cut)


def test_a_sample_does_not_depend_on_what_is_asked_beside_it(pool: EnginePool, model: Model) -> None:
    together = complete(pool, model, PROMPTS, Sampling(max_tokens=8))
    alone = complete(pool, model, PROMPTS[:1], Sampling(max_tokens=8))

    assert [a.text for a in alone] == [a.text for a in together[:3]]


def test_a_prompt_that_is_too_long_is_a_permanent_error_and_the_others_go_on(pool: EnginePool, model: Model) -> None:
    short, long, huge = complete(
        pool, model, [Prompt("7"), Prompt("7 " * 2000), Prompt("1 + 1 = 2; " * 95_000)], Sampling(max_tokens=5)
    )

    assert short.error is None and not short.permanent
    for refused in (long, huge):
        assert refused.finish_reason == "error" and refused.permanent and refused.retries == 0
        assert "tokens" in str(refused.error) and "1,024" in str(refused.error).replace("1024", "1,024")


def test_a_prompt_that_leaves_less_than_max_tokens_is_answered_in_the_room_there_is(
    pool: EnginePool, model: Model
) -> None:
    [cut] = complete(pool, model, [Prompt("7" * 1000)], Sampling(max_tokens=800))

    assert cut.error is None and cut.prompt_tokens + cut.completion_tokens <= 1024


def test_prompts_longer_than_one_step_of_the_scheduler_keep_their_seeds(pool: EnginePool, model: Model) -> None:
    # vLLM 0.30 on CPUs dies here when it prefills prompts in chunks
    completions = complete(pool, model, [Prompt(f"{n:02d} " * 300) for n in range(100)], Sampling(max_tokens=3))

    assert all(c.error is None for c in completions)


def test_all_engines_read_a_prompt_the_same_way(pool: EnginePool, model: Model, untrained_model: Path) -> None:
    prompts, greedy = [Prompt(f"{n} + 8") for n in range(8)], Sampling(temperature=0, max_tokens=6)

    ours, theirs = complete(pool, model, prompts, greedy), _with_transformers(pool, untrained_model, prompts, greedy)

    assert [c.text for c in ours] == [c.text for c in theirs]
    assert [c.prompt_tokens for c in ours] == [c.prompt_tokens for c in theirs]
    assert [c.completion_tokens for c in ours] == [c.completion_tokens for c in theirs]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_unicode_is_asked_as_it_is(
    pool: EnginePool, model: Model, untrained_model: Path, lake: Lake, text: str
) -> None:
    greedy = Sampling(temperature=0, max_tokens=6)
    [[answer]] = _ask(lake, pool, model, [Prompt(text)], greedy)
    [reference] = _with_transformers(pool, untrained_model, [Prompt(text)], greedy)

    assert answer.error is None
    parts = split_reasoning(reference.text, reference.request.prompt)
    assert (answer.reasoning, answer.answer, answer.prompt_tokens) == (
        parts.reasoning,
        parts.answer,
        reference.prompt_tokens,
    )


def test_half_a_surrogate_pair_is_an_error_of_its_request_only(pool: EnginePool, model: Model) -> None:
    broken, fine = complete(pool, model, [Prompt("\ud83d"), Prompt("1")], Sampling(max_tokens=3))

    assert broken.permanent and "half a surrogate pair" in str(broken.error)
    assert fine.error is None


def test_json_follows_its_schema(pool: EnginePool, model: Model) -> None:
    completions = complete(pool, model, [Prompt("Rate this.", 6, json_schema=RATING)], Sampling(max_tokens=300))

    assert {c.finish_reason for c in completions} == {"stop"}
    for completion in completions:
        jsonschema.validate(json.loads(completion.text), RATING)
    assert len({json.dumps(json.loads(c.text), sort_keys=True) for c in completions}) > 1


def test_json_that_is_cut_off_is_an_error_that_keeps_its_text(pool: EnginePool, model: Model) -> None:
    [cut] = complete(pool, model, [Prompt("Rate this.", json_schema=RATING)], Sampling(max_tokens=4))

    assert cut.finish_reason == "length" and cut.permanent and cut.text and cut.completion_tokens == 4
    assert "the reply is not the JSON that was asked for" in str(cut.error)


def test_a_thinking_budget_closes_the_reasoning_and_an_answer_follows(
    pool: EnginePool, model: Model, untrained_model: Path
) -> None:
    sampling = Sampling(max_tokens=400, thinking_budget=9)
    completions = complete(pool, model, [Prompt("Think first. 1 + 1?", 12)], sampling)

    for completion in completions:
        parts = split_reasoning(completion.text, completion.request.prompt)
        assert parts.reasoning and parts.answer
    assert "thinking_budget" in {c.finish_reason for c in completions}
    assert {c.finish_reason for c in completions} <= {"thinking_budget", "length", "stop"}
    assert all(c.error is None for c in completions)
    for completion in complete(pool, model, [Prompt("1 + 1?", 12)], sampling):
        assert completion.finish_reason in ("stop", "length") or "<think>" in completion.text


def test_going_round_in_circles_ends_a_completion_at_the_same_token_in_every_engine(
    pool: EnginePool, model: Model, untrained_model: Path
) -> None:
    guard = RepetitionGuard(times=4, shortest=2, longest=12)
    sampling, prompts = Sampling(temperature=0, max_tokens=120, repetition=guard), [Prompt(f"{n}?") for n in range(6)]

    ours, theirs = (
        complete(pool, model, prompts, sampling),
        _with_transformers(pool, untrained_model, prompts, sampling),
    )

    assert "repetition" in {c.finish_reason for c in ours}
    assert [(c.finish_reason, c.completion_tokens) for c in ours] == [
        (c.finish_reason, c.completion_tokens) for c in theirs
    ]


def test_an_engine_says_what_answers(pool: EnginePool, model: Model) -> None:
    async def describe(engine: Engine) -> dict[str, object]:
        return engine.describe()

    described = pool.run(model, describe, print)

    assert described["name"] == model.reference.engine
    assert described["version"] and {"dtype", "tensor_parallel"} <= set(described)
    assert described["max_model_len"] == 1024
    json.dumps(described)


def test_a_thinking_budget_without_tags_to_close_it_is_refused(
    pool: EnginePool, untrained_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(untrained_model, tmp_path / "tagless"))
    text = (folder / "tokenizer.json").read_text().replace("<think>", "<other>").replace("</think>", "</other>")
    (folder / "tokenizer.json").write_text(text)

    with pytest.raises(EngineError, match=r"tiny: sampling\.thinking_budget is set, but the model has no tokens"):
        _with_transformers(pool, folder, [Prompt("1")], Sampling(max_tokens=5, thinking_budget=2))


def test_a_missing_checkpoint_folder_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"mine: the model folder .*/nowhere does not exist.*correct `model`"):
        locate(ModelReference(name="mine", model=str(tmp_path / "nowhere")), tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(EngineError, match=r"lacks tokenizer_config\.json"):
        locate(ModelReference(name="mine", model="./half"), tmp_path)
    with pytest.raises(EngineError, match=r"mine: the tokenizer folder .*/gone does not exist.*correct `tokenizer`"):
        locate(ModelReference(name="mine", model="served", engine="openai", tokenizer="./gone"), tmp_path)


def test_a_copied_checkpoint_is_the_same_model(untrained_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(untrained_model, tmp_path / "copy"))
    here, there = (locate(ModelReference(name="m", model=str(path)), Path()) for path in (untrained_model, copy))
    assert here.identity.partition == there.identity.partition
