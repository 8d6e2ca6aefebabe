"""Steps of teacher_answers as step pods run them: `dagster api execute_step`, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.instance import InstanceRef
from dagster._grpc.types import ExecuteStepArgs

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, Lake, text_hash
from openthoughts_dagster_tests.cluster.helpers import CLUSTER, recipe_file, teacher

SOURCE, TEACHER, QUESTIONS = "two-digit-sums", "served", 200
PLAN, SHARD, PUBLISH = "teacher_answers.plan", "teacher_answers.answer[0]", "teacher_answers.publish"


class StepProcesses:
    """One run of one cell of a teacher behind a server, whose completions are committed at the end only."""

    def __init__(self, folder: Path, address: str, run: str = "run", **variables: str) -> None:
        served = teacher(TEACHER, engine="openai", base_url=address, max_in_flight=8, commit={"seconds": 3600})
        judge = {"name": "judge", "model": "m/judge", "hardware": {}}
        student = {"name": "student", "model": "m/student", "preset": "micro", "hardware": {}}
        changes = {"teachers": [served], "judges": [judge], "student": student, "answers_per_question": 1}
        (folder / "cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
        self.folder, self.lake, self.home, self._name = folder, Lake(folder / "lake"), folder / "home", run
        self.shards = ["0"]  # what the plan dealt
        self._environment = {
            "OPENTHOUGHTS_RECIPE": str(recipe_file(folder, **changes)),
            "OPENTHOUGHTS_DATA": str(folder),
            "OPENTHOUGHTS_CLUSTER": str(folder / "cluster.yaml"),
            "DAGSTER_HOME": str(self.home),
        } | variables
        self.home.mkdir(exist_ok=True)
        (self.home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.home)))
        self.instance.add_dynamic_partitions("source", [SOURCE])
        settings = Settings.from_environment(self._environment)
        job = build_definitions(settings.load_recipe(), settings).resolve_implicit_global_asset_job_def()
        self._origin = (
            ReconstructableRepository.for_module("openthoughts_dagster.definitions", "defs")
            .get_reconstructable_job("__ASSET_JOB")
            .get_python_origin()
        )
        cell = {"source": SOURCE, "teacher": TEACHER}
        self.run = self.instance.create_run_for_job(
            job.get_subset(asset_selection={dg.AssetKey("teacher_answers")}),
            asset_selection=frozenset({dg.AssetKey("teacher_answers")}),
            tags={f"dagster/partition/{name}": value for name, value in cell.items()}
            | {"dagster/partition": f"{SOURCE}|{TEACHER}"},
            job_code_origin=self._origin,
        )

    def questions(self) -> None:
        """The cell's questions."""
        texts = [f"What is {n} + 1?" for n in range(QUESTIONS)]
        constant = {
            "source": SOURCE,
            "domain": "math",
            "licence": "MIT",
            "origin": "{}",
            "metadata": "{}",
            "scores": "{}",
        }
        rows = pl.DataFrame({"question": texts, "question_id": [text_hash(text) for text in texts]}).with_columns(
            *(pl.lit(value).alias(name) for name, value in constant.items()),
            reference_answer=pl.lit(None, dtype=pl.String),
        )
        self.lake.replace(DEDUPED_QUESTIONS, rows, source=SOURCE)

    def start(self, step: str, attempts: int = 0) -> "subprocess.Popen[bytes]":
        """The step's process, at its nth attempt."""
        known = KnownExecutionState(
            previous_retry_attempts={step: attempts} if attempts else {},
            dynamic_mappings={} if step == PLAN else {PLAN: {"shards": self.shards}},
        )
        arguments = ExecuteStepArgs(
            self._origin,
            self.run.run_id,
            [step],
            self.instance.get_ref(),
            retry_mode=RetryMode.DEFERRED,
            known_state=known,
            print_serialized_events=False,
        )
        environment = os.environ | self._environment | dict(_pairs(arguments.get_command_env()))
        command = arguments.get_command_args(skip_serialized_namedtuple=True)
        with self.log(step, attempts).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def start_run(self) -> "subprocess.Popen[bytes]":
        """A run of the whole cell in one process, as on a single machine."""
        command = ["dagster", "asset", "materialize", "-m", "openthoughts_dagster.definitions"]
        command += ["--select", "teacher_answers", "--partition", f"{SOURCE}|{TEACHER}"]
        environment = os.environ | self._environment
        with self.log("run").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def log(self, step: str, attempts: int = 0) -> Path:
        """What the process printed."""
        return self.folder / f"{self._name}-{step}-{attempts}.log"

    def committed(self) -> int:
        """Completions in the ledger."""
        return self.lake.scan(COMPLETIONS).select("key").collect().height

    def events(self, step: str) -> list[str]:
        """Types of the step's own events, in their order."""
        entries = [entry.dagster_event for entry in self.instance.all_logs(self.run.run_id)]
        kinds = [e.event_type_value for e in entries if e is not None and e.step_key == step]
        return [kind for kind in kinds if kind in _TOLD]


_TOLD = ("STEP_START", "STEP_RESTARTED", "STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY")


def _pairs(variables: Any) -> list[tuple[str, str]]:
    return [(entry["name"], entry["value"]) for entry in variables]
