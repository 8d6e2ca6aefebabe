"""Versions of a release are listed, made again to the same bytes, and compared."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

from openthoughts_dagster.cli import main
from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REASONING_DATASET,
    SCORED_QUESTIONS,
    Lake,
    text_hash,
)
from openthoughts_dagster.release import (
    ReleaseError,
    ReleasePlace,
    diff,
    find_version,
    list_versions,
    make_release,
    rebuild,
)
from openthoughts_dagster.release.record import file_digests, make_record
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.release.sums import SHOP, SUMS, TEACHER, fill_source, small_lake, small_recipe, sums
from openthoughts_dagster_tests.release.test_choosing import NOTHING
from openthoughts_dagster_tests.release.test_files import make


def test_a_version_is_made_again_to_the_same_bytes_after_the_tables_moved_on(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=12)
    first = make(lake, tmp_path, sizes={"math": 20})
    fill_source(lake, SUMS, sums(1005, 10, samples=3))
    second = make(lake, tmp_path)
    assert [each.version for each in list_versions(lake)] == [first.version, second.version]

    entry = find_version(lake, first.version[:6])
    made = rebuild(lake, entry, tmp_path / "again")
    assert (made.differing, dict(made.libraries)) == ((), {})
    assert file_digests(tmp_path / "again") == file_digests(Path(first.path)) == entry.record["files"]
    original = (Path(first.path) / "README.md").read_text()
    assert (tmp_path / "again" / "README.md").read_text() == original
    with pytest.raises(ReleaseError, match="has files already"):
        rebuild(lake, entry, tmp_path / "again")
    with pytest.raises(
        ReleaseError, match=f"no release has the version 'x'; there are {first.version} \\(sums of worked"
    ):
        find_version(lake, "x")


def test_a_published_record_names_no_server_and_no_folder(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    served = {"engine": "openai", "base_url": "http://gpu7.inner:8000/v1", "model": f"{tmp_path}/teacher"}
    recipe = recipe.model_copy(update={"teachers": [recipe.teachers[0].model_copy(update=served)]})
    record = make_record(recipe, recipe.teachers[0].name, datetime.now(UTC), {}, {"OPENTHOUGHTS_DATA": str(tmp_path)})
    assert record["recipe"]["teachers"][0]["model"] == "${OPENTHOUGHTS_DATA}/teacher"
    assert record["recipe"]["teachers"][0]["base_url"] == "https://server.invalid/v1"
    assert str(tmp_path) not in json.dumps(record["recipe"]["teachers"]) and "gpu7" not in json.dumps(record)


def test_maintenance_keeps_what_a_release_was_made_from(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=6)
    first = make(lake, tmp_path)
    fill_source(lake, SUMS, sums(2000, 6))
    lake.maintain(retention_hours=0)
    shutil.rmtree(first.path)
    made = rebuild(lake, find_version(lake, first.version), tmp_path / "again", recipe_folder=tmp_path / "recipe")
    assert made.differing == () and "# Sums" in (tmp_path / "again" / "README.md").read_text()


def test_a_lake_that_was_vacuumed_past_a_version_says_what_can_still_be_rebuilt(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=6)
    first = make(lake, tmp_path)
    entry = find_version(lake, first.version)
    fill_source(lake, SUMS, sums(1000, 4))  # two questions are no longer selected, and all have been read again
    _vacuum(lake)
    says = (
        r"deduped_questions: version \d+ was vacuumed.*have 20 of its 24 rows: 2 questions and 0 completions are gone"
    )
    with pytest.raises(ReleaseError, match=says):
        rebuild(lake, entry, tmp_path / "again")
    fill_source(lake, SUMS, sums(1000, 6))
    _vacuum(lake)
    with pytest.raises(ReleaseError, match=r"still have all 24 rows.*--from-present"):
        rebuild(lake, entry, tmp_path / "again")
    shutil.rmtree(lake.address(REASONING_DATASET))  # the version's own files still have its rows
    assert rebuild(lake, entry, tmp_path / "again", from_present=True).differing == ()
    manifest = Path(first.path) / "manifest.parquet"
    rows, kept = pl.read_parquet(manifest), manifest.read_bytes()
    rows.with_columns(content=pl.col("content").reverse()).write_parquet(manifest)
    with pytest.raises(ReleaseError, match="has other rows by now: its files were changed"):
        rebuild(lake, entry, tmp_path / "edited", from_present=True)
    manifest.write_bytes(kept)
    shutil.rmtree(lake.address(COMPLETIONS))
    with pytest.raises(ReleaseError, match=r"0 of its 24 rows: 0 questions and 24 completions"):
        rebuild(lake, entry, tmp_path / "once more", from_present=True)


def _vacuum(lake: Lake) -> None:
    """Delete old files as another tool does, which knows nothing of releases."""
    for table in (DEDUPED_QUESTIONS, RAW_SOURCES, SCORED_QUESTIONS):
        DeltaTable(lake.address(table)).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)


def test_two_versions_say_what_came_went_and_changed_and_why(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill_source(lake, SUMS, {**sums(1, 3), "Twice?": [("r", "1"), ("r", "2")], "Once?": [("r", "1"), ("s", "1")]})
    fill_source(lake, SHOP, sums(100, 2))
    before = make(lake, tmp_path)
    fill_source(lake, SUMS, {**sums(2, 3), "Twice?": [("r", "1"), ("new", "3")], "Once?": [None, ("s", "1")]})
    fill_source(lake, SHOP, {**sums(100, 2), "Twice? ": [("r", "1")]})
    after = make(lake, tmp_path, sources=[SHOP, SUMS])

    one, other = (find_version(lake, made.version) for made in (before, after))
    found = diff(lake, one, other)
    questions = {(row["change"], row["question_id"]): row for row in found.questions.iter_rows(named=True)}
    assert questions["came", text_hash("What is 4 + 5?")]["reason"] == "it is new among deduped_questions"
    assert questions["came", text_hash("Twice? ")]["answers"] == 1
    assert questions["went", text_hash("What is 1 + 2?")]["reason"] == "it is no longer among deduped_questions"
    assert questions["went", text_hash("Twice?")]["reason"].startswith("dedup (duplicate_exact): ")
    [answer] = found.answers.iter_rows(named=True)
    assert (answer["change"], answer["sample_index"]) == ("went", 0)
    assert answer["reason"] == "rejected_answers (error): the server said no"
    assert found.same == 2 * 2 + 1 + 2 * 2
    back = diff(lake, other, one)
    [again] = back.questions.filter(change="came", question_id=text_hash("Twice?"))["reason"]
    assert again.startswith(f"left out of {other.version}, dedup (duplicate_exact)")


def test_versions_of_equal_answers_say_how_they_are_ordered_and_described(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=4)
    one, other = make(lake, tmp_path), make(lake, tmp_path, seed=7)
    fill_source(lake, SUMS, sums(1000, 4), licence="MIT")
    third = make(lake, tmp_path, seed=7)
    versions = [find_version(lake, made.version) for made in (one, other, third)]
    moved, described = diff(lake, *versions[:2]), diff(lake, *versions[1:])
    assert (moved.same, moved.described, moved.reordered) == (16, {}, True)
    assert (described.same, described.described, described.reordered) == (16, {"licence": 8}, False)
    assert moved.counts().is_empty() and described.counts().is_empty()


def test_a_version_of_folders_that_moved_or_of_two_releases_is_found(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=2)
    make(lake, tmp_path)
    moved = make_release(
        lake,
        small_recipe(tmp_path / "recipe"),
        TEACHER,
        ReleasePlace(str(tmp_path / "[new]"), tmp_path / "[new]", Folders(tmp_path / "cache")),
        benchmarks=NOTHING,
    )
    entry = find_version(lake, moved.version)
    assert entry.path == moved.path and [each.path for each in list_versions(lake)] == [moved.path]
    shutil.rmtree(lake.address(REASONING_DATASET))  # its files have its rows, also below a folder with brackets
    assert rebuild(lake, entry, tmp_path / "again", from_present=True).differing == ()
    again = make(lake, tmp_path, name="renamed")
    assert again.version == moved.version
    with pytest.raises(ReleaseError, match=f"several releases have the version {again.version}: give sums/worked/"):
        find_version(lake, again.version)
    assert find_version(lake, f"renamed/worked/{again.version[:4]}").path == again.path


def test_a_version_of_a_recipe_that_this_code_does_not_know_says_what_made_it(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=2)
    entry = find_version(lake, make(lake, tmp_path).version)
    recipe = entry.record["recipe"] | {"answer_filter": {"method": "of_tomorrow"}}
    newer = replace(entry, record=dict(entry.record) | {"recipe": recipe})
    with pytest.raises(ReleaseError, match=r"answer_filter: .*Rebuild it with the code that made it, version \d"):
        rebuild(lake, newer, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_another_answer_to_the_same_sample_is_a_change(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=2)
    before = make(lake, tmp_path)
    fill_source(lake, SUMS, {**sums(1000, 1), "What is 1001 + 1002?": [("r", "5"), ("other", "2003")]})
    after = make(lake, tmp_path)
    found = diff(lake, find_version(lake, before.version), find_version(lake, after.version))
    assert found.questions.is_empty() and found.answers["change"].to_list() == ["changed", "changed"]


def test_the_commands_list_show_rebuild_and_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = small_lake(tmp_path / "lake", count=3)
    first, second = make(lake, tmp_path), make(lake, tmp_path, sizes={"math": 4})
    monkeypatch.setenv("OPENTHOUGHTS_DATA", str(tmp_path))
    monkeypatch.setenv("OPENTHOUGHTS_RECIPE", str(tmp_path / "recipe"))

    def run(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["release", *words])
        assert done.exit_code == status, done.output
        return done.output

    listed = run("list").splitlines()
    assert second.version in listed[1] and first.version in listed[2]
    assert "asked" in run("show", first.version) and "polars" in run("show", first.version)
    assert json.loads(run("show", first.version, "--json"))["version"] == first.version
    said = run("rebuild", first.version, "--to", str(tmp_path / "again"))
    assert "all 5 Parquet files have the recorded bytes" in said
    compared = run("diff", first.version, second.version)
    assert "8 answers are in both" in compared and "not_drawn" in compared
    assert len(run("diff", first.version, second.version, "--json").splitlines()) == 2
    assert "no release has the version 'zz'" in run("show", "zz", status=1)
