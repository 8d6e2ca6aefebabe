"""The asset reasoning_dataset, run by Dagster on a lake that is filled."""

from pathlib import Path

import dagster as dg
import yaml

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.catalogue import entry_of
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import RELEASE_FUNNEL, RELEASE_VERSIONS
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.release.sums import TEACHER, small_lake, small_recipe


def test_a_person_makes_a_release_whose_page_shows_its_funnel(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", count=8)
    small_recipe(tmp_path / "recipe", sizes={"math": 10})
    settings = Settings(str(tmp_path / "recipe"), tmp_path, str(tmp_path / "lake"))
    recipe = load_recipe(settings.recipe, settings.variables())
    definitions = build_definitions(recipe, settings)
    assert entry_of("reasoning_dataset").condition(recipe) is None  # nothing makes a release but a person
    with dg.DagsterInstance.ephemeral() as instance:
        run = definitions.resolve_job_def("release").execute_in_process(partition_key=TEACHER, instance=instance)
    failed = [check.check_name for check in run.get_asset_check_evaluations() if not check.passed]
    assert failed == [] and len(run.get_asset_check_evaluations()) == 7
    [event] = run.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    folder = Path(str(metadata["folder"]))
    assert folder == tmp_path / "releases" / "sums" / TEACHER / str(metadata["version"])
    assert (metadata["dagster/row_count"], metadata["questions"], metadata["short"]) == (20, 10, "no")
    assert "base64" in str(metadata["funnel"]) and (folder / "funnel.svg").is_file()
    [version] = lake.scan(RELEASE_VERSIONS).collect().iter_rows(named=True)
    assert (version["path"], version["rows"]) == (str(folder), 20)
    assert lake.scan(RELEASE_FUNNEL).collect()["step"].unique().len() == 6
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pretty_name"] == "Sums" and "# Sums" in card
    assert str(tmp_path) not in (folder / "release.json").read_text()
