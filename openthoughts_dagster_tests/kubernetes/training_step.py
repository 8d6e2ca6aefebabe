"""What the step of `student_checkpoint` does for a student on several nodes, without a run around it.

python -m openthoughts_dagster_tests.kubernetes.training_step STUDENT.json ROWS.parquet PORT ADDRESS_OF_STUDENTS
"""

import json
import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import polars as pl

from openthoughts_dagster.defs.kubernetes.several_nodes import nodes_launch
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.storage import Folders
from openthoughts_dagster.training import Students, train_student


def main(student_file: str, rows_file: str, port: str, students: str) -> None:
    """Train and print what came of it; SIGTERM is an interrupt, as in Dagster's steps."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings, log = Settings.from_environment(), partial(print, flush=True)
    student = Student.model_validate_json(Path(student_file).read_bytes())
    launch = nodes_launch(student, log, int(port))
    base = locate(student, Path(), Folders(settings.cache), weights=False)
    place = Students(students, settings.data / "students", settings.cache)
    trained = train_student(student, base, pl.read_parquet(rows_file), place, log, launch=launch)
    assert "torch" not in sys.modules
    print(f"trained {json.dumps(asdict(trained))}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
