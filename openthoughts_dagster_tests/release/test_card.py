"""What the card says is what the tables say; texts of models are text there; templates are checked."""

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import (
    REJECTED_QUESTIONS,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
    Lake,
)
from openthoughts_dagster.recipe import RecipeError
from openthoughts_dagster.recipe.release import CARD_FIELDS
from openthoughts_dagster.release import ReleaseError, list_versions
from openthoughts_dagster.release.card import fill_template, read_card_facts, write_card
from openthoughts_dagster.release.card.sections import SECTIONS
from openthoughts_dagster.release.pushing import prepare_push
from openthoughts_dagster.release.readme import head_of
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.release.published import publish
from openthoughts_dagster_tests.release.sums import SHOP, SUMS, TEACHER, fill_source, small_lake, small_recipe, sums
from openthoughts_dagster_tests.studies.scored_study import study_recipe


def test_the_card_says_what_the_tables_say(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=20), small_recipe(tmp_path / "recipe", sizes={"math": 30})
    benchmark = tmp_path / "recipe" / "benchmarks" / "two_digit_sums" / "test.jsonl"
    leak = json.loads(benchmark.read_text().splitlines()[0])["question"]
    fill_source(lake, SHOP, {**sums(5000, 19), leak: [("r", "110"), ("s", "110")]})
    made = publish(lake, recipe, tmp_path / "one")
    card = (Path(made.path) / "README.md").read_text()
    assert head_of(card).startswith("---\nlicense: apache-2.0\n") and card.removeprefix(head_of(card)).startswith(
        "\n# Sums\n"
    )
    assert "60 answers of the model worked to 30 questions of 2 sources" in card and f"`{made.version}`" in card
    assert "![Questions and answers that every step left](funnel.svg)" in card
    assert "| asked | 40 | 80 |" in card and "| sizes | 30 | 60 |" in card
    assert re.search(r"\| two-digit-sums \| math \| Apache-2.0 \| \d+ \| \d+ \| The benchmark's own kind", card)
    questions, _ = benchmark_questions(recipe.evaluation, recipe.path)
    assert f"compared with {questions.height} questions of {len(recipe.evaluation.benchmarks)} benchmarks" in card
    assert "dropped as leaks: 1." in card
    assert "of 30 questions of this version, drawn at random and compared with every benchmark question, 0 leak" in card
    assert "**Cut off:** 0 of 60 answers" in card and "**Not verified:** 0 of 30 questions have a reference" in card
    assert "rai:dataBiases" in card and f"openthoughts release rebuild {made.version}" in card and "| polars |" in card
    assert "No student was trained" in card and "No study of this recipe" in card
    assert str(tmp_path) not in card

    plot = (Path(made.path) / "funnel.svg").read_text()
    places = re.findall(r'<text x="([\d.]+)"[^>]*"start">([^<]*)</text>', plot)
    assert all(float(x) + 6.5 * len(text) < 920 for x, text in places) and len(places) == 7
    assert plot.startswith("<svg xmlns=") and ">30 questions, 60 answers</text>" in plot and "<script" not in plot


