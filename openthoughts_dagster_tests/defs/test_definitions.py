"""The code location: light to import, and honest about a recipe that it cannot use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import Automation, load_recipe

HEAVY = ["torch", "vllm", "transformers", "trl", "lighteval", "kubernetes", "datasets", "openai", "matplotlib"]


def _import(environment: dict[str, str], then: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import json, sys; import openthoughts_dagster.definitions; {then}"
    variables = os.environ | environment
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)


def test_importing_the_definitions_loads_no_heavy_library(tmp_path: Path) -> None:
    done = _import({"OPENTHOUGHTS_DATA": str(tmp_path)}, f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_an_unknown_recipe_says_which_there_are(tmp_path: Path) -> None:
    done = _import({"OPENTHOUGHTS_RECIPE": "no-such-recipe", "OPENTHOUGHTS_DATA": str(tmp_path)})
    assert "no recipe 'no-such-recipe'" in done.stderr and "quickstart" in done.stderr


def _definitions(tmp_path: Path) -> dg.Definitions:
    settings = Settings("quickstart", tmp_path, str(tmp_path / "lake"))
    return build_definitions(load_recipe("quickstart", settings.variables()), settings)


def test_every_asset_has_what_a_person_looks_for(tmp_path: Path) -> None:
    specs = {spec.key.to_user_string(): spec for spec in _definitions(tmp_path).resolve_all_asset_specs()}
    assert len(specs) > 9
    for spec in specs.values():
        assert spec.description and spec.owners and spec.kinds and spec.group_name


def test_inputs_and_partitions_pass_dagsters_own_check(tmp_path: Path) -> None:
    """It is what `dg check defs` does."""
    dg.Definitions.validate_loadable(_definitions(tmp_path))


def test_every_asset_has_a_check(tmp_path: Path) -> None:
    definitions = _definitions(tmp_path)
    checked = {key.asset_key for check in definitions.asset_checks or [] for key in check.check_keys}
    assert checked == {spec.key for spec in definitions.resolve_all_asset_specs()}


def test_assets_are_stale_after_the_days_that_a_recipe_says_and_never_without(tmp_path: Path) -> None:
    settings = Settings("quickstart", tmp_path, str(tmp_path / "lake"))
    recipe = load_recipe("quickstart", settings.variables())
    weekly = recipe.model_copy(update={"automation": Automation(fresh_days=7)})
    policies = [
        {
            spec.key.to_user_string()
            for spec in build_definitions(r, settings).resolve_all_asset_specs()
            if spec.freshness_policy
        }
        for r in (recipe, weekly)
    ]
    assert policies == [set(), {"raw_sources", "source_ranking", "teacher_ranking", "generation_costs"}]
