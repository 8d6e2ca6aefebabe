"""The fast paths decide what brute force decides, name what was matched, and do not take instructions for leaks."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from openthoughts_dagster.questions import Texts, deduplicate_sources, find_leaks
from openthoughts_dagster.questions.dedup import AcceptedError, accepted_questions, deduplicate
from openthoughts_dagster.questions.matching.duplicates import find_duplicates, plain
from openthoughts_dagster.questions.matching.tokens import WORD
from openthoughts_dagster.recipe import Decontamination, Dedup

WORDS = """
the river ran below old stone bridges where children threw bread at swans while merchants counted copper coins
under striped awnings nobody remembered who had built those towers or why bells rang twice each evening across
seven hills a teacher wrote long equations on slate and asked how many triangles fit inside one circle before
winter came sailors brought maps spices rumours of distant lands ships carried iron timber wool salt through narrow
straits engineers measured pressure heat voltage current with brass instruments doctors studied cells bones nerves
plants grew faster near warm springs farmers sold barley onions goats sheep every market day young painters mixed
blue pigment from crushed rock
""".split()  # noqa: SIM905 - read as text
PAPER = Dedup(method="fuzzy", same_numbers=False)


def _prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) + rng.choice(["", "", ",", " 7", " é", "\n"]) for _ in range(words))


def _edited(text: str, edits: int, rng: random.Random) -> str:
    letters = list(text)
    for _ in range(edits):
        at = rng.randrange(len(letters))
        letters[at : at + rng.randrange(2)] = rng.choice(["x", "", " ", "ü", "7"])
    return "".join(letters)


def corpus(seed: int, rows: int, shortest: int, longest: int) -> list[str]:
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(rows):
        if texts and rng.random() < 0.4:
            of = rng.choice(texts)
            texts.append(_edited(of, rng.randrange(0, max(1, len(of) // 12)), rng))
        else:
            texts.append(_prose(rng, rng.randint(shortest, longest)))
    return texts


@pytest.mark.parametrize(("shortest", "longest"), [(1, 3), (4, 12), (15, 60), (150, 400)])
def test_indexed_duplicates_are_those_of_comparing_all_pairs(shortest: int, longest: int) -> None:
    texts = Texts.of(pl.Series(corpus(shortest, 700, shortest, longest)))
    rank = np.random.default_rng(0).permutation(len(texts))
    fast = find_duplicates(texts, rank, PAPER)
    slow = find_duplicates(texts, rank, PAPER.model_copy(update={"brute_force": True}))

    found, right = (dict(zip(d.positions.tolist(), d.kept.tolist(), strict=True)) for d in (fast, slow))
    assert len(right) > 50 and set(found) <= set(right)
    assert len(found) >= 0.99 * len(right)
    assert sum(found.get(text) == kept for text, kept in right.items()) >= 0.97 * len(right)


def test_a_drop_names_a_text_that_is_as_similar_as_it_says_and_the_best_ranked_stays() -> None:
    from rapidfuzz import fuzz

    listed = corpus(5, 400, 8, 30)
    texts, rank = Texts.of(pl.Series(listed)), np.arange(400)[::-1].copy()
    found = find_duplicates(texts, rank, PAPER)
    for position, of, ratio, kept, exact in zip(
        found.positions, found.of, found.ratios, found.kept, found.exact, strict=True
    ):
        assert rank[kept] < rank[position] and kept not in set(found.positions)
        assert (
            plain(listed[position]) == plain(listed[of]) if exact else fuzz.ratio(listed[position], listed[of]) == ratio
        )


def test_a_family_of_thousands_that_differ_in_one_word_becomes_one_question() -> None:
    rng = random.Random(1)
    names = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(3_000)]
    family = [
        f"{n} has some apples and gives half of them to a friend. How many apples are left for {n}?" for n in names
    ]
    found = find_duplicates(Texts.of(pl.Series(family)), np.arange(3_000), PAPER)
    assert 3_000 - len(found.positions) <= 3


@pytest.mark.parametrize("texts", [[], [""], ["", "", "a"], ["\u3000", "x" * 100_000, "x" * 100_000 + "y"]])
def test_odd_texts_are_no_trouble(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    found = find_duplicates(Texts.of(series), np.arange(len(texts)), PAPER)
    assert len(found.positions) == (1 if len(texts) == 3 else 0)
    benchmarks = pl.DataFrame({"benchmark": ["b"], "question": ["y" * 100_000]})
    assert find_leaks(Texts.of(series), Decontamination(), benchmarks).decisions == {}


@pytest.mark.parametrize("words", [6, 40])
def test_indexed_leaks_are_those_of_comparing_with_every_benchmark_question(words: int) -> None:
    rng = random.Random(words)
    known = [_prose(rng, rng.randint(words // 2, words)) for _ in range(300)]
    texts = [
        _edited(rng.choice(known), rng.randrange(0, 3 * words), rng) if rng.random() < 0.5 else _prose(rng, words)
        for _ in range(600)
    ]
    benchmarks = pl.DataFrame({"benchmark": ["b"] * 300, "question": known})
    rule = Decontamination(ngram=5)
    fast = find_leaks(Texts.of(pl.Series(texts)), rule, benchmarks).decisions
    slow = find_leaks(Texts.of(pl.Series(texts)), rule.model_copy(update={"brute_force": True}), benchmarks).decisions
    assert len(slow) > 100
    assert set(fast) <= set(slow) and len(fast) >= 0.995 * len(slow)
    same = sum(
        fast[at].evidence.get("similarity") == why.evidence.get("similarity") for at, why in slow.items() if at in fast
    )
    assert same >= 0.98 * len(fast)


@pytest.mark.parametrize("first", [0x0E01, 0x0905, 0x4E00])  # Thai, Devanagari, Chinese
def test_copies_with_letters_changed_all_over_are_found_in_scripts_of_three_bytes(first: int) -> None:
    rng, letters = random.Random(first), [chr(first + n) for n in range(45)]
    known = ["".join(rng.choices(letters, k=rng.randint(100, 300))) for _ in range(200)]
    copies = ["".join(c if rng.random() > 0.15 else rng.choice(letters) for c in text) for text in known]
    benchmarks, rule = pl.DataFrame({"benchmark": ["b"] * 200, "question": known}), Decontamination(ngram=None)
    assert len(find_leaks(Texts.of(pl.Series(copies)), rule, benchmarks).decisions) == 200


def test_words_are_the_same_to_the_compiled_loop_and_to_the_definition() -> None:
    tricky = [
        "x²+1=0 naïve Ünïcode",
        "数学の問題 12",
        "a\u00a0b\u2009c\u3000d",
        "f(x)->y;",
        "€5 ½ 🙂🙂 αβγ дом",
        "tab\tnew\nline_1",
    ]
    benchmarks = pl.DataFrame({"benchmark": ["b"] * len(tricky), "question": tricky})
    for length in range(1, 7):
        rule = Decontamination(ngram=length, similarity=None, normalize=False, common_share=None)
        found = find_leaks(Texts.of(pl.Series([t.replace(" ", "\n ") for t in tricky])), rule, benchmarks).decisions
        assert set(found) == {at for at, text in enumerate(tricky) if len(WORD.findall(text)) >= length}


def test_an_instruction_that_a_source_and_a_benchmark_share_is_reported_and_no_leak() -> None:
    rng = random.Random(3)
    told = "Please reason step by step and put your final answer within the box at the end. "
    texts = [told + _prose(rng, 30) for _ in range(400)]
    known = [told + _prose(rng, 30) for _ in range(20)]
    texts[7] = told + known[3].removeprefix(told)[:150] + _prose(rng, 20)
    benchmarks = pl.DataFrame({"benchmark": ["b"] * 20, "question": known})
    for normalize in (False, True):
        found = find_leaks(
            Texts.of(pl.Series(texts)), Decontamination(similarity=None, normalize=normalize), benchmarks
        )
        assert list(found.decisions) == [7]
        assert found.instructions[0].questions == 400 and "reason step by step" in found.instructions[0].text
    every = find_leaks(Texts.of(pl.Series(texts)), Decontamination(similarity=None, common_share=None), benchmarks)
    assert len(every.decisions) == 400


def test_what_an_older_release_has_is_dropped_by_name(tmp_path: Path) -> None:
    pl.DataFrame({"question_id": ["old"], "question": ["Which prime comes after the number 7919?"]}).write_parquet(
        tmp_path / "v1.parquet"
    )
    accepted = accepted_questions([str(tmp_path / "v1.parquet")])
    texts = Texts.of(pl.Series(["Which prime comes after  the number 7919?", "something else", "something else "]))
    decisions = deduplicate(texts, pl.Series(["a", "b", "c"]), np.arange(3), Dedup(method="fuzzy"), accepted)
    assert {at: why.reason for at, why in decisions.items()} == {0: "accepted_fuzzy", 2: "duplicate_exact"}
    assert decisions[0].evidence["of"] == "old" and str(decisions[0].evidence["release"]).endswith("v1.parquet")
    copies = Texts.of(pl.Series(["Which prime comes after the number 7919? ", "something else", "something else"]))
    decisions = deduplicate(copies, pl.Series(["a", "b", "c"]), np.arange(3), Dedup(method="none"), accepted)
    assert {at: why.reason for at, why in decisions.items()} == {0: "accepted_exact"}  # a source may keep its own
    with pytest.raises(AcceptedError, match=r"nothing is at .*v2; relative paths start"):
        accepted_questions([str(tmp_path / "v2")])


def test_across_sources_the_one_that_comes_first_keeps_its_question() -> None:
    questions = pl.DataFrame(
        {"source": ["b", "a", "b"], "question_id": ["1", "2", "3"], "question": ["same", "same ", "other"]}
    )
    kept, dropped = deduplicate_sources(questions, Dedup(method="exact"), ["a", "b"])
    assert kept["question_id"].to_list() == ["2", "3"]
    assert dropped.row(0, named=True) == {
        "source": "b",
        "question_id": "1",
        "reason": "duplicate_exact",
        "of_source": "a",
        "of": "2",
        "similarity": 100.0,
    }


def test_texts_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    texts = pl.Series(corpus(9, 300, 3, 20))
    spilled = Texts.spill(iter([texts[:100], texts[100:]]), tmp_path / "texts")
    assert [spilled[at] for at in range(300)] == texts.to_list()
    some = np.array([3, 50, 299])
    assert [spilled.subset(some, tmp_path)[at] for at in range(3)] == texts.gather(some).to_list()
    assert (spilled.hashes() == Texts.of(texts).hashes()).all()


def test_tokens_of_a_model_count_where_the_recipe_names_it(untrained_model: Path) -> None:
    """The paper counts the tokens of a model: here one whose digits are tokens by themselves."""
    from openthoughts_dagster.questions.matching.tokens import model_tokens

    known, rng = "Compute 12345 + 67890 and explain.", random.Random(0)
    benchmarks = pl.DataFrame({"benchmark": ["b"], "question": [known]})
    texts = ["Tell me: 12345 + 67890 is what?", *(_prose(rng, 20) for _ in range(5))]
    tokenize = model_tokens(str(untrained_model))
    shared = len(tokenize(Texts.of(pl.Series([" 12345 + 67890 "]))).values)
    settings = Decontamination(ngram=shared - 2, similarity=None, tokenizer=str(untrained_model))

    by_tokens = find_leaks(Texts.of(pl.Series(texts)), settings, benchmarks)
    by_words = find_leaks(Texts.of(pl.Series(texts)), settings.model_copy(update={"tokenizer": None}), benchmarks)

    assert shared > len(WORD.findall("12345 + 67890")) and list(by_tokens.decisions) == [0] and not by_words.decisions
    with pytest.raises(ValueError, match=r"decontamination\.tokenizer: '\./nowhere' could not be loaded"):
        model_tokens("./nowhere")
