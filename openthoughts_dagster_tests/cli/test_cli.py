"""The command line, over a lake and an instance of its own."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from openthoughts_dagster.cli import main
from openthoughts_dagster.cli.doctor_models import check_models
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.landing import Watch, open_landing_zone
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.answers.rows import completion_rows
from openthoughts_dagster_tests.cli.conftest import QUESTIONS, run
from openthoughts_dagster_tests.e2e.small_recipe import GSM8K

STRAY_QUOTE = Path(__file__).parents[1] / "sources" / "data" / "cases" / "stray_quote.csv"


def test_plan_says_what_the_missing_answers_would_cost(folder: Path) -> None:
    done = run("plan")
    assert done.exit_code == 0, done.output
    # 10 questions, 2 answers of up to 1,000 tokens each, at 2 USD for a million
    assert "teachers: 20 completions to generate, about 0.04 USD\n" in done.output
    assert "students: 0 completions to generate and 1 training, the cost is unknown" in done.output


def test_plan_of_a_teacher_that_is_not_there_says_who_is(folder: Path) -> None:
    done = run("plan", "--teacher", "quick")
    assert done.exit_code == 1 and "no teacher quick; there are slow" in done.output


def test_backfill_shows_the_plan_first_and_says_when_nothing_answers(folder: Path) -> None:
    refused = CliRunner().invoke(main, ["backfill", "--teacher", "slow", "--ui", "http://127.0.0.1:9"], input="n\n")
    assert refused.exit_code == 1 and "20 completions" in refused.output and "Aborted" in refused.output
    done = run("backfill", "--teacher", "slow", "--ui", "http://127.0.0.1:9", "--yes")
    assert done.exit_code == 1 and "does not answer" in done.output and "make ui" in done.output


def test_status_counts_partitions_rows_and_cost(folder: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("source", ["sums", "more"])
        instance.report_runless_asset_event(dg.AssetMaterialization("deduped_questions", partition="sums"))
    for money in ({"cost": 2.0, "currency": "USD"}, {"cost": 3.0, "currency": "EUR"}):
        rows = completion_rows("m@1", ["1"], ["2"], [None]).with_columns(
            asset=pl.lit("teacher_answers"), asked_as=pl.lit("slow"), **{name: pl.lit(v) for name, v in money.items()}
        )
        Lake(folder / "lake").append(COMPLETIONS, rows)
    done = run("status")
    assert done.exit_code == 0, done.output
    lines = {line.split()[0]: line.split() for line in done.output.splitlines() if " by " not in line}
    assert lines["deduped_questions"][1:7] == ["2", "1", "0", "0", "1", str(QUESTIONS)]
    assert lines["teacher_answers"][1:7] == ["2", "0", "0", "0", "2", "0"]
    assert "teacher_answers by slow" in done.output and done.output.count("3.00 EUR + 2.00 USD") == 2


def test_an_added_file_lands_complete_and_is_taken(folder: Path) -> None:
    done = run("sources", "add", str(GSM8K), "--domain", "math", "--answer", "answer", "--name", "gsm8k")
    assert done.exit_code == 0, done.output
    recipe = load_recipe(str(folder / "recipe"), {"OPENTHOUGHTS_DATA": str(folder)})
    seen = Watch(recipe, open_landing_zone(str(folder / "landing")), None).look({}, {}, 0, set())
    assert seen.sources["gsm8k"].landed and not seen.sources["gsm8k"].problem
    again = ("sources", "add", str(GSM8K), "--domain", "math", "--answer", "answer", "--name", "gsm8k")
    refused = run(*again)
    assert refused.exit_code == 1 and "has landed before" in refused.output
    assert run(*again, "--replace").exit_code == 0
    assert (folder / "landing" / "gsm8k" / "_SUCCESS").exists()


def test_adding_a_file_says_how_many_of_its_rows_are_no_questions(folder: Path) -> None:
    done = run("sources", "add", str(STRAY_QUOTE), "--domain", "math", "--name", "stray")
    assert done.exit_code == 0 and "(299 questions, and 1 rows rejected: 1 not_csv)" in done.output, done.output
    done = run("sources", "add", str(STRAY_QUOTE), "--domain", "chess", "--name", "other")
    assert "its domain 'chess' is new, the recipe has math)" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--domain", "math", "--question", "prompt"], "none of its 40 rows has a question in 'prompt'"),
        (["--domain", "math", "--name", "a b"], "becomes a partition key"),
        (["--domain", "math", "--name", "sums"], "the recipe has a source 'sums'"),
    ],
)
def test_a_file_that_could_not_be_read_does_not_land(folder: Path, arguments: list[str], says: str) -> None:
    done = run("sources", "add", str(GSM8K), *arguments)
    assert done.exit_code == 1 and says in done.output
    assert not (folder / "landing").exists()


def test_doctor_says_whether_the_recipe_fits_the_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cluster.yaml").write_text("images: {code: c, gpu: g}\n")
    monkeypatch.setenv("OPENTHOUGHTS_EXECUTOR", "kubernetes")
    monkeypatch.setenv("OPENTHOUGHTS_CLUSTER", str(folder / "cluster.yaml"))

    assert "no accelerators; the recipe's models fit" in run("doctor").output
    misspelt = "images: {code: c, gpu: g}\nwork: {cpu: {pod: {pod_spec_config: {nodeSelecto: {}}}}}\n"
    (folder / "cluster.yaml").write_text(misspelt)
    assert "PROBLEM cluster: work.cpu.pod: no pod that Kubernetes would take" in run("doctor").output


def test_doctor_asks_of_each_engine_only_what_it_needs_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"aiohttp"}
    monkeypatch.setattr("openthoughts_dagster.recipe.engines.find_spec", lambda name: name if name in here else None)
    settings = Settings.from_environment()

    def told(**changed: Any) -> str:
        found = check_models(settings.load_recipe(), replace(settings, **changed))
        return "\n".join(f"{finding.what}: {finding.good} {finding.says}" for finding in found)

    assert re.search(r"^teacher \S+: True \S+@\S+ on openai$", told(), re.MULTILINE)
    assert "student student: False engine transformers needs the package torch" in told()
    assert "needs the package" not in told(executor="kubernetes")
    here.clear()
    assert "aiohttp, which is not installed here: pip install 'openthoughts-dagster[servers]'" in told()


def test_doctor_finds_what_is_missing_and_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("doctor")
    assert done.exit_code == 1
    assert "ok      recipe: served: 1 sources, 1 teachers" in done.output
    assert "PROBLEM student student" in done.output and "no-student does not exist" in done.output
    assert "PROBLEM landing zone" in done.output
    monkeypatch.setenv("OPENTHOUGHTS_RECIPE", "no-such-recipe")
    assert "PROBLEM recipe: no recipe 'no-such-recipe'" in run("doctor").output
