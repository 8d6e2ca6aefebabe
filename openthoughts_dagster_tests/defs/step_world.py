"""A step of a run, the handler that makes its Job, and a Kubernetes API that answers as it is told: for faults."""

from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.context.system import PlanData, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import create_context_free_log_manager
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster._grpc.types import ExecuteStepArgs
from dagster_k8s import K8sRunLauncher

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.kubernetes.executor import StepsInPods
from openthoughts_dagster.defs.kubernetes.step_pods import StepPods
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster_tests.cluster.helpers import teacher

MODELS: dict[str, Any] = {
    "judges": [{"name": "judge", "model": "m/judge", "hardware": {"cpus": 3}}],
    "student": {"name": "student", "model": "m/student", "preset": "micro", "hardware": "h100x2"},
    "teachers": [
        teacher("small", "h100x1"),
        teacher("large", "h100x8"),
        teacher("served", engine="openai", base_url="http://served/v1"),
    ],
}


SOURCE = "two-digit-sums"
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
users: [{name: u, user: {}}]
"""


class FakeApi:
    """Jobs, Pods and Events that the test sets; `error` is raised instead while it is set."""

    def __init__(self) -> None:
        from kubernetes.client import ApiClient

        self.api_client = ApiClient()
        self.job: dict[str, Any] | None = None
        self.pods: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.created: list[Any] = []
        self.deleted: list[str] = []
        self.refusals: list[BaseException] = []

    def read_namespaced_job_status(self, name: str, namespace: str, **_: Any) -> Any:
        self._fail()
        if self.job is None:
            raise api_error(404, "Not Found")
        return {"metadata": {"name": name}} | self.job

    def list_namespaced_pod(self, namespace: str, **_: Any) -> Any:
        self._fail()
        return _Items(self.pods)

    def list_namespaced_event(self, namespace: str, field_selector: str, **_: Any) -> Any:
        self._fail()
        wanted = [part.removeprefix("involvedObject.").split("=") for part in field_selector.split(",")]
        return _Items(
            [e for e in self.found if all(e["involvedObject"].get(field) == value for field, value in wanted)]
        )

    def create_namespaced_job(self, namespace: str, body: Any, **_: Any) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.created.append(body)
        self.job = {"status": {"active": 1}}

    def delete_namespaced_job(self, name: str, namespace: str, **_: Any) -> None:
        self.deleted.append(name)
        self.job, self.pods = None, []

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def api_error(status: int, reason: str) -> Exception:
    """What the client raises for an answer of the API server."""
    from kubernetes.client.exceptions import ApiException

    error: Exception = ApiException(status=status, reason=reason)
    return error


class _Items:
    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items


class World:
    """One step of one run, its handler, and the log that people read."""

    def __init__(self, folder: Path, loaded: Recipe, here: Cluster) -> None:
        (folder / "kubeconfig").write_text(KUBECONFIG)
        settings = Settings(recipe="quickstart", data=folder, lake=str(folder / "lake"))
        self.definitions = build_definitions(loaded, settings)
        self.launcher = K8sRunLauncher(
            instance_config_map="instance",
            dagster_home="/opt/dagster/dagster_home",
            job_image="launcher:1",
            job_namespace="research",
            service_account_name="runs",
            load_incluster_config=False,
            kubeconfig_file=str(folder / "kubeconfig"),
            env_config_maps=["openthoughts"],
            run_k8s_config={
                "pod_spec_config": {
                    "node_selector": {"pool": "cpu"},
                    "volumes": [{"name": "scratch", "empty_dir": {}}, {"name": "recipe", "config_map": {"name": "r"}}],
                },
                "container_config": {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "512Mi"}}},
            },
        )
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance._run_launcher = self.launcher
        self.pods = StepPods(loaded, here, self.launcher, owned_by_the_run=False)
        self.api = FakeApi()
        self.pods._jobs.api = self._asked  # type: ignore[method-assign]
        self.pods._jobs.wait = lambda _: None
        self.now = 0.0
        self.pods._clock = lambda: self.now
        self.executor = StepsInPods(self.pods, here.lost_pods)

    def _asked(self, namespace: str, patience: float = 0) -> Api:
        api = Api(self.api.api_client, namespace, patience)
        api._core = api._batch = self.api
        return api

    def step(self, key: str, teacher: str | None = None, attempts: int = 0) -> StepHandlerContext:
        """The step `key` of a run of one source's partition, or of its cell with a teacher, at its nth attempt."""
        asset = dg.AssetKey(key.partition(".")[0])
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={asset})
        known = KnownExecutionState(
            previous_retry_attempts={key: attempts}, dynamic_mappings={"teacher_answers.plan": {"shards": ["0"]}}
        )
        plan = create_execution_plan(job, known_state=known)
        tags = {"dagster/partition": SOURCE}
        if teacher is not None:
            cell = {"dagster/partition/source": SOURCE, "dagster/partition/teacher": teacher}
            tags = {"dagster/partition": f"{SOURCE}|{teacher}"} | cell
        self.run = self.instance.create_run_for_job(job, tags=tags)
        context = PlanOrchestrationContext(
            plan_data=PlanData(
                job=_Loaded(job),  # type: ignore[arg-type]
                dagster_run=self.run,
                instance=self.instance,
                execution_plan=plan,
                raise_on_error=False,
                retry_mode=RetryMode.ENABLED,
            ),
            log_manager=create_context_free_log_manager(self.instance, self.run),
            executor=self.executor,
            output_capture=None,
        )
        origin = dg.reconstructable(_nothing).get_python_origin()
        arguments = ExecuteStepArgs(origin, self.run.run_id, [key], None, known_state=known)
        return StepHandlerContext(self.instance, context, [plan.get_step_by_key(key)], arguments, self.run)  # type: ignore[list-item]

    def log(self) -> list[str]:
        entries = self.instance.all_logs(self.run.run_id)
        return [e.dagster_event.message or "" for e in entries if e.dagster_event and e.dagster_event.is_engine_event]


class _Loaded:
    def __init__(self, job: Any) -> None:
        self.job = job

    def get_definition(self) -> Any:
        return self.job


@dg.job
def _nothing() -> None: ...
