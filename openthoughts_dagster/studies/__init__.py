"""Studies train variants of the recipe with several seeds and compare them with their uncertainty."""

from openthoughts_dagster.studies.adoption import adopted_settings
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
)
from openthoughts_dagster.studies.chances import chance_among_best
from openthoughts_dagster.studies.comparison import compare_arms, estimate_mean
from openthoughts_dagster.studies.contamination import ArmLeaks, find_arm_leaks
from openthoughts_dagster.studies.costs import arm_costs, format_completion_costs, format_training_costs
from openthoughts_dagster.studies.decision import best_text, needed_text, p_value, score_text, score_unit
from openthoughts_dagster.studies.design import arm_answer_set, arm_questions, question_texts, student_rows
from openthoughts_dagster.studies.report import reported_cells, study_report
from openthoughts_dagster.studies.results import StudyResult, decision_of, study_result
from openthoughts_dagster.studies.settings import (
    arm_settings,
    question_settings,
    require_current_answers,
    require_current_questions,
)
from openthoughts_dagster.studies.versions import (
    current_student,
    current_version,
    freeze_study,
    record_settings_of_studies,
    record_study_settings,
    study_version,
)

__all__ = [
    "Arm",
    "ArmLeaks",
    "StudyError",
    "StudyResult",
    "adopted_settings",
    "arm_answer_set",
    "arm_costs",
    "arm_keys",
    "arm_named",
    "arm_questions",
    "arm_settings",
    "arm_teacher",
    "arms_of",
    "best_sources",
    "best_text",
    "chance_among_best",
    "compare_arms",
    "current_student",
    "current_version",
    "decision_of",
    "estimate_mean",
    "find_arm_leaks",
    "format_completion_costs",
    "format_training_costs",
    "freeze_study",
    "needed_text",
    "p_value",
    "question_settings",
    "question_texts",
    "record_settings_of_studies",
    "record_study_settings",
    "reported_cells",
    "require_current_answers",
    "require_current_questions",
    "score_text",
    "score_unit",
    "student_keys",
    "student_rows",
    "study_named",
    "study_report",
    "study_result",
    "study_version",
]
