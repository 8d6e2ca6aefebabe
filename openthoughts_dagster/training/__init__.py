"""Training of students: rows for fine-tuning, and the training itself, in one process or many."""

from openthoughts_dagster.training.card import SourceRows
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.run_report import Trained
from openthoughts_dagster.training.sft import check_batch_divides, train_student
from openthoughts_dagster.training.students import Students

__all__ = ["SourceRows", "Students", "Trained", "TrainingError", "check_batch_divides", "train_student"]
