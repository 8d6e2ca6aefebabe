import importlib
import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.evaluation import BenchmarkAnswersMissing, BenchmarkError, EvaluationResult, evaluate
from openthoughts_dagster.evaluation.shipped_tasks import catalog
from openthoughts_dagster.recipe import Evaluation, FileBenchmark, LightevalBenchmark
from openthoughts_dagster.recipe.benchmarks import Match
from openthoughts_dagster_tests.evaluation.helpers import Asked, asking, json_lines

SUMS = [(3, 4), (10, 5), (20, 22), (7, 7), (40, 2)]


def same(path: str) -> str:
    return path


def file_evaluation(
    path: Path, repeats: int = 1, items: int | None = None, match: Match = "auto", missing_answers: float = 0.01
) -> Evaluation:
    benchmark = FileBenchmark(kind="file", name="sums", path=str(path), repeats=repeats, items=items, match=match)
    return Evaluation(benchmarks=[benchmark], missing_answers=missing_answers)


def lighteval_evaluation(task: str, repeats: int = 1, items: int | None = None) -> Evaluation:
    benchmark = LightevalBenchmark(kind="lighteval", name="bench", task=task, repeats=repeats, items=items)
    return Evaluation(benchmarks=[benchmark])


def right(question: str, _sample: int) -> str:
    a, b = question.removesuffix("?").split("+")
    return f"<think>{a} plus {b}</think>{int(a) + int(b)}"


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    return json_lines(tmp_path / "sums.jsonl", [{"question": f"{a}+{b}?", "answer": a + b} for a, b in SUMS])


@pytest.fixture
def gsm8k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """lighteval's gsm8k task over a local folder of five rows, in the shape of openai/gsm8k."""
    rows = [{"question": f"What is {a} plus {b}?", "answer": f"{a}+{b}={a + b}\n#### {a + b}"} for a, b in SUMS]
    return _local("gsm8k", rows, tmp_path, monkeypatch, "test")


