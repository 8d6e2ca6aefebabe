"""A training as files in a folder, so that processes elsewhere can do it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import ModelIdentity
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.checkpoints import SharedStudents

JOB = "job.json"
_ROWS = "rows.parquet"


@dataclass(frozen=True)
class Job:
    """What a student is trained from: settings, base weights and rows (question, text); where its checkpoints go."""

    student: Student
    base: Model
    rows: pl.DataFrame
    shared: SharedStudents | None = None

    def write(self, folder: Path) -> None:
        """Leave the job in `folder`; job.json is written last."""
        folder.mkdir(parents=True, exist_ok=True)
        self.rows.select("question", "text").write_parquet(folder / _ROWS)
        content = {
            "student": self.student.model_dump(mode="json", exclude_unset=True),  # rules look at what was set
            "base": {"address": self.base.address, "identity": asdict(self.base.identity)},
            "shared": None if self.shared is None else [self.shared.address, str(self.shared.cache)],
        }
        (folder / JOB).write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """The job that `write` left in `folder`."""
        content = json.loads((folder / JOB).read_text())
        student = Student.model_validate(content["student"])
        base = Model(student, content["base"]["address"], ModelIdentity(**content["base"]["identity"]))
        shared = content["shared"] and SharedStudents(content["shared"][0], Path(content["shared"][1]))
        return cls(student, base, pl.read_parquet(folder / _ROWS), shared)
