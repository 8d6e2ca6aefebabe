"""Leaks in other clothes are found, and what is common beside different questions is no leak."""

import random
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.questions import QuestionSetError, Texts, compared_questions, find_leaks
from openthoughts_dagster.questions.question_sets import read_question_sets
from openthoughts_dagster.questions.review import sample_leaks, show_side_by_side
from openthoughts_dagster.recipe import Decontamination, Evaluation
from openthoughts_dagster_tests.questions.test_engine import WORDS

QUESTION = (
    "A circle of radius 7 touches both legs of a right triangle with legs 21 and 28; how far is its centre from the "
    "hypotenuse, and which of the two tangent segments is longer?"
)
PROMPT = (
    "You will be given a task. Read it twice, think about every part of it, write down what is known and what is "
    "wanted, and only then begin to answer; at the end check the result once more from the beginning. "
)
SOLVE = (
    "Solve the following problem step by step. The last line of your response should be of the form Answer: $ANSWER "
    "(without quotes) where $ANSWER is the answer to the problem.\n\n"
)


def _leaks(texts: Sequence[str], known: Sequence[str], **settings: object) -> list[int]:
    benchmarks = pl.DataFrame({"benchmark": ["b"] * len(known), "question": list(known)})
    return list(find_leaks(Texts.of(pl.Series(texts)), Decontamination.model_validate(settings), benchmarks).decisions)


def _prose(rng: random.Random, words: int = 20) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


@pytest.mark.parametrize("persona", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_leak_that_fills_many_rows_is_no_instruction(persona: bool, normalize: bool) -> None:
    rng = random.Random(1)
    leaked = [(f"You are {_prose(rng, 9)}. " if persona else f"Row {n}. ") + PROMPT + QUESTION for n in range(60)]
    texts = leaked + [_prose(rng) for _ in range(100)]
    assert _leaks(texts, [QUESTION], normalize=normalize, similarity=None) == list(range(60))
    assert _leaks(texts, [PROMPT + QUESTION], normalize=normalize, similarity=None) == list(range(60))


def test_short_questions_with_one_long_instruction_are_no_leaks() -> None:
    rng = random.Random(2)
    texts = [SOLVE + _prose(rng, 5) for _ in range(200)]
    known = [SOLVE + _prose(rng, 5) for _ in range(30)]
    assert _leaks(texts, known) == []
    assert _leaks([*texts, known[3]], known) == [200]
    assert len(_leaks(texts, known, common_share=None)) == 200


def test_a_copy_whose_instruction_cannot_be_recognized_is_a_leak() -> None:
    rng = random.Random(4)
    known = [SOLVE + _prose(rng, 20) for _ in range(30)]
    garbled = "".join("q" if at % 9 == 4 else letter for at, letter in enumerate(known[3]))
    assert _leaks([_prose(rng, 30), garbled], known, ngram=None) == [1]


def test_signs_in_a_row_counting_and_stock_phrases_are_no_leaks() -> None:
    table = "| a | b |\n|---|---|---|---|---|---|---|\n| 1 | 2 |\n"
    rng = random.Random(3)
    texts = [table + _prose(rng), "-" * 40 + _prose(rng), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 " + _prose(rng)]
    texts += ["请一步一步地思考并把最后的答案写出来。" + "春" * 30, ". " * 30 + _prose(rng)]
    known = [table + _prose(rng), "-" * 40 + _prose(rng), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 " + _prose(rng)]
    known += ["请一步一步地思考并把最后的答案写出来。小明有多少个苹果？", ". " * 30 + _prose(rng)]
    assert _leaks(texts, known, similarity=None) == []


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (r"Let \(x\) be such that \(x+3=7\) holds for one and only one number and find every such number below ten.",
         "Let $x$ be such that $x+3=7$ holds for one and only one number and find every such number below ten."),
        (QUESTION.upper(), QUESTION),
        ("\u200b".join(QUESTION), QUESTION),
        ("".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in QUESTION), QUESTION),
        (PROMPT + "What is the capital city of Burkina Faso? " + PROMPT, "What is the capital city of Burkina Faso?"),
        ("ช่วยตอบคำถามนี้ด้วยนะครับ " + "สมชายมีแอปเปิ้ลสามผลและแม่ให้เพิ่มอีกห้าผลตอนนี้เขามีแอปเปิ้ลทั้งหมดกี่ผล" * 1 + " ขอบคุณมากครับ",
         "สมชายมีแอปเปิ้ลสามผลและแม่ให้เพิ่มอีกห้าผลตอนนี้เขามีแอปเปิ้ลทั้งหมดกี่ผล"),
        ("كَمْ عَدَدُ الكُتُبِ الَّتِي قَرَأَهَا أَحْمَدُ فِي الصَّيْفِ إِذَا قَرَأَ كِتَابَيْنِ كُلَّ أُسْبُوعٍ لِمُدَّةِ شَهْرَيْنِ كَامِلَيْنِ",
         "كم عدد الكتب التي قرأها أحمد في الصيف إذا قرأ كتابين كل أسبوع لمدة شهرين كاملين"),
    ],
    ids=["latex delimiters", "capitals", "zero-width spaces", "full-width", "short in a long prompt", "thai", "arabic"],
)  # fmt: skip
def test_a_leak_in_other_clothes_is_found_unless_the_paper_is_followed(text: str, known: str) -> None:
    rng = random.Random(4)
    others = [_prose(rng) for _ in range(20)]
    assert _leaks([*others, _prose(rng, 40) + ".\n" + text + "\n" + _prose(rng, 40)], [known, *others[:0]]) == [20]
    assert _leaks([_prose(rng, 40) + ".\n" + text], [known], normalize=False) in ([], [0])