def test_texts_of_models_are_text_on_the_card(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)> [click](http://evil.org) `x` |"
    lake = small_lake(tmp_path / "lake", count=3)
    recipe = small_recipe(tmp_path / "recipe", title="Sums <b>of</b> two")
    recipe = recipe.model_copy(update={"studies": small_recipe_with_study(tmp_path).studies})
    _decide(lake, f"plain wins {evil}")
    leak = {"source": SUMS, "stage": "deduped_questions", "domain": "math", "question": "Ask ada@analytical.org"}
    leak |= {"reason": "benchmark_ngram", "evidence": json.dumps({"benchmark": "b", "text": "Ask bob"})}
    rest = {name: "x" for name, kind in REJECTED_QUESTIONS.columns.items() if kind == pl.String}
    lake.append(REJECTED_QUESTIONS, pl.DataFrame([rest | leak], schema=REJECTED_QUESTIONS.schema))
    card = (Path(publish(lake, recipe, tmp_path / "one").path) / "README.md").read_text()
    card = card.removeprefix(head_of(card))
    assert r"plain wins \<img src=x onerror=alert\(1\)\> \[click\]\(http" in card and r"\`x\` \|" in card
    assert not re.search(r"(?<!\\)<|http://evil|(?<!\\)\]\(http", card)
    assert r"# Sums \<b\>of\</b\> two" in card
    assert "analytical" not in card and "not shown, because it may have personal data | Ask bob" in card


def small_recipe_with_study(folder: Path) -> Any:
    (folder / "study").mkdir()
    return study_recipe(folder / "study")


def _decide(lake: Lake, decision: str) -> None:
    version = {"study": "s", "version": "v1", "number": 1, "definition": "{}", "frozen_at": datetime.now(UTC)}
    lake.append(STUDY_VERSIONS, pl.DataFrame([version], schema=STUDY_VERSIONS.schema))
    numbers = {name: 1 for name, kind in STUDY_RESULTS.columns.items() if kind == pl.Int64}
    scores = {name: 0.25 for name, kind in STUDY_RESULTS.columns.items() if kind == pl.Float64}
    row = {"study": "s", "version": "v1", "arm_name": "plain", "decision": decision, **numbers, **scores}
    lake.append(STUDY_RESULTS, pl.DataFrame([row], schema=STUDY_RESULTS.schema))


def test_a_push_has_a_card_with_scores_that_came_after_the_version(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=3), small_recipe(tmp_path / "recipe")
    made = publish(lake, recipe, tmp_path / "one")
    folder = Path(made.path)
    _score(lake, made.version, [1.0, 0.0, 1.0, 1.0])
    pushed = prepare_push(lake, recipe, TEACHER, Folders(tmp_path / "cache"), tmp_path / "before")
    assert set(pushed.files()) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    card = pushed.files()["README.md"].read_text()
    assert (
        head_of(card) == head_of((folder / "README.md").read_text()) and "| sums | 75.0% ± 25.0% | 0.0% | 4 |" in card
    )
    assert "12 rows" in card and "no e-mail address, phone number or key was found" in card
    assert "No student was trained" in (folder / "README.md").read_text()  # the version itself is as it was


def test_title_and_licence_are_those_of_the_present_recipe_and_rows_those_that_were_made(tmp_path: Path) -> None:
    lake, recipe = small_lake(tmp_path / "lake", count=3), small_recipe(tmp_path / "recipe")
    made = publish(lake, recipe, tmp_path / "one")
    other = small_recipe(tmp_path / "recipe", title="Sums, again", licence="MIT OR Apache-2.0")

    def pushed() -> tuple[dict[str, Any], dict[str, Any]]:
        files = prepare_push(lake, other, TEACHER, Folders(tmp_path / "cache"), tmp_path / "push").files()
        head = yaml.safe_load(files["README.md"].read_text().split("---\n")[1])
        return head, json.loads(files["release.json"].read_text())

    for _ in range(2):  # before and after the folder has them too
        head, record = pushed()
        assert (head["license_name"], head["pretty_name"]) == ("mit-or-apache-2.0", "Sums, again")
        assert (record["licence"], record["version"]) == ("MIT OR Apache-2.0", made.version)
        again = publish(lake, other, tmp_path / "one")
        assert not again.new and again.record["title"] == "Sums, again"
    [entry] = list_versions(lake)
    assert entry.record["licence"] == "MIT OR Apache-2.0" and entry.record["files"] == made.record["files"]
    assert json.loads((Path(made.path) / "release.json").read_text()) == entry.record
    assert "license_name: mit-or-apache-2.0" in (Path(made.path) / "README.md").read_text()

    shard = Path(made.path) / "data" / "train-00000-of-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    (Path(made.path) / "data" / "train-extra.parquet").write_bytes(whole)
    (Path(made.path) / "messages" / "train-00000-of-00001.parquet").unlink()
    says = (
        "data/train-00000-of-00001.parquet was changed, data/train-extra.parquet does not belong to it, "
        "messages/train-00000-of-00001.parquet is missing"
    )
    with pytest.raises(ReleaseError, match=f"is not as version {made.version} was made: {says}.*delete the folder"):
        pushed()
    shutil.rmtree(made.path)
    assert publish(lake, other, tmp_path / "one").new and pushed()[1]["files"] == made.record["files"]


def _score(lake: Lake, version: str, scores: list[float]) -> None:
    labels = {"teacher": TEACHER, "version": version}
    student = labels | {"path": "p", "fingerprint": "f", "losses": "[]", "rows": 12, "steps": 4, "train_tokens": 900}
    student |= {"dropped_rows": 0, "seconds": 1.0, "final_loss": 0.1}
    lake.replace(RELEASE_STUDENTS, pl.DataFrame([student], schema=RELEASE_STUDENTS.schema), teacher=TEACHER)
    item = labels | {"benchmark": "sums", "metric": "exact", "repeats": 1, "untrained_score": 0.0}
    rows = [item | {"item": str(number), "score": score} for number, score in enumerate(scores)]
    lake.replace(RELEASE_SCORES, pl.DataFrame(rows, schema=RELEASE_SCORES.schema), teacher=TEACHER)


@pytest.mark.faults
def test_a_template_of_ones_own_is_filled_and_an_unknown_field_is_refused_with_the_recipe(tmp_path: Path) -> None:
    assert set(SECTIONS) == set(CARD_FIELDS)
    (tmp_path / "recipe").mkdir()
    template = tmp_path / "recipe" / "card.md"
    template.write_text("# {title} {version}\n{{kept}} $\\frac{1}{2}$\n{sources}\n")
    lake, recipe = small_lake(tmp_path / "lake", count=3), small_recipe(tmp_path / "recipe", card="card.md")
    made = publish(lake, recipe, tmp_path / "one")
    card = write_card(read_card_facts(lake, recipe, TEACHER, made.version, datetime.now(UTC)))
    assert card.startswith(f"# Sums {made.version}\n{{kept}} $\\frac{{1}}{{2}}$\n") and SUMS in card
    template.write_text("# {titel}\n")
    with pytest.raises(RecipeError, match=r"card.md has the field \{titel\}"):
        small_recipe(tmp_path / "recipe", card="card.md")
    with pytest.raises(KeyError, match="titel"):
        fill_template("{titel}", {"title": "x"})
    assert head_of("# no head") == "" and head_of("---\na: b\n---\n# x\n---\n") == "---\na: b\n---\n"
