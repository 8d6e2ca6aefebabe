"""Scores on real classifiers, encoders and replies: deterministic, and never guessed."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.generation.reasoning import join_reasoning
from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.lake import EMBEDDINGS, RAW_SOURCES, Lake
from openthoughts_dagster.questions.classifier import fasttext_scores
from openthoughts_dagster.questions.dedup import AcceptedError, accepted_questions
from openthoughts_dagster.questions.embeddings import EmbeddingError, embedding_scores, local_encoder
from openthoughts_dagster.questions.examples import ExamplesError, read_examples
from openthoughts_dagster.questions.scoring import ScoringContext, score_questions
from openthoughts_dagster.recipe import (
    AskLlmScore,
    DifficultyScore,
    EmbeddingScore,
    Examples,
    FastTextScore,
    ResponseLengthScore,
    read_score_prompt,
)
from openthoughts_dagster.recipe.prompts import PromptFileError
from openthoughts_dagster_tests.loopback import QuietHandler, serving

SUMS = [f"What is {a} plus {b} when both are counted in apples?" for a in range(2, 22) for b in (3, 5, 8)]
POEMS = [f"Write a poem of {a} lines about the sea and the colour {b}." for a in range(2, 22) for b in ("red", "blue")]
ANY = Examples(paths=["unused.jsonl"])


def test_fasttext_learns_the_kinds_and_gives_the_same_numbers_again() -> None:
    settings = FastTextScore(
        name="f", method="fasttext", positives=ANY, negatives=ANY, dimensions=16, epochs=20, min_count=1
    )
    asked = ["What is 40 plus 2 in apples?", "Write a poem about the blue sea.", ""]
    scores = fasttext_scores(asked, SUMS, POEMS, settings)
    assert scores[0] > 0.8 and scores[1] < 0.2
    assert fasttext_scores(asked, SUMS[::-1], POEMS[::-1], settings) == scores


def test_embeddings_of_a_local_encoder_are_nearer_to_what_is_alike(untrained_model: Path, tmp_path: Path) -> None:
    settings = EmbeddingScore(
        name="e", method="embedding", model=str(untrained_model), positives=ANY, negatives=ANY, batch_size=2
    )
    lake, asked = Lake(tmp_path), [SUMS[0], POEMS[0], SUMS[1]]
    scores = embedding_scores(asked, SUMS[2:12], POEMS[2:12], settings, lake)
    assert scores[0] > scores[1] and scores[2] > scores[1]
    assert embedding_scores(asked[::-1], SUMS[2:12], POEMS[2:12], settings, lake) == scores[::-1]
    rows = lake.scan(EMBEDDINGS).collect()
    assert rows.height == 23
    lake.append(EMBEDDINGS, rows.head(9))  # as when two sources are scored at once
    assert embedding_scores(asked, SUMS[2:12], POEMS[2:12], settings, lake) == scores
    with pytest.raises(EmbeddingError, match=r"scores\.e\.model: '/nowhere' could not be loaded"):
        embedding_scores(["a"], ["b"], ["c"], settings.model_copy(update={"model": "/nowhere"}), lake)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_vectors_are_those_of_the_plain_text_though_the_model_has_a_chat_template(
    untrained_model: Path, pooling: Literal["mean", "first", "last"]
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["What is 2 + 3?", "two roses and a pen " * 300, "x", "ünïcode 💔 " * 3]
    settings = EmbeddingScore(
        name="e", method="embedding", model=str(untrained_model), positives=ANY, negatives=ANY, pooling=pooling
    )
    vectors = np.concatenate(list(local_encoder(settings).embed(texts)))
    tokenizer, model = AutoTokenizer.from_pretrained(untrained_model), AutoModel.from_pretrained(untrained_model).eval()
    for text, vector in zip(texts, vectors, strict=True):  # one by one: nothing is padded
        tokens = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            states = model(input_ids=tokens).last_hidden_state[0]
        wanted = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[pooling]
        assert np.abs(vector - (wanted / wanted.norm()).numpy()).max() < 1e-5


class _Embeddings(ThreadingHTTPServer):
    """Counts letters, is busy the first time, and ends with the request for a text that says so."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.busy, self.embedded, self.letters = True, list[str](), "abcdefgh"


class _Handler(QuietHandler):
    server: _Embeddings

    def do_POST(self) -> None:
        texts = json.loads(self.read())["input"]
        if self.server.busy:
            self.server.busy = False
            return self.send_error(429)
        if "broken" in texts:
            return self.send_error(400)
        self.server.embedded += texts
        rows = [[float(text.count(letter)) for letter in self.server.letters] or [math.nan] for text in texts]
        data = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
        return self.send_json(200, {"data": data[::-1]})


@pytest.fixture
def embeddings_server() -> Iterator[_Embeddings]:
    with serving(_Embeddings()) as server:
        yield server


