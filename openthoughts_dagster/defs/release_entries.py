"""The entries of the catalogue about the release. Nothing of it starts by itself: no entry has a condition."""

from openthoughts_dagster.defs import check_rules
from openthoughts_dagster.defs.asset_entry import ERROR, WARN, AssetEntry
from openthoughts_dagster.defs.assets.hub_dataset import hub_dataset_asset
from openthoughts_dagster.defs.assets.reasoning_dataset import reasoning_dataset_asset
from openthoughts_dagster.defs.assets.release_scores import release_scores_asset
from openthoughts_dagster.defs.assets.release_student import release_student_asset
from openthoughts_dagster.defs.jobs import RELEASE, RELEASE_PUSH, RELEASE_TRAINING
from openthoughts_dagster.defs.partitions import BY_TEACHER, answers_of_teacher
from openthoughts_dagster.lake import REASONING_DATASET, RELEASE_SCORES, RELEASE_STUDENTS
from openthoughts_dagster.recipe import Recipe


def _has_release(recipe: Recipe) -> bool:
    return recipe.release is not None


def _has_hub(recipe: Recipe) -> bool:
    return recipe.release is not None and recipe.release.hub is not None


RELEASE_ENTRIES: tuple[AssetEntry, ...] = (
    AssetEntry(
        "reasoning_dataset",
        reasoning_dataset_asset,
        group="release",
        owner="data",
        kinds=frozenset({"deltalake", "parquet"}),
        partitions=BY_TEACHER,
        table=REASONING_DATASET,
        inputs=("teacher_answers",),
        mappings={"teacher_answers": answers_of_teacher},
        jobs=(RELEASE,),
        checks={
            check_rules.release_licences_agree: ERROR,
            check_rules.release_has_no_benchmark_questions: ERROR,
            check_rules.release_is_complete: ERROR,
            check_rules.release_is_not_cut_off: ERROR,
            check_rules.release_ranks_are_decided: ERROR,
            check_rules.release_sources_are_told_apart: WARN,
            check_rules.release_has_a_card: ERROR,
            check_rules.release_has_no_personal_data: WARN,
        },
        present=_has_release,
    ),
    AssetEntry(
        "release_student",
        release_student_asset,
        group="release",
        owner="models",
        kinds=frozenset({"pytorch", "huggingface"}),
        partitions=BY_TEACHER,
        table=RELEASE_STUDENTS,
        inputs=("reasoning_dataset",),
        uses_models=True,
        runs="student",
        retries=True,
        pays_models=True,
        jobs=(RELEASE_TRAINING,),
        checks={check_rules.checkpoint_is_whole: ERROR, check_rules.loss_fell: WARN},
        present=_has_release,
    ),
    AssetEntry(
        "release_scores",
        release_scores_asset,
        group="release",
        owner="models",
        kinds=frozenset({"deltalake", "huggingface"}),
        partitions=BY_TEACHER,
        table=RELEASE_SCORES,
        inputs=("release_student",),
        runs="student",
        retries=True,
        pays_models=True,
        jobs=(RELEASE_TRAINING,),
        checks={check_rules.every_item_is_scored: ERROR},
        present=_has_release,
    ),
    AssetEntry(
        "hub_dataset",
        hub_dataset_asset,
        group="release",
        owner="data",
        kinds=frozenset({"huggingface"}),
        partitions=BY_TEACHER,
        inputs=("reasoning_dataset",),
        jobs=(RELEASE_PUSH,),  # of its own: no other job may push
        present=_has_hub,
    ),
)
"""The assets of the release, in the order of their inputs."""
