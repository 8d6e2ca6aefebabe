"""What is selected, what is dropped, and that everything dropped says why."""

import json
from collections.abc import Sequence

import polars as pl
import pytest

from openthoughts_dagster.generation.requests import Answer, AskModel, Prompt
from openthoughts_dagster.lake import SCORED_QUESTIONS, Lake
from openthoughts_dagster.questions import Curated, NothingLeftError, Texts, curate, find_leaks, score_questions
from openthoughts_dagster.questions.curated import MissingScoresError
from openthoughts_dagster.questions.scoring import ScoringContext
from openthoughts_dagster.recipe import Decontamination, Dedup, DifficultyScore, DomainQuestions, Selection

NOTHING = Decontamination(ngram=None, similarity=None)
NO_BENCHMARKS = pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String})


def _scored(*questions: tuple[str, float | None]) -> pl.DataFrame:
    rows = [
        {
            "source": "s",
            "question_id": f"id{number}",
            "domain": "math",
            "question": text,
            "reference_answer": None,
            "licence": "MIT",
            "origin": "{}",
            "metadata": "{}",
            "scores": json.dumps({"difficulty": score}),
        }
        for number, (text, score) in enumerate(questions)
    ]
    return pl.DataFrame(rows, schema=SCORED_QUESTIONS.schema)


def _texts(*questions: str) -> Texts:
    return Texts.of(pl.Series(questions, dtype=pl.String))


def _benchmark(*questions: str) -> pl.DataFrame:
    return pl.DataFrame({"benchmark": ["b"] * len(questions), "question": list(questions)})


def _settings(count: int = 99, **dedup: object) -> DomainQuestions:
    return DomainQuestions(
        selection=Selection(by="difficulty", count=count), dedup=Dedup.model_validate({"method": "exact"} | dedup)
    )


def _rate(ask: AskModel, attempts: int, *texts: str) -> list[float | None]:
    """Let a judge rate questions, and check that what failed is counted."""
    score = DifficultyScore(name="d", method="difficulty", judge="j", prompt="p", attempts=attempts)
    context = ScoringContext(lambda _: ask, lambda _: "Rate: {question}", lambda _: [], Lake("unused"))
    scored = score_questions(_scored(*((text, 0) for text in texts)).drop("scores"), [score], context)
    rated = [json.loads(row)["d"] for row in scored.questions["scores"]]
    assert scored.failed == {"d": rated.count(None)}
    return rated


def test_the_top_is_by_rank_with_ties_by_id_and_failed_scores_last() -> None:
    scored = _scored(("a", 3), ("b", None), ("c", 9), ("d", 3), ("e", 3))
    curated = curate(scored, _settings(3), NOTHING, NO_BENCHMARKS)

    assert curated.questions["question"].to_list() == ["c", "a", "d"]
    assert dict(curated.rejected.select("question", "reason").rows()) == {"e": "below_cut", "b": "no_score"}
    for none in (_scored(("a", None), ("b", None)), _scored(("a", 3)).with_columns(scores=pl.lit('{"other": 3}'))):
        with pytest.raises(MissingScoresError, match="has the score 'difficulty' that selection"):
            curate(none, _settings(3), NOTHING, NO_BENCHMARKS)


def test_a_domain_without_a_selection_keeps_all_but_duplicates() -> None:
    curated = curate(_scored(("a", 3), ("b", None), ("a", 9)), DomainQuestions(), NOTHING, NO_BENCHMARKS)
    assert curated.questions["question"].sort().to_list() == ["a", "b"]
    assert curated.funnel == {"scored": 3, "selected": 3, "decontaminated": 3, "deduplicated": 2}


def test_of_duplicates_the_best_scored_stays_and_the_others_name_it() -> None:
    scored = _scored(("what is 1 + 1?", 2), (" what is 1 + 1? ", 8), ("other", 5))
    curated = curate(scored, _settings(), NOTHING, NO_BENCHMARKS)

    assert curated.questions["question_id"].to_list() == ["id1", "id2"]
    [evidence] = curated.rejected["evidence"]
    assert curated.rejected["reason"].to_list() == ["duplicate_exact"] and json.loads(evidence)["of"] == "id1"


def test_fuzzy_duplicates_are_those_at_or_above_the_similarity() -> None:
    scored = _scored(("what is the sum of 17 and 25?", 9), ("what is the sum of 17 and 26?", 8), ("name a prime", 7))
    paper = _settings(method="fuzzy", similarity=90, same_numbers=False)
    curated = curate(scored, paper, NOTHING, NO_BENCHMARKS)
    assert curated.questions["question_id"].to_list() == ["id0", "id2"]
    assert json.loads(curated.rejected["evidence"][0])["similarity"] > 90
    kept = curate(scored, _settings(method="none"), NOTHING, NO_BENCHMARKS)
    assert kept.questions.height == 3


