"""`openthoughts release push`, from the terminal to a hub on this machine."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from openthoughts_dagster.cli import main as openthoughts
from openthoughts_dagster.lake import COMPLETIONS
from openthoughts_dagster_tests.hub_double import TOKEN, HubDouble
from openthoughts_dagster_tests.release.published import publish
from openthoughts_dagster_tests.release.sums import TEACHER, small_lake, small_recipe


@pytest.mark.faults
def test_a_dry_run_shows_gates_and_changes_and_a_push_is_a_run_of_the_asset(
    tmp_path: Path, hub: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = small_lake(tmp_path / "lake", count=5)
    settings = {"repository": "team/sums", "token_variable": "TOKEN_OF_TEST"}
    recipe = small_recipe(tmp_path / "recipe", hub=settings)
    made = publish(lake, recipe, tmp_path / "releases")
    home = tmp_path / "dagster"
    home.mkdir()
    for name, value in {
        "OPENTHOUGHTS_RECIPE": tmp_path / "recipe",
        "OPENTHOUGHTS_DATA": tmp_path,
        "DAGSTER_HOME": home,
    }.items():
        monkeypatch.setenv(name, str(value))

    def push(*options: str) -> Result:
        return CliRunner().invoke(openthoughts, ["release", "push", TEACHER, *options])

    shown = push("--dry-run")
    assert shown.exit_code == 0 and "would be created, private" in shown.output, shown.output
    assert "  add     data/train-00000-of-00001.parquet" in shown.output and "  add     funnel.svg" in shown.output
    assert hub.repositories == {}
    ledger = lake.scan(COMPLETIONS).collect()
    lake.replace(COMPLETIONS, ledger.with_columns(outcome=pl.lit("unfinished")))
    stopped = push("--yes")
    assert stopped.exit_code == 1 and "STOPPED truncation: 20 of 20 answers are cut off" in stopped.output
    assert "1 gate stops the release" in stopped.output and hub.repositories == {}
    lake.replace(COMPLETIONS, ledger)
    pushed = push("--yes")
    assert pushed.exit_code == 0 and pushed.output.endswith(f"pushed sums of {TEACHER}\n"), pushed.output
    assert hub.repositories["team/sums"].tags.keys() == {f"v{made.version}"}
    assert TOKEN not in pushed.output + shown.output
    printed = CliRunner().invoke(openthoughts, ["release", "card", TEACHER])
    assert printed.exit_code == 0 and printed.output == hub.repositories["team/sums"].head.files["README.md"].decode()
    monkeypatch.delenv("TOKEN_OF_TEST")
    assert "TOKEN_OF_TEST is not set" in push("--dry-run").output
