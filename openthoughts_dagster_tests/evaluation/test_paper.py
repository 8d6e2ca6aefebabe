"""The paper's benchmarks on small copies of their data sets: right, wrong, malformed and cut-off answers."""

import json
import pickle
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from zlib import compress

import pytest

from openthoughts_dagster.evaluation import (
    BenchmarkError,
    EvaluationResult,
    benchmark_needs,
    benchmark_questions,
    evaluate,
    require_confinement,
)
from openthoughts_dagster.evaluation.confined import kernel
from openthoughts_dagster.evaluation.paper import code
from openthoughts_dagster.evaluation.paper.math import last_boxed
from openthoughts_dagster.questions.question_sets import read_question_sets
from openthoughts_dagster.recipe import Evaluation, PaperBenchmark, load_recipe
from openthoughts_dagster.recipe.paper_benchmarks import PAPER_BENCHMARKS, PaperTask
from openthoughts_dagster_tests.evaluation.helpers import asking, json_lines

pytestmark = pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock")

Case = tuple[str, dict[str, Any], str, float]
"""A word of the question, the row's own fields, what the model says, and the score."""

ADD = "def solve():\n    print(sum(map(int, input().split())))\nsolve()\n"
PROGRAMS: list[tuple[str, str, float]] = [
    ("right", f"So:\n```python\n{ADD}```", 1.0),
    ("wrong", "```python\nprint(3)\n```", 0.0),
    ("malformed", ADD, 0.0),  # without a block of code the paper finds no program
    ("cut-off", f"```python\n{ADD}", 0.0),
    ("fence in a line", f"The program: ```python3\n{ADD}```", 1.0),
]
SUMS: list[Case] = [
    ("right", {"answer": "42"}, "It is $\\boxed{42}$.", 1.0),
    ("wrong", {"answer": "42"}, "It is \\boxed{41}.", 0.0),
    ("malformed", {"answer": "42"}, "It is forty-two.", 0.0),
    ("cut-off", {"answer": "42"}, "It is \\boxed{4", 0.0),
    ("box without braces", {"answer": "42"}, "It is $\\boxed 42$, or\n$42$.", 1.0),
]
# As a copy of AIME has it: the paper's reference is 73. A list in several boxes is one of HMMT's answers.
ZEROS: list[Case] = [*SUMS, ("leading zero", {"answer": "073"}, "It is \\boxed{73}.", 1.0)]
LISTS: list[Case] = [*SUMS[:-1], ("list", {"answer": "3, -7"}, "No \\boxed{4}.\nBoth \\boxed{-7} and \\boxed{3}.", 1.0)]
LETTERS: list[tuple[str, str, float]] = [
    ("right", "\\boxed{D}", 1.0),
    ("wrong", "\\boxed{A}", 0.0),
    ("malformed", "The fourth of them.", 0.0),
    ("cut-off", "\\boxed{", 0.0),
]
TESTS = [{"input": "1 2\n", "output": "3\n"}, {"input": "20 22", "output": "42"}]


def hidden(tests: list[dict[str, Any]]) -> str:
    return b64encode(compress(pickle.dumps(json.dumps(tests)))).decode()


def livecodebench() -> list[Case]:
    reads = [{**test, "testtype": "stdin"} for test in TESTS]
    calls = [{"input": "[1, 2]\n\n3\n", "output": "[1, 2, 3]", "testtype": "functional"}]
    own = {
        "starter_code": "", "metadata": "{}", "public_test_cases": json.dumps(reads[:1]),
        "private_test_cases": hidden(reads),
    }  # fmt: skip
    called = {
        "starter_code": "class Solution:\n    def put(self, a, b):\n", "metadata": '{"func_name": "put"}',
        "public_test_cases": json.dumps(calls), "private_test_cases": hidden(calls),
    }  # fmt: skip
    method = "```python\nclass Solution:\n    def put(self, a, b): return a + [b]\n```"
    return [
        *((word, own, said, score) for word, said, score in PROGRAMS),
        ("method", called, method, 1.0),
        ("function of another name", called, "```python\ndef other(a, b): return a + [b]\n```", 1.0),
        ("wrong value", called, "```python\ndef put(a, b): return a\n```", 0.0),
    ]