def test_problems_that_differ_in_a_number_or_a_sign_are_two_and_a_misspelled_one_is_none() -> None:
    scored = _scored(
        ("Tom has 12 red apples and buys 7 more at the market. How many apples does Tom have?", 9),
        ("Tom has 13 red apples and buys 7 more at the market. How many apples does Tom have?", 8),
        ("Tom has 12 red apples and buys 7 more at the market. How many aples does Tom have?", 7),
        ("Simplify the expression a + b * (c - 3) for a, b and c", 6),
        ("Simplify the expression a - b * (c - 3) for a, b and c", 5),
    )
    curated = curate(scored, _settings(method="fuzzy"), NOTHING, NO_BENCHMARKS)
    assert curated.questions["question_id"].to_list() == ["id0", "id1", "id3", "id4"]


def test_a_similarity_at_the_threshold_is_a_leak_and_below_it_is_none() -> None:
    benchmark, question = _benchmark("abcdefgh"), _texts("abcdefxy")  # Indel ratio exactly 75
    for brute_force in (False, True):
        at = Decontamination(ngram=None, similarity=75, brute_force=brute_force)
        above = Decontamination(ngram=None, similarity=75.1, brute_force=brute_force)
        assert len(find_leaks(question, at, benchmark).decisions) == 1
        assert len(find_leaks(question, above, benchmark).decisions) == 0


def test_thirteen_words_in_a_row_are_a_leak_and_twelve_are_none() -> None:
    words = [f"w{n}" for n in range(13)]
    benchmark = _benchmark("before " + " ".join(words) + " after")
    for brute_force in (False, True):
        rule = Decontamination(ngram=13, similarity=None, brute_force=brute_force)
        assert list(
            find_leaks(_texts(" ".join([*words[:12], "x"]), "\n".join([*words, "x"])), rule, benchmark).decisions
        ) == [1]


@pytest.mark.parametrize("count", [1, 3, 7, 99])
def test_kept_and_rejected_are_always_what_came_in(count: int) -> None:
    scored = _scored(*((f"question {n % 5} {'x' * (n % 3)}", n % 4 or None) for n in range(20)))
    rule = Decontamination(ngram=None, similarity=80)
    curated = curate(scored, _settings(count), rule, _benchmark("question 3 x"))
    assert curated.questions.height + curated.rejected.height == 20
    assert set(curated.questions["question_id"]).isdisjoint(curated.rejected["question_id"])


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ('{"difficulty": 7}', 7),
        ('Sure:\n```json\n{"difficulty": 3, "reasoning": "easy"}\n```', 3),
        ('{"difficulty": 11}', None),
        ('{"difficulty": 0}', None),
        ('{"difficulty": true}', None),
        ('{"difficulty": "hard"}', None),
        ('{"difficulty": 3, "difficulty": 8}', None),
        ("7", None),
        ("", None),
    ],
)
def test_a_rating_is_read_from_json_or_not_at_all(reply: str, rating: float | None) -> None:
    answer = Answer("k", 0, None, reply, "stop", None, 1, 1)
    assert _rate(lambda prompts: [[answer] for _ in prompts], 1, "q") == [rating]


def test_an_unreadable_reply_is_asked_again_as_another_sample_and_ends_as_null() -> None:
    asked: list[tuple[str, int]] = []

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        asked.extend((prompt.user, prompt.first_sample) for prompt in prompts)
        replies = ['{"difficulty": 4}' if "good" in p.user or p.first_sample == 1 else "?" for p in prompts]
        replies = ["?" if "never" in p.user else reply for p, reply in zip(prompts, replies, strict=True)]
        return [[Answer("k", 0, None, reply, "stop", None, 1, 1)] for reply in replies]

    assert _rate(ask, 3, "good", "second time", "never") == [4, 4, None]
    assert [sample for text, sample in asked if "never" in text] == [0, 1, 2]
    assert ("Rate: good", 1) not in asked


def test_no_questions_and_questions_that_all_leak_are_curated_like_any_others() -> None:
    nothing = curate(_scored(), _settings(method="fuzzy"), Decontamination(), _benchmark("a question"))
    assert nothing.questions.is_empty() and nothing.rejected.is_empty() and nothing.funnel["deduplicated"] == 0
    leaked = curate(
        _scored(("a question", 1), ("a question ", 2)), _settings(), Decontamination(), _benchmark("a question")
    )
    assert leaked.questions.is_empty() and leaked.rejected["reason"].to_list() == ["benchmark_similarity"] * 2


