"""Students: rows for fine-tuning, and the training itself, in one process or many."""

from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.run import Trained
from openthoughts_dagster.training.sft import check_batch_divides, train_student

__all__ = ["Trained", "TrainingError", "check_batch_divides", "train_student"]