def _of_server(server: _Embeddings) -> EmbeddingScore:
    address = f"http://127.0.0.1:{server.server_port}/v1"
    common = {"positives": ANY, "negatives": ANY, "batch_size": 3}
    return EmbeddingScore(name="e", method="embedding", model="letters", engine="openai", base_url=address, **common)


def test_a_server_embeds_and_is_asked_again_while_it_is_busy(embeddings_server: _Embeddings, tmp_path: Path) -> None:
    settings = _of_server(embeddings_server)
    scores = embedding_scores(["aaa", "bbb", "ab", "a"], ["aaaa"], ["bb"], settings, Lake(tmp_path))
    assert scores == pytest.approx([1, -1, 0, 1], abs=1e-6)


def test_what_a_server_embedded_is_not_asked_for_again_also_after_an_error(
    embeddings_server: _Embeddings, tmp_path: Path
) -> None:
    settings, lake = _of_server(embeddings_server), Lake(tmp_path)
    with pytest.raises(EmbeddingError, match="400"):
        embedding_scores(["aa", "ab", "ac", "broken"], ["aaaa"], ["bb"], settings, lake)
    assert embeddings_server.embedded == ["aa", "ab", "ac"]
    embeddings_server.letters, letters = "", embeddings_server.letters
    with pytest.raises(EmbeddingError, match="not finite"):
        embedding_scores(["ad"], ["aaaa"], ["bb"], settings, lake)
    embeddings_server.letters, embeddings_server.embedded = letters, ["aa", "ab", "ac"]

    embedding_scores(["aa", "ab", "ac", "ad"], ["aaaa"], ["bb"], settings, lake)

    assert sorted(embeddings_server.embedded) == ["aa", "aaaa", "ab", "ac", "ad", "bb"]


def test_a_server_with_another_model_of_the_same_name_is_told(embeddings_server: _Embeddings, tmp_path: Path) -> None:
    settings, lake = _of_server(embeddings_server), Lake(tmp_path)
    embedding_scores(["aa"], ["aaaa"], ["bb"], settings, lake)
    embeddings_server.letters = "abc"

    with pytest.raises(EmbeddingError, match=r"have 3 and 8 numbers: it is another model now.*table embeddings"):
        embedding_scores(["aa", "ab"], ["aaaa"], ["bb"], settings, lake)


def _questions(*texts: str) -> pl.DataFrame:
    rows = [
        dict.fromkeys(RAW_SOURCES.columns, "") | {"source": "s", "question_id": str(at), "question": text}
        for at, text in enumerate(texts)
    ]
    return pl.DataFrame(rows, schema=RAW_SOURCES.schema)


def test_a_judge_sees_both_kinds_of_examples_and_answers_in_prose_count_as_failed() -> None:
    asked: list[Prompt] = []

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        asked.extend(prompts)
        replies = [
            "I would say it is worth about 80 points." if "prose" in p.user else '{"score": 64, "reasoning": "."}'
            for p in prompts
        ]
        return [[Answer("k", 0, None, reply, "stop", None, 1, 1)] for reply in replies]

    score = AskLlmScore(name="a", method="ask_llm", judge="j", positives=ANY, negatives=ANY, shown=2)
    examples = iter([["good 1", "good {question}", "good 3"], ["bad"]])
    read = lambda score: read_score_prompt(score, str)  # noqa: E731
    means = ScoringContext(lambda _: ask, read, lambda _: next(examples), Lake("unused"))
    scored = score_questions(_questions("plain", "prose {positives}"), [score], means)

    assert [json.loads(row)["a"] for row in scored.questions["scores"]] == [64, None]
    assert scored.failed == {"a": 1}
    assert len(asked) == 4 and [p.first_sample for p in asked if "prose" in p.user] == [0, 1, 2]
    assert asked[0].user.count("Example 1") == 2 and "prose {positives}" in asked[1].user
    assert asked[0].json_schema is not None and asked[0].json_schema["required"] == ["score"]


def test_examples_come_from_sources_that_were_read_and_from_files(lake: Lake, tmp_path: Path) -> None:
    lake.append(RAW_SOURCES, _questions("one", "two", "one"))
    (tmp_path / "more.jsonl").write_text('{"question": "three"}\n{"question": " "}\n')
    resolve = lambda path: os.fspath(tmp_path / path)  # noqa: E731
    assert read_examples(lake, resolve, Examples(sources=["s"], paths=["more.jsonl"])) == ["one", "three", "two"]
    few = read_examples(lake, resolve, Examples(sources=["s"], paths=["more.jsonl"], count=2))
    assert len(few) == 2 and few == read_examples(lake, resolve, Examples(sources=["s"], paths=["more.jsonl"], count=2))
    with pytest.raises(ExamplesError, match="materialize its raw_sources"):
        read_examples(lake, resolve, Examples(sources=["later"]))
    (tmp_path / "more.jsonl").write_text("")
    with pytest.raises(ExamplesError, match=r"the examples of more\.jsonl have no question"):
        read_examples(lake, resolve, Examples(paths=["more.jsonl"]))


