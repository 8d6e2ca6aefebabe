"""Studies train variants of the recipe with several seeds and compare them with their uncertainty."""

from openthoughts_dagster.studies.arms import (
    Arm,
    StudyError,
    arm_keys,
    arm_named,
    arm_teacher,
    arms_of,
    best_sources,
    student_keys,
    study_named,
    study_version,
)
from openthoughts_dagster.studies.comparison import chance_among_best, compare_arms, estimate_mean
from openthoughts_dagster.studies.costs import arm_costs
from openthoughts_dagster.studies.design import arm_answer_set, arm_questions, question_texts, student_rows
from openthoughts_dagster.studies.report import adopted_settings, reported_cells, study_report
from openthoughts_dagster.studies.results import StudyResult, decision_of, freeze_study, p_value, study_result

__all__ = [
    "Arm",
    "StudyError",
    "StudyResult",
    "adopted_settings",
    "arm_answer_set",
    "arm_costs",
    "arm_keys",
    "arm_named",
    "arm_questions",
    "arm_teacher",
    "arms_of",
    "best_sources",
    "chance_among_best",
    "compare_arms",
    "decision_of",
    "estimate_mean",
    "freeze_study",
    "p_value",
    "question_texts",
    "reported_cells",
    "student_keys",
    "student_rows",
    "study_named",
    "study_report",
    "study_result",
    "study_version",
]
