"""Asset checks: each rule becomes a check of its asset."""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.asset_entry import ERROR, AssetEntry
from openthoughts_dagster.defs.check_rules import Partition, Rule
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.recipe import Recipe


def asset_checks(entries: Sequence[AssetEntry], recipe: Recipe) -> list[dg.AssetChecksDefinition]:
    """Make the checks of the catalogue's entries. A failed ERROR stops what is downstream in the same run."""
    # Partitions of checks are in preview in Dagster 1.13; a change there shows in the tests.
    warnings.filterwarnings("ignore", message=".*partitions_def on an AssetCheckSpec.*")
    return [_checks(recipe, entry) for entry in entries if entry.checks]


def _checks(recipe: Recipe, entry: AssetEntry) -> dg.AssetChecksDefinition:
    """Make all checks of an asset in one step: when a step is a pod, its start takes longer than all rules together."""
    asset, partitions = entry.name, entry.partitions.definition(recipe)
    specs = [
        dg.AssetCheckSpec(
            rule.__name__,
            asset=asset,
            description=inspect.cleandoc(rule.__doc__ or ""),
            blocking=severity is ERROR,
            partitions_def=partitions,
        )
        for rule, severity in entry.checks.items()
    ]

    @resumable
    def results(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> list[dg.AssetCheckResult]:
        key = context.partition_keys[0] if partitions is not None else None
        labels = {} if key is None else entry.partitions.labels(key)
        at = Partition(recipe, lake.open(), labels, _recorded(context.instance, asset, key))
        chosen = {check.name for check in context.selected_asset_check_keys}
        return [_result(asset, rule, how, at) for rule, how in entry.checks.items() if rule.__name__ in chosen]

    @dg.multi_asset_check(name=f"checks_of_{asset}", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        yield from results(context, lake)

    return checks


def _result(asset: str, rule: Rule, severity: dg.AssetCheckSeverity, at: Partition) -> dg.AssetCheckResult:
    finding = rule(at)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=rule.__name__,
        passed=finding.passed,
        severity=severity,
        description=finding.says,
        metadata={
            name: round(value, 4) if isinstance(value, float) else value for name, value in finding.numbers.items()
        },
    )


def _recorded(instance: dg.DagsterInstance, asset: str, partition: str | None) -> Mapping[str, Any]:
    """Return the metadata values of the partition's latest materialization."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=None if partition is None else [partition]
        ),
        limit=1,
    ).records
    materialization = records[0].asset_materialization if records else None
    return {} if materialization is None else {k: v.value for k, v in materialization.metadata.items()}