def test_examples_and_older_releases_are_read_like_any_json_lines(lake: Lake, tmp_path: Path) -> None:
    data = Path(__file__).parent / "data"
    examples = Examples(paths=["rel_mixed.jsonl", "rel_bom.jsonl", "bench_ok.jsonl"])
    assert len(read_examples(lake, lambda path: str(data / path), examples)) == 202 + 1 + 1
    accepted = accepted_questions([str(data / name) for name in examples.paths])
    assert accepted.height == 204 and accepted["question_id"][:2].to_list() == ["0", "1"]
    assert set(accepted["question"]) >= {"q201", "a", "a\u2028b\x85c\ufffd"}
    wrapped = tmp_path / "wrapped.json"
    wrapped.write_text('{"data": [{"question": "a"}]}')
    with pytest.raises(
        ExamplesError, match=r"wrapped\.json is a JSON document that is no list of rows: write the rows"
    ):
        read_examples(lake, str, Examples(paths=[str(wrapped)]))
    with pytest.raises(AcceptedError, match=r"dedup\.against: .*none\.jsonl cannot be read: .*no file at"):
        accepted_questions([str(data / "none.jsonl")])


@pytest.mark.parametrize("name", ["code_difficulty", "math_difficulty", "science_difficulty"])
def test_shipped_prompts_are_found_by_name_from_any_recipe(name: str, tmp_path: Path) -> None:
    score = DifficultyScore(name="d", method="difficulty", judge="j", prompt=name)
    assert "{question}" in read_score_prompt(score, lambda path: str(tmp_path / path))
    with pytest.raises(PromptFileError, match=r"scores\.d\.prompt: the prompt file .*/no\.md cannot be read: No such"):
        read_score_prompt(score.model_copy(update={"prompt": "no.md"}), lambda path: str(tmp_path / path))


def _context(template: str, asked: list[str], reply: str = '{"difficulty": 4}') -> ScoringContext:
    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        asked.extend(prompt.user for prompt in prompts)
        return [[Answer("k", 0, "think hard", reply, "stop", None, 1, 7)] for _ in prompts]

    return ScoringContext(lambda _: ask, lambda _: template, lambda _: [], Lake("unused"))


def _with_answers(questions: pl.DataFrame, *answers: str | None) -> pl.DataFrame:
    return questions.with_columns(reference_answer=pl.Series(answers, dtype=pl.String))


def _values(questions: pl.DataFrame, score: DifficultyScore | ResponseLengthScore, context: ScoringContext) -> object:
    return [json.loads(row)[score.name] for row in score_questions(questions, [score], context).questions["scores"]]


def test_a_difficulty_prompt_shows_the_sources_answer_and_never_a_slot() -> None:
    questions = _with_answers(_questions("1+{answer}?", "2+2?"), "{question}", None)
    score, asked = DifficultyScore(name="d", method="difficulty", judge="j", prompt="p.md"), list[str]()
    assert _values(questions, score, _context("{question} is {answer}", asked)) == [4, None]
    assert asked == ["1+{answer}? is {question}"]
    asked.clear()
    assert _values(questions, score, _context("{question} is {answer?}.", asked)) == [4, 4]
    assert asked == ["1+{answer}? is {question}.", "2+2? is ."]
    with pytest.raises(ValueError, match=r"scores\.d\.prompt shows \{answer\}, and no question of s has an answer"):
        _values(_with_answers(questions, None, None), score, _context("{question} {answer}", asked))


def test_lengths_are_of_the_judges_or_the_sources_answer_in_the_unit_that_was_asked_for(untrained_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(untrained_model)
    questions = _with_answers(_questions("a", "b"), "one two  three", None)
    reply = join_reasoning("think hard", "four words are here")
    tokens = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (reply, "one two  three")]
    rows: list[tuple[dict[str, object], list[object]]] = [
        ({"judge": "j"}, [len(reply)] * 2),
        ({"judge": "j", "unit": "words"}, [len(reply.split())] * 2),
        ({"judge": "j", "unit": "tokens"}, [7, 7]),  # as the engine counted
        ({"judge": "j", "unit": "tokens", "tokenizer": str(untrained_model)}, [tokens[0]] * 2),
        ({"of": "source"}, [14, None]),
        ({"of": "source", "unit": "words"}, [3, None]),
        ({"of": "source", "unit": "tokens", "tokenizer": str(untrained_model)}, [tokens[1], None]),
    ]
    for settings, lengths in rows:
        asked = list[str]()
        score = ResponseLengthScore.model_validate({"name": "l", "method": "response_length", **settings})
        assert _values(questions, score, _context("", asked, "four words are here")) == lengths, settings
        assert asked == (["a", "b"] if score.judge else [])
    with pytest.raises(ValueError, match=r"no question of s has an answer: set columns\.answer"):
        score = ResponseLengthScore(name="l", method="response_length", of="source")
        _values(_with_answers(questions, None, None), score, _context("", []))
