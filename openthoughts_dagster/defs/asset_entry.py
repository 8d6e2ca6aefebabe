"""An entry of the catalogue, and how it becomes a Dagster asset."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import dagster as dg

from openthoughts_dagster.defs.check_rules import Rule
from openthoughts_dagster.defs.code_links import code_references
from openthoughts_dagster.defs.columns import column_schema
from openthoughts_dagster.defs.partitions import UNPARTITIONED, PartitionKind
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import MODEL_RETRIES, runs_a_model
from openthoughts_dagster.lake import Table
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import join_address

QUICKSTART_MODELS = "quickstart_models"
PAPER = "https://arxiv.org/abs/2506.04178"
Sensor = Literal["cheap_assets", "expensive_assets"]
Condition = Callable[[Recipe], dg.AutomationCondition[Any] | None]
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def _no_condition(_: Recipe) -> None:
    return None


@dataclass(frozen=True)
class AssetEntry:
    """One asset of the catalogue: everything about the asset except its body.

    Args:
        name: The asset's key. The ledger records costs under this name too.
        make: Makes the asset from its entry, the recipe and the settings. It has a file of its own in `assets/`.
        group: The group in the UI.
        owner: The team that is asked about it.
        kinds: The technologies that the UI shows as icons.
        partitions: How it is partitioned.
        table: The table that it writes; None for an asset whose result is files.
        inputs: Names of the assets that it reads.
        mappings: Which partitions of an input one of its partitions reads, when Dagster cannot infer this.
        uses_models: Whether its models may be those of the quickstart, which an asset makes.
        runs: The kind of model that its steps run, which decides their pods on Kubernetes; None for cheap work.
        retries: Whether a step whose model failed is tried again.
        pays_models: Whether materializing it may cost money; people select assets in the UI by this tag.
        condition: The condition under which it is refreshed automatically, for a recipe.
        sensor: The sensor that requests it. Expensive assets have their own, so that it can be stopped separately.
        jobs: The jobs that materialize it.
        checks: The rules that are checked after each materialization. A failed ERROR stops what is downstream.
        watched_for_age: Whether it counts as stale after the recipe's `fresh_days`.
        present: Whether a recipe has this asset.
    """

    name: str
    make: "Callable[[AssetEntry, Recipe, Settings], dg.AssetsDefinition]"
    group: str
    owner: str
    kinds: frozenset[str]
    partitions: PartitionKind = UNPARTITIONED
    table: Table | None = None
    inputs: tuple[str, ...] = ()
    mappings: Mapping[str, Callable[[Recipe], dg.PartitionMapping]] = field(default_factory=dict)
    uses_models: bool = False
    runs: Literal["judge", "teacher", "student"] | None = None
    retries: bool = False
    pays_models: bool = False
    condition: Condition = _no_condition
    sensor: Sensor = "cheap_assets"
    jobs: tuple[str, ...] = ()
    checks: Mapping[Rule, dg.AssetCheckSeverity] = field(default_factory=dict)
    watched_for_age: bool = False
    present: Callable[[Recipe], bool] = lambda _: True

    def upstream(self, recipe: Recipe) -> list[str]:
        """List the assets that it reads. The quickstart's models are among them when the recipe has them."""
        return [*self.inputs, *self.model_inputs(recipe)]

    def model_inputs(self, recipe: Recipe) -> list[str]:
        """List the asset that makes the quickstart's models, when this asset uses them and the recipe has them."""
        return [QUICKSTART_MODELS] if self.uses_models and recipe.tiny_models else []

    def dependencies(self, recipe: Recipe) -> list[dg.AssetDep]:
        """Make the dependencies on the assets that it reads, with their partition mappings."""
        return [
            dg.AssetDep(name, partition_mapping=self.mappings[name](recipe) if name in self.mappings else None)
            for name in self.upstream(recipe)
        ]

    def arguments(self, recipe: Recipe) -> dict[str, Any]:
        """Make the arguments of `@dg.asset`: partitions, inputs, pods and retries."""
        return {
            "name": self.name,
            "partitions_def": self.partitions.definition(recipe),
            "deps": self.dependencies(recipe),
            "op_tags": runs_a_model(self.runs) if self.runs else None,
            "retry_policy": MODEL_RETRIES if self.retries else None,
        }

    def build(self, recipe: Recipe, settings: Settings) -> dg.AssetsDefinition:
        """Make the asset with everything that the catalogue says about it.

        Raises:
            DagsterInvalidDefinitionError: Its body was made with inputs or partitions that differ from the catalogue.
        """
        made = self.make(self, recipe, settings)
        [spec] = made.specs
        reads, partitions = {dep.asset_key.to_user_string() for dep in spec.deps}, self.partitions.definition(recipe)
        same = spec.key == dg.AssetKey(self.name) and reads == set(self.upstream(recipe))
        if not same or spec.partitions_def != partitions:
            raise dg.DagsterInvalidDefinitionError(
                f"{self.name}: its file in defs/assets makes {spec.key.to_user_string()} from {sorted(reads)} with "
                f"{spec.partitions_def}; the catalogue says from {sorted(self.upstream(recipe))} with {partitions}: "
                "give its decorator **entry.arguments(recipe)"
            )
        more = code_references(self.make, settings.repository) | self._table_metadata(settings)
        return made.map_asset_specs(lambda spec: self._add_description(spec, recipe, more))

    def _add_description(self, spec: dg.AssetSpec, recipe: Recipe, metadata: Mapping[str, Any]) -> dg.AssetSpec:
        about = [spec.description, f"Table `{self.table.name}`: {self.table.description}" if self.table else None]
        about.append(f"Method: [OpenThoughts]({PAPER}), arXiv 2506.04178.")
        days = recipe.automation.fresh_days if self.watched_for_age else None
        fresh = None if days is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days))
        return spec.replace_attributes(
            group_name=self.group,
            owners=[f"team:{self.owner}"],
            kinds=set(self.kinds),
            automation_condition=self.condition(recipe),
            freshness_policy=fresh,
            tags={**spec.tags, "openthoughts/pays_models": "yes" if self.pays_models else "no"},
            description="\n\n".join(filter(None, about)),
            metadata={**spec.metadata, **metadata},
        )

    def _table_metadata(self, settings: Settings) -> dict[str, Any]:
        """Make the metadata of the table that Dagster's UI shows: its name, its address and its columns."""
        if self.table is None:
            return {}
        return {
            "dagster/table_name": self.table.name,
            "dagster/uri": join_address(settings.lake, self.table.name),
            "dagster/column_schema": column_schema(self.table),
        }
