"""A training job as files in a folder, for processes elsewhere."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import ModelIdentity
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.training.card import SourceRows
from openthoughts_dagster.training.rows import Rows, write_rows
from openthoughts_dagster.training.students import Students

JOB = "job.json"
ROWS = "rows.parquet"


@dataclass(frozen=True)
class Job:
    """A training job: the student's settings, base weights, rows (question, text, ended), and the place of students.

    `sources` says where the rows come from, for the model card.
    """

    student: Student
    base: Model
    rows: Rows
    students: Students
    sources: Sequence[SourceRows] = ()

    def write(self, folder: Path) -> None:
        """Write the job to `folder`, job.json last. Rows that are in the folder already are those of this job."""
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ROWS).exists():
            unfinished = folder / f"{ROWS}.unfinished"
            write_rows(self.rows, unfinished)
            unfinished.rename(folder / ROWS)
        content = {
            "student": self.student.model_dump(mode="json", exclude_unset=True),  # rules look at what was set
            "base": {"address": self.base.address, "identity": asdict(self.base.identity)},
            "students": {"root": self.students.root, **self._folders()},
            "sources": [asdict(each) for each in self.sources],
        }
        (folder / JOB).write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """Read the job that `write` wrote to `folder`."""
        content = json.loads((folder / JOB).read_text())
        student = Student.model_validate(content["student"])
        base = Model(student, content["base"]["address"], ModelIdentity(**content["base"]["identity"]))
        place = content["students"]
        students = Students(place["root"], Path(place["scratch"]), Path(place["cache"]))
        sources = [SourceRows(**each) for each in content.get("sources", [])]
        return cls(student, base, pl.scan_parquet(folder / ROWS), students, sources)

    def _folders(self) -> dict[str, str]:
        return {"scratch": str(self.students.scratch), "cache": str(self.students.cache)}
