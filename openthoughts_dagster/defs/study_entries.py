"""The entries of the catalogue about studies. Nothing of them starts by itself: no entry has a condition."""

from openthoughts_dagster.defs import check_rules
from openthoughts_dagster.defs.asset_entry import ERROR, WARN, AssetEntry
from openthoughts_dagster.defs.assets.arm_answers import arm_answers_asset
from openthoughts_dagster.defs.assets.arm_scores import arm_scores_asset
from openthoughts_dagster.defs.assets.arm_student import arm_student_asset
from openthoughts_dagster.defs.assets.study_results import study_results_asset
from openthoughts_dagster.defs.jobs import STUDY_ANSWERS, STUDY_DECISION, STUDY_STUDENTS
from openthoughts_dagster.defs.partitions import (
    BY_ARM,
    BY_ARM_STUDENT,
    BY_STUDY,
    every_source,
    students_of_arms,
    studies_of_students,
)
from openthoughts_dagster.lake import ARM_ANSWERS, ARM_SCORES, ARM_STUDENTS, STUDY_RESULTS
from openthoughts_dagster.recipe import Recipe


def _has_studies(recipe: Recipe) -> bool:
    return bool(recipe.studies)


STUDY_ENTRIES: tuple[AssetEntry, ...] = (
    AssetEntry(
        "arm_answers",
        arm_answers_asset,
        group="studies",
        owner="models",
        kinds=frozenset({"deltalake", "llm"}),
        partitions=BY_ARM,
        table=ARM_ANSWERS,
        inputs=("scored_questions", "deduped_questions"),
        mappings={"scored_questions": every_source, "deduped_questions": every_source},
        uses_models=True,
        runs="teacher",
        retries=True,
        pays_models=True,
        jobs=(STUDY_ANSWERS,),
        checks={check_rules.arm_answers_are_complete: ERROR},
        present=_has_studies,
    ),
    AssetEntry(
        "arm_student",
        arm_student_asset,
        group="studies",
        owner="models",
        kinds=frozenset({"pytorch", "huggingface"}),
        partitions=BY_ARM_STUDENT,
        table=ARM_STUDENTS,
        inputs=("arm_answers",),
        mappings={"arm_answers": students_of_arms},
        uses_models=True,
        runs="student",
        retries=True,
        pays_models=True,
        jobs=(STUDY_STUDENTS,),
        checks={check_rules.checkpoint_is_whole: ERROR, check_rules.loss_fell: WARN},
        present=_has_studies,
    ),
    AssetEntry(
        "arm_scores",
        arm_scores_asset,
        group="studies",
        owner="models",
        kinds=frozenset({"deltalake", "huggingface"}),
        partitions=BY_ARM_STUDENT,
        table=ARM_SCORES,
        inputs=("arm_student",),
        runs="student",
        retries=True,
        pays_models=True,
        jobs=(STUDY_STUDENTS,),
        checks={check_rules.every_item_is_scored: ERROR},
        present=_has_studies,
    ),
    AssetEntry(
        "study_results",
        study_results_asset,
        group="studies",
        owner="data",
        kinds=frozenset({"deltalake", "polars"}),
        partitions=BY_STUDY,
        table=STUDY_RESULTS,
        inputs=("arm_scores",),
        mappings={"arm_scores": studies_of_students},
        jobs=(STUDY_DECISION,),
        checks={
            check_rules.arm_is_comparable: WARN,
            check_rules.arms_are_not_cut_off: WARN,
            check_rules.arms_can_be_told_apart: WARN,
        },
        present=_has_studies,
    ),
)
"""The assets of studies, in the order of their inputs."""
