"""The rules of asset checks: each one looks into the tables for a possible fault of a partition."""

from openthoughts_dagster.defs.check_rules.answers import (
    answers_are_complete,
    costs_add_up,
    traces_are_closed,
)
from openthoughts_dagster.defs.check_rules.partition import (
    Finding,
    Partition,
    Rule,
)
from openthoughts_dagster.defs.check_rules.questions import (
    curated_questions_are_unique,
    curated_rows_add_up,
    every_benchmark_was_compared,
    no_benchmark_questions,
    raw_few_rejected,
    raw_questions_are_whole,
    raw_rows_add_up,
    scored_are_the_raw_questions,
    scores_are_present,
)
from openthoughts_dagster.defs.check_rules.release import (
    release_has_a_card,
    release_has_no_benchmark_questions,
    release_has_no_personal_data,
    release_is_complete,
    release_is_not_cut_off,
    release_licences_agree,
    release_ranks_are_decided,
)
from openthoughts_dagster.defs.check_rules.students import (
    beats_untrained,
    best_sources_are_told_apart,
    checkpoint_is_whole,
    every_item_is_scored,
    loss_fell,
    release_sources_are_told_apart,
    sources_all_ranked,
    teachers_all_ranked,
    tiny_models_are_able,
)
from openthoughts_dagster.defs.check_rules.studies import (
    arm_answers_are_complete,
    arm_is_comparable,
    arms_are_not_cut_off,
    arms_can_be_told_apart,
)

__all__ = [
    "Finding",
    "Partition",
    "Rule",
    "answers_are_complete",
    "arm_answers_are_complete",
    "arm_is_comparable",
    "arms_are_not_cut_off",
    "arms_can_be_told_apart",
    "beats_untrained",
    "best_sources_are_told_apart",
    "checkpoint_is_whole",
    "costs_add_up",
    "curated_questions_are_unique",
    "curated_rows_add_up",
    "every_benchmark_was_compared",
    "every_item_is_scored",
    "loss_fell",
    "no_benchmark_questions",
    "raw_few_rejected",
    "raw_questions_are_whole",
    "raw_rows_add_up",
    "release_has_a_card",
    "release_has_no_benchmark_questions",
    "release_has_no_personal_data",
    "release_is_complete",
    "release_is_not_cut_off",
    "release_licences_agree",
    "release_ranks_are_decided",
    "release_sources_are_told_apart",
    "scored_are_the_raw_questions",
    "scores_are_present",
    "sources_all_ranked",
    "teachers_all_ranked",
    "tiny_models_are_able",
    "traces_are_closed",
]