def jee() -> list[Case]:
    several = {"type": "MCQ(multiple)", "gold": "ACD"}
    number = {"type": "Numeric", "gold": "0.33"}
    return [
        *((word, {"type": "MCQ", "gold": "D"}, said, score) for word, said, score in LETTERS),
        ("all of several", several, "\\boxed{A, C, D}", 1.0),
        ("some of several", several, "\\boxed{AC}", 0.5),
        ("one too many", several, "\\boxed{ABC}", 0.0),
        ("close number", number, "\\boxed{0.335}", 1.0),
        ("far number", {"type": "Integer", "gold": "3"}, "\\boxed{4}", 0.0),
    ]


CODEELO = {
    "title": "Add", "time_limit_ms": 2000, "input": "Two numbers.", "output": "Their sum.", "interaction": "",
    "note": "Mind this note.", "examples": [[test["input"], test["output"]] for test in TESTS],
}  # fmt: skip
CODEFORCES = {
    "title": "Add", "time_limit": 2.0, "input_format": "Two numbers.", "output_format": "Their sum.",
    "interaction_format": "", "note": "", "editorial": "Just add.", "examples": TESTS[:1], "official_tests": TESTS,
}  # fmt: skip
OPTIONS = {"Correct Answer": "right one", **{f"Incorrect Answer {number}": f"no {number}" for number in (1, 2, 3)}}
HLE = {"answer": "D", "answer_type": "multipleChoice", "image": ""}

CASES: dict[str, list[Case]] = {
    **dict.fromkeys(("aime24", "aime25", "amc23"), ZEROS),
    "hmmt-2025-02": LISTS,
    "math500": SUMS,
    "gpqa-diamond": [(word, OPTIONS, said, score) for word, said, score in LETTERS],
    "jeebench": jee(),
    "hle-multiple-choice": [(word, HLE, said, score) for word, said, score in LETTERS],
    **dict.fromkeys(("livecodebench-2305-2405", "livecodebench-2406-2501"), livecodebench()),
    "codeelo": [(word, CODEELO, said, score) for word, said, score in PROGRAMS],
    "codeforces": [(word, CODEFORCES, said, score) for word, said, score in PROGRAMS],
}
NO_ITEMS: dict[str, dict[str, Any]] = {
    "hle-multiple-choice": {**HLE, "image": "data:image/png;base64,aaaa"},
    "codeelo": {**CODEELO, "interaction": "Ask the judge."},
    "codeforces": {**CODEFORCES, "interaction_format": "Ask the judge."},
}


