"""Asset checks: each rule, on the asset and partition that it looks at."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from openthoughts_dagster.defs import check_rules as rules
from openthoughts_dagster.defs.partitions import cell, cells, sources
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.work import resumable
from openthoughts_dagster.recipe import Recipe

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN

_RULES: dict[str, list[tuple[rules.Rule, dg.AssetCheckSeverity]]] = {
    "quickstart_models": [(rules.tiny_models_are_able, _WARN)],
    "raw_sources": [
        (rules.raw_rows_add_up, _ERROR),
        (rules.raw_questions_are_whole, _ERROR),
        (rules.raw_few_rejected, _WARN),
    ],
    "scored_questions": [(rules.scored_are_the_raw_questions, _ERROR), (rules.scores_are_present, _WARN)],
    "deduped_questions": [
        (rules.curated_rows_add_up, _ERROR),
        (rules.curated_questions_are_unique, _ERROR),
        (rules.no_benchmark_questions, _ERROR),
        (rules.every_benchmark_was_compared, _WARN),
    ],
    "teacher_answers": [(rules.answers_are_complete, _ERROR), (rules.traces_are_closed, _WARN)],
    "generation_costs": [(rules.costs_add_up, _ERROR)],
    "student_checkpoint": [(rules.checkpoint_is_whole, _ERROR), (rules.loss_fell, _WARN)],
    "benchmark_scores": [(rules.every_item_is_scored, _ERROR), (rules.beats_untrained, _WARN)],
    "source_ranking": [(rules.sources_all_ranked, _WARN)],
    "teacher_ranking": [(rules.teachers_all_ranked, _WARN)],
}


def asset_checks(recipe: Recipe) -> list[dg.AssetChecksDefinition]:
    """The checks of all assets. Those with severity ERROR stop what is downstream in the same run."""
    partitions: dict[str, dg.PartitionsDefinition[Any] | None] = {
        "raw_sources": sources,
        "scored_questions": sources,
        "deduped_questions": sources,
        "teacher_answers": cells(recipe),
        "student_checkpoint": cells(recipe),
        "benchmark_scores": cells(recipe),
    }
    # Partitions of checks are in preview in Dagster 1.13; a change there shows in the tests.
    warnings.filterwarnings("ignore", message=".*partitions_def on an AssetCheckSpec.*")
    return [
        _checks(recipe, asset, entries, partitions.get(asset))
        for asset, entries in _RULES.items()
        if asset != "quickstart_models" or recipe.tiny_models
    ]


def _checks(
    recipe: Recipe,
    asset: str,
    entries: list[tuple[rules.Rule, dg.AssetCheckSeverity]],
    partitions: dg.PartitionsDefinition[Any] | None,
) -> dg.AssetChecksDefinition:
    """All checks of an asset in one step: where a step is a pod, each costs more than all rules together."""
    specs = [
        dg.AssetCheckSpec(
            rule.__name__,
            asset=asset,
            description=rule.__doc__,
            blocking=severity is _ERROR,
            partitions_def=partitions,
        )
        for rule, severity in entries
    ]

    @resumable
    def looked(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> list[dg.AssetCheckResult]:
        key = context.partition_keys[0] if partitions is not None else None
        source, teacher = cell(key) if isinstance(key, dg.MultiPartitionKey) else (key or "", "")
        at = rules.Partition(recipe, lake.open(), source, teacher, _recorded(context.instance, asset, key))
        chosen = {check.name for check in context.selected_asset_check_keys}
        return [_result(asset, rule, severity, at) for rule, severity in entries if rule.__name__ in chosen]

    @dg.multi_asset_check(name=f"checks_of_{asset}", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        yield from looked(context, lake)

    return checks


def _result(asset: str, rule: rules.Rule, severity: dg.AssetCheckSeverity, at: rules.Partition) -> dg.AssetCheckResult:
    finding = rule(at)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=rule.__name__,
        passed=finding.passed,
        severity=severity,
        description=finding.says,
        metadata=finding.numbers,
    )


def _recorded(instance: dg.DagsterInstance, asset: str, partition: str | None) -> Mapping[str, Any]:
    """Metadata values of the partition's latest materialization."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=None if partition is None else [partition]
        ),
        limit=1,
    ).records
    materialization = records[0].asset_materialization if records else None
    return {} if materialization is None else {k: v.value for k, v in materialization.metadata.items()}
