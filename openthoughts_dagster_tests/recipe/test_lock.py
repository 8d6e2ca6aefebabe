"""The lock file: which things of the hub it names, and that a loaded recipe reads the commits in it."""

from pathlib import Path

import pytest
import yaml

from openthoughts_dagster.recipe import Recipe, RecipeError, load_recipe
from openthoughts_dagster.recipe.lock import lock_path, split_commit
from openthoughts_dagster.recipe.lock_references import hub_references

COMMITS = {letter: letter * 40 for letter in "abcdef"}
RECIPE = """
name: r
description: d
sources:
  - {name: s, domain: math, reader: hugging_face, dataset: org/set, more: [{dataset: org/more, revision: v1}]}
  - {name: pinned, domain: math, reader: hugging_face, dataset: org/pinned, revision: %s}
  - {name: local, domain: math, reader: hugging_face, dataset: data/own}
  - {name: converted, domain: math, reader: hugging_face, dataset: org/script, revision: refs/convert/parquet}
judges: [{name: j, model: gpt, engine: openai, base_url: "http://x/v1", tokenizer: org/judge}]
scores:
  - {name: l, method: response_length, judge: j, unit: tokens, tokenizer: org/teacher}
  - {name: e, method: embedding, model: org/encoder, positives: {paths: [a]}, negatives: {paths: [b]}}
decontamination: {tokenizer: org/words, against: ["org/old(sub):test:a.b", old.jsonl, "org/old@v2:test:q"]}
teachers:
  - {name: t, model: org/teacher}
  - {name: own, model: ./models/own}
  - {name: known, model: org/answers, engine: published}
student: {name: s, model: org/student, preset: small}
evaluation:
  references: [{name: other, model: org/teacher}]
  benchmarks:
    - {name: a, kind: paper, task: aime24}
    - {name: b, kind: lighteval, task: "gsm8k|0", questions: "org/bench:test:question"}
    - {name: c, kind: file, path: c.jsonl}
""" % ("f" * 40)
LOCK = {
    "datasets": {
        "org/set": COMMITS["a"],
        "org/more@v1": COMMITS["b"],
        "org/old": COMMITS["c"],
        "HuggingFaceH4/aime_2024": COMMITS["d"],
        "org/bench": COMMITS["e"],
        "org/answers": COMMITS["a"],
        "org/script@refs/convert/parquet": COMMITS["f"],
    },
    "models": {
        "org/judge": COMMITS["a"],
        "org/teacher": COMMITS["b"],
        "org/encoder": COMMITS["c"],
        "org/words": COMMITS["d"],
        "org/student": COMMITS["e"],
    },
    "tasks": {"gsm8k": f"openai/gsm8k@{COMMITS['f']}"},
}


def _load(folder: Path, lock: object = None, locked: bool = True) -> Recipe:
    (folder / "data" / "own").mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    if lock is not None:
        lock_path(folder / "recipe.yaml").write_text(yaml.safe_dump(lock))
    return load_recipe(str(folder), {}, locked=locked)


def test_everything_of_the_hub_that_can_move_is_referred_to(tmp_path: Path) -> None:
    assert [(each.kind, each.key) for each in hub_references(_load(tmp_path))] == [
        *(
            ("dataset", key)
            for key in (
                "HuggingFaceH4/aime_2024",
                "org/answers",
                "org/bench",
                "org/more@v1",
                "org/old",
                "org/old@v2",
                "org/script@refs/convert/parquet",
                "org/set",
            )
        ),
        *(("model", key) for key in ("org/encoder", "org/judge", "org/student", "org/teacher", "org/words")),
    ]


def test_a_recipe_with_a_lock_file_reads_its_commits_and_keeps_the_settings_of_sources(tmp_path: Path) -> None:
    free = _load(tmp_path)
    recipe = _load(tmp_path, LOCK)
    assert recipe.sources == free.sources
    assert recipe.locked_commit("org/set", None) == COMMITS["a"] and recipe.locked_commit("org/more", None) is None
    assert recipe.locked_commit("org/more", "v1") == COMMITS["b"]
    assert recipe.locked_commit("org/script", "refs/convert/parquet") == COMMITS["f"]
    assert (recipe.teachers[0].revision, recipe.teachers[1].revision) == (COMMITS["b"], None)
    assert recipe.teachers[2].revision == COMMITS["a"]
    assert recipe.evaluation.references[0].revision == COMMITS["b"]
    assert recipe.student.revision == COMMITS["e"]
    judge, [length, encoder] = recipe.judge("j"), recipe.scores
    assert judge.revision is None and judge.tokenizer == f"org/judge@{COMMITS['a']}"
    assert length.method == "response_length" and length.tokenizer == f"org/teacher@{COMMITS['b']}"
    assert encoder.method == "embedding" and encoder.revision == COMMITS["c"]
    assert split_commit(str(length.tokenizer)) == ("org/teacher", COMMITS["b"])
    against = [f"org/old@{COMMITS['c']}(sub):test:a.b", "old.jsonl", "org/old@v2:test:q"]
    assert recipe.decontamination.against == against
    assert recipe.decontamination.tokenizer == f"org/words@{COMMITS['d']}"
    paper, task, _ = recipe.evaluation.benchmarks
    assert paper.kind == "paper" and paper.revision == COMMITS["d"]
    assert task.kind == "lighteval" and task.revision == COMMITS["f"]
    assert task.questions == f"org/bench@{COMMITS['e']}:test:question"
    assert hub_references(_load(tmp_path, locked=False)) == hub_references(free)


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        ({"datasets": {"org/set": "main"}}, r"datasets\.org/set is no commit, got 'main'"),
        ({"sets": {}}, "'sets' is no part of a lock file"),
        ([1], "it is no mapping"),
    ],
)
def test_a_lock_file_that_is_none_is_an_error_of_the_recipe(tmp_path: Path, lock: object, says: str) -> None:
    with pytest.raises(RecipeError, match=rf"recipe\.lock\.yaml: {says}; write it again with `openthoughts lock`"):
        _load(tmp_path, lock)