def test_short_questions_that_say_little_are_no_leaks() -> None:
    rng = random.Random(5)
    known = ["Which of the following is true?", *(f"Which of the following is {_prose(rng, 9)}?" for _ in range(300))]
    assert _leaks([_prose(rng) + ". Which of the following is true? " + _prose(rng)], known) == []


def test_sets_beside_the_benchmarks_are_read_from_files_and_data_sets(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text('{"question": "one"}\n{"question": " "}\n{"question": "one"}\n')
    nested = [{"turns": [{"role": "user", "content": "two"}, {"role": "assistant", "content": "no"}]}]
    pl.DataFrame(nested).write_parquet(tmp_path / "chat.parquet")
    (tmp_path / "set").mkdir()
    pl.DataFrame({"problem": ["three", None]}).write_ndjson(tmp_path / "set" / "train.jsonl")
    resolve = lambda path: str(tmp_path / path)  # noqa: E731

    settings = Decontamination(against=["old.jsonl", "chat.parquet:turns.0.content", "set:train:problem"])
    benchmarks = pl.DataFrame({"benchmark": ["b"], "question": ["zero"]})
    found = compared_questions(benchmarks, Evaluation.model_construct(benchmarks=[]), settings, resolve)

    assert found.rows() == [
        ("b", "zero", "b"), ("old.jsonl", "one", "old.jsonl"), ("chat.parquet", "two", "chat.parquet"),
        ("set", "three", "train"),
    ]  # fmt: skip
    with pytest.raises(QuestionSetError, match=r"(?s)none\.jsonl: .*no file at.*no column 'answer'; there are turns"):
        read_question_sets(["none.jsonl", "chat.parquet:answer"], resolve)


def test_a_sample_of_what_was_dropped_shows_both_texts_and_steers_no_terminal() -> None:
    row = {"stage": "deduped_questions", "question": "mine \x1b[2J ok", "reason": "benchmark_ngram"}
    evidence = '{"benchmark": "gsm8k", "split": "test", "shared": "ok", "text": "theirs"}'
    rejected = pl.DataFrame([{**row, "question_id": str(n), "evidence": evidence} for n in range(20)])
    drawn = sample_leaks(rejected.lazy(), 3, seed=1)
    assert drawn.height == 3 and drawn.equals(sample_leaks(rejected.lazy(), 3, seed=1))
    assert not drawn.equals(sample_leaks(rejected.lazy(), 3, seed=2))
    text = show_side_by_side(drawn, 80)
    assert "gsm8k (test): shares 'ok'" in text and "theirs" in text and "\x1b" not in text