def write_copy(folder: Path, task: PaperTask) -> None:
    """A copy of a data set as `hf download` leaves one: its files, and a README with its subsets."""
    data = PAPER_BENCHMARKS[task]
    rows = [{data.question[0]: f"{task} ({word})", **own} for word, own, _, _ in CASES[task]]
    if task in NO_ITEMS:
        rows.insert(1, {data.question[0]: "no item", **NO_ITEMS[task]})
    json_lines(folder / data.dataset / f"{data.split}.jsonl", rows)
    if data.subset:
        files = f"  data_files:\n  - split: {data.split}\n    path: {data.split}.jsonl\n"
        readme = f"---\nconfigs:\n- config_name: {data.subset}\n{files}---\n"
        (folder / data.dataset / "README.md").write_text(readme)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("copies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder / "cache"))
        patch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
        for task in CASES:
            write_copy(folder, task)  # type: ignore[arg-type]
        yield folder


def paper(task: str, **settings: Any) -> PaperBenchmark:
    benchmark = {"kind": "paper", "name": task, "task": task, "size": len(CASES[task])} | settings
    return PaperBenchmark.model_validate(benchmark)


def run(benchmarks: list[PaperBenchmark], copies: Path, out: Path) -> EvaluationResult:
    said = {f"{task} ({word})": text for task, cases in CASES.items() for word, _, text, _ in cases}
    ask = asking(lambda question, _: next(text for name, text in said.items() if name in question))
    evaluation = Evaluation(benchmarks=list(benchmarks), confinement="landlock")
    return evaluate(evaluation, lambda path: str(copies / path), ask, out, "student")


@pytest.fixture(scope="module")
def result(copies: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    return run([paper(task) for task in CASES], copies, tmp_path_factory.mktemp("out"))


def test_every_benchmark_has_cases() -> None:
    assert set(CASES) == set(PAPER_BENCHMARKS) == set(get_args(PaperTask))


@pytest.mark.parametrize("task", CASES)
def test_answers_are_right_wrong_malformed_or_cut_off(task: str, result: EvaluationResult) -> None:
    rows = result.items.filter(benchmark=task)
    found = {
        word: row["score"]
        for word, *_ in CASES[task]
        for row in rows.iter_rows(named=True)
        if f"{task} ({word})" in row["question"]
    }
    assert found == {word: score for word, _, _, score in CASES[task]}
    assert rows.height == len(CASES[task])
    assert rows["metric"].unique().str.starts_with("paper_").all()
    assert rows.filter(rows["question"].str.contains("(malformed)", literal=True))["no_answer"].item() == 1


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("amc23", "Problem: amc23 (right)\nMark your solution with \\boxed\nAnswer:"),
        ("gpqa-diamond", "Options: A) no 2, B) no 1, C) no 3, D) right one\nAnswer:"),
        ("jeebench", "In this problem, only one option will be correct."),
        (
            "hle-multiple-choice",
            "Answer: {your chosen multiple choice letter}. Include only the letter, no other text.\n",
        ),
        ("livecodebench-2406-2501", "Simply call the function after the definition.livecodebench-2406-2501 (right)"),
        ("codeelo", '"You are a coding expert. Given'),
        ("codeelo", "<h2>Note</h2><div>Mind this note.</div></body></html>"),
        ("codeforces", "<h2>Editorial</h2><div>Just add.</div></body></html>"),
    ],
)
def test_prompts_are_the_papers(task: str, text: str, result: EvaluationResult) -> None:
    asked = result.items.filter(benchmark=task)["question"].to_list()
    assert text in next(question for question in asked if f"{task} (right)" in question)


@pytest.mark.parametrize(
    ("task", "row", "alone", "together"),
    [
        ("livecodebench-2406-2501", livecodebench()[0][1], 12, 19),
        ("codeelo", CODEELO, 8, 11),
        ("codeforces", CODEFORCES, 63, 66),
    ],
)
def test_the_tests_of_a_program_have_the_papers_time(task: str, row: dict[str, Any], alone: int, together: int) -> None:
    limits = [test.limits for test in code._TESTS[task](row, ADD)]
    assert [(each.seconds, each.seconds_together) for each in limits] == [(alone, together)] * 2


def test_lightevals_prompts_are_an_alternative_that_the_metric_names(copies: Path, tmp_path: Path) -> None:
    tasks = ["math500", "aime25", "gpqa-diamond", "livecodebench-2305-2405"]
    items = run([paper(task, prompt="lighteval", repeats=2) for task in tasks], copies, tmp_path).items
    names = {row["benchmark"]: row["metric"] for row in items.iter_rows(named=True)}
    assert names["math500"] == "lighteval_math:n=2"
    assert names["gpqa-diamond"] == "lighteval_choice:n=2"
    assert names["livecodebench-2305-2405"] == "lighteval_programs:n=2"
    right = {row["benchmark"]: row for row in items.iter_rows(named=True) if "(right)" in row["question"]}
    assert right["math500"]["question"].startswith("Solve the following problem.")
    assert right["aime25"]["score"] == right["livecodebench-2305-2405"]["score"] == 1.0


def test_training_questions_are_compared_with_the_items_of_the_paper(copies: Path) -> None:
    evaluation = Evaluation(benchmarks=[paper("hle-multiple-choice"), paper("codeelo")])
    frame, unchecked = benchmark_questions(evaluation, lambda path: str(copies / path))
    assert unchecked == []
    assert frame.height == 9
    assert "no item" not in frame["question"].to_list()