def test_a_sample_of_more_questions_keeps_those_of_a_smaller_one() -> None:
    scored = _scored(*((f"number {n}: {'abcdefghij'[n % 10] * 9}", n) for n in range(40)))
    samples = [
        set(curate(scored, _settings(), NOTHING, NO_BENCHMARKS, sample=count).questions["question_id"])
        for count in (5, 20, 99)
    ]
    assert [len(ids) for ids in samples] == [5, 20, 40] and samples[0] < samples[1] < samples[2]
    curated = curate(scored, _settings(), NOTHING, NO_BENCHMARKS, sample=5)
    assert curated.rejected["reason"].value_counts().rows() == [("not_sampled", 35)] and curated.funnel["sampled"] == 5


def test_exact_copies_count_once_before_the_ranking_unless_duplicates_stay() -> None:
    scored = _scored(*(("the same", 9) for _ in range(5)), ("second", 8), ("third", 7), ("fourth", 6))
    curated = curate(scored, _settings(3), NOTHING, NO_BENCHMARKS)
    assert curated.questions["question"].to_list() == ["the same", "second", "third"]
    assert curated.funnel == {"scored": 8, "selected": 7, "decontaminated": 7, "deduplicated": 3}
    every = curate(scored, _settings(3, method="none"), NOTHING, NO_BENCHMARKS)
    assert every.questions["question"].to_list() == ["the same"] * 3
    paper = DomainQuestions(selection=Selection(by="difficulty", count=6, copies="each"))
    assert curate(scored, paper, NOTHING, NO_BENCHMARKS).questions["question"].to_list() == ["the same", "second"]


def test_a_selection_that_refills_ends_with_the_count_as_long_as_there_are_questions() -> None:
    texts = [f"{'leaked ' if n < 6 else ''}number {n}: {'abcdefghij'[n % 10] * 9}" for n in range(20)]
    scored = _scored(*((text, 20 - n) for n, text in enumerate(texts)))
    leaks = Decontamination(ngram=None, similarity=100)

    def refilled(count: int) -> Curated:
        selection = Selection(by="difficulty", count=count, refill=True)
        return curate(scored, DomainQuestions(selection=selection), leaks, _benchmark(*texts[:6]))

    assert refilled(5).questions["question"].to_list() == texts[6:11]
    assert refilled(5).funnel == {"scored": 20, "selected": 11, "decontaminated": 5, "deduplicated": 5}
    assert refilled(99).questions.height == 14
    assert set(refilled(5).rejected["reason"]) == {"benchmark_similarity", "below_cut"}


def test_a_source_of_which_nothing_is_left_is_an_error_that_shows_the_best_matches() -> None:
    scored = _scored(*((f"question number {n} of the day", n) for n in range(8)))
    benchmark = _benchmark(*(f"question number {n} of the day" for n in range(8)))
    with pytest.raises(NothingLeftError, match=r"(?s)all 8 went as benchmark_similarity.*(- 'question number.*){5}"):
        curate(scored, _settings(), Decontamination(), benchmark).require_questions()
    curate(_scored(("mine", 1)), _settings(), Decontamination(), benchmark).require_questions()


def test_ranges_of_scores_leave_questions_out_before_the_ranking() -> None:
    scores = [{"d": 9, "l": 5}, {"d": 8, "l": 50}, {"d": 2, "l": 40}, {"d": 7, "l": 60}, {"d": None, "l": 70}, {"d": 6}]
    scored = _scored(*((f"question {n}", 0) for n in range(6))).with_columns(
        scores=pl.Series([json.dumps(row) for row in scores])
    )
    within = {"d": {"minimum": 3, "maximum": 8}, "l": {"minimum": 10}}
    selection = Selection.model_validate({"by": "d", "count": 1, "within": within})
    curated = curate(scored, DomainQuestions(selection=selection), NOTHING, NO_BENCHMARKS)
    assert curated.questions["question_id"].to_list() == ["id1"]
    assert curated.funnel == {"scored": 6, "selected": 1, "decontaminated": 1, "deduplicated": 1}
    found = {row["question_id"]: (row["reason"], json.loads(row["evidence"])) for row in curated.rejected.to_dicts()}
    assert found == {
        "id0": ("out_of_range", {"score": "d", "value": 9, "minimum": 3, "maximum": 8}),
        "id2": ("out_of_range", {"score": "d", "value": 2, "minimum": 3, "maximum": 8}),
        "id3": ("below_cut", {"score": "d", "value": 7, "rank": 2, "count": 1}),
        "id4": ("no_score", {"score": "d", "minimum": 3, "maximum": 8}),
        "id5": ("no_score", {"score": "l", "minimum": 10}),
    }
    refill = selection.model_copy(update={"refill": True, "count": 9})
    assert curate(scored, DomainQuestions(selection=refill), NOTHING, NO_BENCHMARKS).questions.height == 2
