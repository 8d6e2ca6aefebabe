"""A training as files in a folder, so that processes elsewhere can do it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import ModelIdentity
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.rows import Rows, write_rows
from openthoughts_dagster.training.students import Students

JOB = "job.json"
ROWS = "rows.parquet"


@dataclass(frozen=True)
class Job:
    """What a student is trained from: settings, base weights and rows (question, text); where students are."""

    student: Student
    base: Model
    rows: Rows
    students: Students

    def write(self, folder: Path) -> None:
        """Leave the job in `folder`; job.json is written last. Rows that are there are those of this job."""
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ROWS).exists():
            unfinished = folder / f"{ROWS}.unfinished"
            write_rows(self.rows, unfinished)
            unfinished.rename(folder / ROWS)
        content = {
            "student": self.student.model_dump(mode="json", exclude_unset=True),  # rules look at what was set
            "base": {"address": self.base.address, "identity": asdict(self.base.identity)},
            "students": {"root": self.students.root, **self._folders()},
        }
        (folder / JOB).write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """The job that `write` left in `folder`."""
        content = json.loads((folder / JOB).read_text())
        student = Student.model_validate(content["student"])
        base = Model(student, content["base"]["address"], ModelIdentity(**content["base"]["identity"]))
        place = content["students"]
        students = Students(place["root"], Path(place["scratch"]), Path(place["cache"]))
        return cls(student, base, pl.scan_parquet(folder / ROWS), students)

    def _folders(self) -> dict[str, str]:
        return {"scratch": str(self.students.scratch), "cache": str(self.students.cache)}