@pytest.fixture
def aime24(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    rows = [{"problem": f"What is {a} plus {b}?", "answer": str(a + b)} for a, b in SUMS]
    return _local("aime24", rows, tmp_path, monkeypatch, "train")


@pytest.fixture
def gpqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    wrong = {f"Incorrect Answer {i}": f"wrong {i}" for i in (1, 2, 3)}
    rows = [{"Question": f"Which is right in row {i}?", "Correct Answer": f"right {i}", **wrong} for i in range(5)]
    return _local("gpqa:diamond", rows, tmp_path, monkeypatch, "train")


def _local(task: str, rows: list[dict[str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch, split: str) -> str:
    data = folder / "data" / task.replace(":", "_")
    json_lines(data / f"{split}.jsonl", rows)
    if split == "test":
        json_lines(data / "train.jsonl", [{**row, "question": f"Example: {row['question']}"} for row in rows])
    module = importlib.import_module(catalog().names[task])
    config = next(config for config in module.TASKS_TABLE if config.name == task)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder / "cache"))
    monkeypatch.setattr(config, "hf_repo", str(data))
    monkeypatch.setattr(config, "hf_subset", "default")
    return task


def test_correct_answers_score_one_and_wrong_ones_zero(sums: Path, tmp_path: Path) -> None:
    result = evaluate(
        file_evaluation(sums),
        same,
        asking(lambda q, i: "<think>hm</think>5" if q == "7+7?" else right(q, i)),
        tmp_path / "out",
        "student",
    )
    scores = dict(result.items.select("question", "score").iter_rows())
    assert scores == {f"{a}+{b}?": float((a, b) != (7, 7)) for a, b in SUMS}
    assert result.items["metric"].unique().to_list() == ["auto_match"]
    assert result.items["item"].n_unique() == len(SUMS)


def test_lighteval_writes_its_own_results_and_details(sums: Path, tmp_path: Path) -> None:
    result = evaluate(file_evaluation(sums), same, asking(right), tmp_path / "out", "org/student")
    (results,) = result.results_files
    (details,) = result.details_files
    assert results.is_relative_to(tmp_path / "out" / "results" / "org" / "student")
    summary = json.loads(results.read_text())
    assert summary["results"]["sums|0"]["auto_match"] == 1.0
    assert summary["config_general"]["model_config"]["generation_parameters"]["temperature"] == 0.7
    kept = pl.read_parquet(details)
    assert set(kept["doc"].struct.field("id")) == set(result.items["item"])
    assert kept["model_response"].struct.field("reasonings").explode().str.contains("plus").all()


def test_repeats_are_averaged_within_an_item(sums: Path, tmp_path: Path) -> None:
    ask = asking(lambda q, i: right(q, i) if i == 0 or q == "3+4?" else "no")
    result = evaluate(file_evaluation(sums, repeats=4), same, ask, tmp_path, "student")
    scores = dict(result.items.select("question", "score").iter_rows())
    assert scores["3+4?"] == 1.0
    assert scores["7+7?"] == 0.25
    assert result.items["repeats"].unique().to_list() == [4]
    assert {prompt.samples for prompt in ask} == {4}


def test_failed_and_empty_answers_are_wrong_and_counted(sums: Path, tmp_path: Path) -> None:
    said: dict[str, str | Exception] = {"3+4?": RuntimeError("server gone"), "7+7?": "<think>never closed"}
    ask = asking(lambda q, i: said[q] if q in said else right(q, i))
    result = evaluate(file_evaluation(sums, missing_answers=0.5), same, ask, tmp_path, "student")
    rows = {row["question"]: row for row in result.items.iter_rows(named=True)}
    assert (rows["3+4?"]["score"], rows["3+4?"]["failed"]) == (0.0, 1)
    assert (rows["7+7?"]["score"], rows["7+7?"]["failed"], rows["7+7?"]["no_answer"]) == (0.0, 0, 1)
    assert (rows["3+4?"]["no_answer"], rows["40+2?"]["no_answer"]) == (0, 0)
    assert rows["40+2?"]["score"] == 1.0
    cut = evaluate(file_evaluation(sums), same, asking(right, "length"), tmp_path, "student")
    assert cut.items["truncated"].to_list() == [1] * len(SUMS)


def test_letter_case_and_whitespace_do_not_count_but_digits_do(tmp_path: Path) -> None:
    gold = {"city": "New  York", "float": 42.0, "thousand": "1,000"}
    path = json_lines(tmp_path / "b.jsonl", [{"question": q, "answer": a} for q, a in gold.items()])
    said = {"city": " new york\n", "float": "42", "thousand": "1000"}
    result = evaluate(file_evaluation(path, match="exact"), same, asking(lambda q, _: said[q]), tmp_path, "student")
    assert dict(result.items.select("question", "score").iter_rows()) == {"city": 1.0, "float": 0.0, "thousand": 0.0}


def test_only_the_first_items_are_asked_and_they_keep_their_ids(sums: Path, tmp_path: Path) -> None:
    whole = evaluate(file_evaluation(sums), same, asking(right), tmp_path, "student").items
    ask = asking(right)
    few = evaluate(file_evaluation(sums, items=2), same, ask, tmp_path, "student").items
    assert {prompt.user for prompt in ask} == {"3+4?", "10+5?"}
    assert few.join(whole, on=["item", "question"]).height == 2


def test_a_repeated_question_is_two_items(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "b.jsonl", [{"question": "1+1?", "answer": a} for a in (2, 3)])
    result = evaluate(file_evaluation(path), same, asking(right), tmp_path, "student")
    assert sorted(result.items["score"].to_list()) == [0.0, 1.0]
    assert result.items["item"].n_unique() == 2


def test_every_benchmark_is_asked_in_one_call(sums: Path, gsm8k: str, tmp_path: Path) -> None:
    benchmarks = [
        *file_evaluation(sums, items=2).benchmarks,
        *lighteval_evaluation(gsm8k, repeats=2, items=3).benchmarks,
    ]
    ask = asking(lambda q, i: right(q, i) if "+" in q else "no idea")
    result = evaluate(Evaluation(benchmarks=benchmarks), same, ask, tmp_path, "student")
    assert ask.calls == 1
    assert dict(result.items.group_by("benchmark").len().iter_rows()) == {"sums": 2, "bench": 3}


def test_nothing_of_an_earlier_evaluation_is_served(sums: Path, tmp_path: Path) -> None:
    for reply, mean in [(right, 1.0), (lambda *_: "no", 0.0)]:
        assert evaluate(file_evaluation(sums), same, asking(reply), tmp_path, "s").items["score"].mean() == mean
    json_lines(sums, [{"question": "1+1?", "answer": 2}])
    assert evaluate(file_evaluation(sums), same, asking(right), tmp_path, "s").items["question"].to_list() == ["1+1?"]


@pytest.mark.parametrize("task", ["gsm8k", "aime24", "gsm8k|0"])
def test_shipped_tasks_average_over_repeats(task: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """gsm8k's metric takes the best of several answers by itself, and aime24's reads one."""
    request.getfixturevalue(task.partition("|")[0])

    def reply(question: str, sample: int) -> str:
        a, b = next(pair for pair in SUMS if f"{pair[0]} plus {pair[1]}?" in question)
        if (a, b) == (7, 7):
            return ""
        return f"Therefore, the final answer is: $\\boxed{{{a + b if sample < 3 else 999}}}$."

    result = evaluate(lighteval_evaluation(task, repeats=4), same, asking(reply), tmp_path, "student")
    scores = {("7 plus 7" in row["question"]): row["score"] for row in result.items.iter_rows(named=True)}
    assert scores == {True: 0.0, False: 0.75}
    assert result.items["repeats"].unique().to_list() == [4]


def test_reasoning_is_not_searched_for_the_answer(aime24: str, tmp_path: Path) -> None:
    ask = asking(lambda q, i: "<think>perhaps $\\boxed{7}$ or $\\boxed{42}$</think>The final answer is $\\boxed{15}$.")
    result = evaluate(lighteval_evaluation(aime24), same, ask, tmp_path, "student")
    assert result.items.filter(pl.col("score") == 1)["question"].str.contains("10 plus 5").to_list() == [True]


def test_few_shot_examples_stand_before_the_question(gsm8k: str, tmp_path: Path) -> None:
    ask = asking(lambda *_: "5")
    evaluate(lighteval_evaluation(f"{gsm8k}|2", items=1), same, ask, tmp_path, "student")
    (prompt,) = ask
    assert prompt.user.count("Question: Example: ") == 2
    assert prompt.user.count("####") == 2
    assert prompt.user.rstrip().endswith("What is 3 plus 4?\nAnswer:")


def test_only_the_modules_of_the_tasks_that_were_asked_for_are_imported(gsm8k: str, tmp_path: Path) -> None:
    def loaded() -> set[str]:
        return {name for name in sys.modules if name.startswith("lighteval.tasks.tasks.")}

    before = loaded()
    evaluate(lighteval_evaluation(gsm8k), same, asking(lambda *_: "5"), tmp_path, "student")
    assert loaded() == before
    assert "lighteval.tasks.tasks.tiny_benchmarks" not in before


def test_shuffled_choices_are_the_same_in_every_run(gpqa: str, sums: Path, tmp_path: Path) -> None:
    """gpqa shuffles with the global generator: other prompts would be paid for again, and be other items."""
    runs = []
    for others in ([], file_evaluation(sums).benchmarks):
        ask = asking(lambda question, _: "Answer: " + question.partition(") right")[0][-1])
        benchmarks = [*others, *lighteval_evaluation(gpqa, repeats=2).benchmarks]
        result = evaluate(Evaluation(benchmarks=benchmarks), same, ask, tmp_path, "student")
        rows = result.items.filter(pl.col("benchmark") == "bench")
        assert rows["score"].to_list() == [1.0] * 5
        runs.append(rows)
        random.random()
    assert runs[0].equals(runs[1])
    letters = {question.partition(") right")[0][-1] for question in runs[0]["question"]}
    assert len(letters) > 1


def test_a_missing_data_set_names_benchmark_and_data_set(tmp_path: Path) -> None:
    ask = asking(right)
    with pytest.raises(BenchmarkError, match=r"evaluation\.benchmarks\.bench: the data set .*aime_2025.*could not"):
        evaluate(lighteval_evaluation("aime25"), same, ask, tmp_path, "student")
    pinned = LightevalBenchmark(kind="lighteval", name="bench", task="aime25", revision="a" * 40)
    json_lines(tmp_path / "copy" / "train.jsonl", [{"problem": "1+1?", "answer": "2"}])
    with pytest.raises(BenchmarkError, match=r"bench: the data set .*aime_2025: .*pins revision a+, and the copy at"):
        evaluate(Evaluation(benchmarks=[pinned]), lambda _: str(tmp_path / "copy"), ask, tmp_path, "student")
    assert ask.calls == 0


def test_a_log_likelihood_task_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"bench: lighteval scores 'gpqa:mc' by logprobs"):
        evaluate(lighteval_evaluation("gpqa:mc"), same, asking(right), tmp_path, "student")


def test_all_benchmarks_with_problems_are_listed(tmp_path: Path) -> None:
    benchmarks = [*file_evaluation(tmp_path / "gone.jsonl").benchmarks, *lighteval_evaluation("gsm9k").benchmarks]
    with pytest.raises(BenchmarkError) as caught:
        evaluate(Evaluation(benchmarks=benchmarks), same, asking(right), tmp_path, "student")
    first, second = str(caught.value).splitlines()
    assert "evaluation.benchmarks.sums" in first
    assert "gone.jsonl" in first
    assert "no task 'gsm9k'; did you mean " in second
    assert "gsm8k" in second


def test_random_generators_are_left_as_they_were(sums: Path, tmp_path: Path) -> None:
    random.seed(5)
    state = random.getstate()
    evaluate(file_evaluation(sums), same, asking(right), tmp_path, "student")
    assert random.getstate() == state


def in_a_thread(work: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


def test_outside_the_main_thread_answers_are_judged_and_lightevals_own_metrics_refused(
    sums: Path, aime24: str, tmp_path: Path
) -> None:
    result = in_a_thread(lambda: evaluate(file_evaluation(sums), same, Asked(right), tmp_path, "student"))
    assert isinstance(result, EvaluationResult)
    assert result.items["score"].to_list() == [1.0] * len(SUMS)
    with pytest.raises(RuntimeError, match="bench: lighteval's metrics need signals"):
        in_a_thread(lambda: evaluate(lighteval_evaluation(aime24), same, Asked(right), tmp_path, "student"))


def test_a_shipped_task_may_be_judged_by_math_verify_in_any_thread(aime24: str, tmp_path: Path) -> None:
    benchmark = LightevalBenchmark(kind="lighteval", name="bench", task=aime24, match="math")
    ask = Asked(lambda q, i: "<think>7</think>It is \\fbox{\\frac{30}{2}}." if "10 plus 5" in q else "no idea")
    result = in_a_thread(lambda: evaluate(Evaluation(benchmarks=[benchmark]), same, ask, tmp_path, "student"))
    assert isinstance(result, EvaluationResult)
    assert sorted(result.items["score"]) == [0.0] * 4 + [1.0]
    assert result.items["no_answer"].sum() == 4
    assert set(result.items["metric"]) == {"math_match"}


def test_lost_requests_are_no_score(sums: Path, tmp_path: Path) -> None:
    """99 of 100 failed requests were once published as 0.01 +- 0.01."""
    ask = asking(lambda q, i: right(q, i) if q == "3+4?" else RuntimeError("server gone"))
    with pytest.raises(BenchmarkAnswersMissing, match=r"sums: 4 of 5 answers are missing\. Why: server gone \(4 times"):
        evaluate(file_evaluation(sums), same, ask, tmp_path, "student")


def test_items_know_their_place_in_the_benchmark(sums: Path, tmp_path: Path) -> None:
    items = evaluate(file_evaluation(sums), same, asking(right), tmp_path, "student").items
    assert items.sort("position")["question"].to_list() == [f"{a}+{b}?" for a, b in SUMS]