def test_what_cannot_be_had_is_refused_before_anything_is_asked(copies: Path, tmp_path: Path) -> None:
    other = json_lines(tmp_path / "other" / "train.jsonl", [{"text": "1+1?"}]).parent
    benchmarks = [
        paper("aime24", size=30),
        paper("aime25", dataset=str(tmp_path / "gone")),
        paper("amc23", revision="0" * 40),
        paper("hmmt-2025-02", dataset=str(other)),
    ]
    with pytest.raises(BenchmarkError) as caught:
        run(benchmarks, copies, tmp_path)
    size, gone, revision, shape = str(caught.value).splitlines()
    assert "evaluation.benchmarks.aime24: the data set 'HuggingFaceH4/aime_2024' has 6 items" in size
    assert "say `size: 6`" in size
    assert "cannot be loaded" in gone
    assert "OPENTHOUGHTS_DATASETS" in gone
    assert "does not say of which commit it is" in revision
    assert "has no column problem or question, answer; it has text" in shape


def test_a_recipe_may_not_ask_for_a_prompt_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="lighteval has no prompt and scoring of its own for jeebench"):
        paper("jeebench", prompt="lighteval")


def test_only_a_last_box_that_is_closed_is_an_answer() -> None:
    assert last_boxed("\\boxed{1} and \\boxed{\\frac{1}{2}}") == "\\frac{1}{2}"
    assert last_boxed("\\boxed{1} and \\boxed{2") is None
    assert last_boxed("\\boxed{1}, that is $\\boxed 42$, or\n$43$") == "42"
    assert last_boxed("1") is None


def test_programs_that_cannot_be_confined_are_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, code = paper("aime24"), paper("codeelo")
    assert require_confinement(Evaluation(benchmarks=[sums], confinement="landlock")) is None
    assert require_confinement(Evaluation(benchmarks=[sums, code], confinement="landlock"))
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    with pytest.raises(BenchmarkError, match=r"evaluation\.benchmarks\.codeelo: .*cannot be confined on this machine"):
        require_confinement(Evaluation(benchmarks=[sums, code], confinement="landlock"))


def test_what_benchmarks_need_is_said_without_the_hub(copies: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(benchmarks=[paper("codeelo"), paper("gpqa-diamond")], confinement="landlock")
    there = benchmark_needs(evaluation, lambda path: str(copies / path))
    assert [(name, good) for name, good, _ in there] == [
        ("codeelo", True), ("gpqa-diamond", True), ("confinement", True)
    ]  # fmt: skip
    _, gpqa, _ = benchmark_needs(evaluation, lambda path: str(tmp_path / path))
    assert gpqa[1] is None
    assert "HF_TOKEN" in gpqa[2]


def test_copies_serve_benchmarks_and_decontamination(copies: Path) -> None:
    recipe = load_recipe("openthoughts3", {}).with_copies(copies)
    math500 = "HuggingFaceH4/MATH-500"
    assert recipe.path(math500) == str(copies / math500)
    assert recipe.path("prompts/code_difficulty.md") == str(recipe.folder / "prompts" / "code_difficulty.md")
    assert recipe.path("no/such").startswith(str(recipe.folder))
    frame = read_question_sets([f"{math500}:test:problem"], recipe.path)
    assert frame.height == len(SUMS)


def test_openthoughts3_asks_all_twelve() -> None:
    benchmarks = {entry.name: entry for entry in load_recipe("openthoughts3", {}).evaluation.benchmarks}
    assert {entry.task for entry in benchmarks.values() if entry.kind == "paper"} == set(PAPER_BENCHMARKS)
    held_out = {name for name, entry in benchmarks.items() if entry.role == "held_out"}
    assert held_out == {"aime25", "hmmt-2025-02", "hle-multiple-choice", "livecodebench-2406-2501"}
    repeats = {name: entry.repeats for name, entry in benchmarks.items() if entry.repeats != 3}
    sums = dict.fromkeys(("aime24", "aime25", "amc23", "hmmt-2025-02"), 10)
    assert repeats == sums | {"math500": 1, "livecodebench-2305-2405": 6}
