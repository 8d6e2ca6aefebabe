"""Fine-tuning a student on a teacher's answers."""

from openthoughts_dagster.training.rows import sample_rows
from openthoughts_dagster.training.sft import Trained, TrainingError, train_student

__all__ = ["Trained", "TrainingError", "sample_rows", "train_student"]
