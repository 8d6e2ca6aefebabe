"""scored_questions and deduped_questions through Dagster, on real questions: numbers, pictures and checks."""

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.metadata import recorded_steps
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, REJECTED_QUESTIONS, Lake
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.questions.test_real_leaks import DATA, GSM8K

ASSETS = ["raw_sources", "scored_questions", "deduped_questions"]


def _recipe(folder: Path, planted: list[str]) -> Path:
    lines = GSM8K.read_text().splitlines()
    lines += [json.dumps({"question": text, "answer": "?"}) for text in [*planted, f"{planted[0]} "]]
    (folder / "train.jsonl").write_text("\n".join(lines))
    rows = [json.loads(line) for line in (DATA / "gsm8k_test_sample.jsonl").read_text().splitlines()]
    items = [{"question": row["question"], "answer": row["answer"].rpartition("#### ")[2]} for row in rows]
    (folder / "test.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    model = {"name": "m", "model": "./nowhere"}
    recipe = {
        "name": "leaky",
        "description": "GSM8K with some of its test set in it.",
        "sources": [{"name": "gsm8k", "domain": "math", "licence": "MIT", "reader": "files", "path": "train.jsonl"}],
        "scores": [{"name": "random", "method": "random"}],
        "domains": {"math": {"selection": {"by": "random", "count": 45}, "dedup": {"method": "fuzzy"}}},
        "teachers": [model],
        "student": model | {"preset": "micro"},
        "evaluation": {"benchmarks": [{"name": "gsm8k-test", "kind": "file", "path": "test.jsonl"}]},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return folder


def test_leaks_are_dropped_shown_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = [json.loads(line)["question"] for line in (DATA / "gsm8k_test_sample.jsonl").read_text().splitlines()]
    recipe = load_recipe(str(_recipe(tmp_path, test[:9])), {})
    settings = Settings.from_environment({"OPENTHOUGHTS_DATA": str(tmp_path / "data")})
    monkeypatch.setattr("openthoughts_dagster.defs.check_rules.questions._PART", 7)  # checks read several parts
    definitions = build_definitions(recipe, settings)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source", ["gsm8k"])
        job = definitions.resolve_implicit_global_asset_job_def()
        selected = [dg.AssetKey(name) for name in ASSETS]
        result = job.execute_in_process(partition_key="gsm8k", asset_selection=selected, instance=instance)

    assert result.success
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations()}
    for name in ("curated_rows_add_up", "curated_questions_are_unique", "no_benchmark_questions"):
        assert evaluations[name].passed, evaluations[name].description
    metadata = result.asset_materializations_for_node("deduped_questions")[0].metadata
    steps = recorded_steps(metadata["steps"].value)
    assert list(steps.items())[:2] == [("scored", 50), ("selected", 46)]  # 45 different ones, and a copy
    assert "data:image/png;base64," in str(metadata["funnel"].value)
    assert "gsm8k-test | test.jsonl" in str(metadata["leaks_side_by_side"].value)
    lake = Lake(settings.lake)
    kept = lake.scan(DEDUPED_QUESTIONS).collect()["question"].to_list()
    rejected = lake.scan(REJECTED_QUESTIONS).collect()
    assert not {text.strip() for text in kept} & set(test)
    assert len(kept) + rejected.height == 50 and set(rejected["reason"]) <= {"below_cut", "benchmark_ngram"}
