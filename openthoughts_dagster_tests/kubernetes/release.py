"""A release of the chart in a namespace, and what a person does with it through the webserver's GraphQL."""

import time
from dataclasses import dataclass
from typing import Any

import polars as pl

from openthoughts_dagster.lake import COMPLETIONS, DEDUPED_QUESTIONS, Lake
from openthoughts_dagster_tests.e2e.servers import graphql, wait_for
from openthoughts_dagster_tests.kubernetes.applying import apply
from openthoughts_dagster_tests.kubernetes.pools import POOL
from openthoughts_dagster_tests.kubernetes.quickstart_release import SAMPLES
from openthoughts_dagster_tests.kubernetes.troubles import Teacher, Troubles

_LAUNCH = """mutation ($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
_RUNS = """query ($filter: RunsFilter!) { runsOrError(filter: $filter) {
  ... on Runs { results { runId status tags { key value } } } } }"""
_EVENTS = """query ($run: ID!, $after: String) { logsForRun(runId: $run, afterCursor: $after, limit: 1000) {
  ... on EventConnection { cursor hasMore events {
    ... on MessageEvent { message timestamp stepKey eventType }
    ... on ErrorEvent { error { message } } } } } }"""
_OVER = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class Event:
    """One line of a run's log: seconds since 1970, step, type and text with the error's, if there is one."""

    at: float
    step: str
    kind: str
    text: str


@dataclass
class Release:
    """A running release: `address` is the webserver's, `client` an administrator's ApiClient.

    Its nodes can be told to fail, and the teacher `slow` of its recipe takes its time and counts.
    """

    namespace: str
    address: str
    client: Any
    lake: Lake
    nodes: Troubles
    teacher: Teacher

    @property
    def core(self) -> Any:
        """The administrator's, for pods, nodes, events and so on."""
        from kubernetes import client

        return client.CoreV1Api(self.client)

    @property
    def batch(self) -> Any:
        """The administrator's, for Jobs."""
        from kubernetes import client

        return client.BatchV1Api(self.client)

    @property
    def image(self) -> str:
        """The image of the code location."""
        from kubernetes import client

        code = client.AppsV1Api(self.client).read_namespaced_deployment("openthoughts-code", self.namespace)
        return str(code.spec.template.spec.containers[0].image)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply manifests in its namespace, as administrator."""
        apply(self.client, manifests, self.namespace)

    def launch(self, job: str, source: str = "", teacher: str = "") -> str:
        """Launch a job for a partition as the UI does; the run's id."""
        tags = {"dagster/partition": f"{source}|{teacher}" if teacher else source} if source else {}
        if teacher:
            tags |= {"dagster/partition/source": source, "dagster/partition/teacher": teacher}
        selector = {"repositoryLocationName": "openthoughts", "repositoryName": "__repository__", "jobName": job}
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        parameters = {"selector": selector, "runConfigData": {}, "executionMetadata": metadata}
        launched = graphql(self.address, _LAUNCH, parameters=parameters)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def runs(self, **tags: str) -> dict[str, str]:
        """Status by run id, of the runs with these tags; `__` in a name stands for `/`."""
        wanted = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        found = graphql(self.address, _RUNS, filter={"tags": wanted})["runsOrError"]["results"]
        return {run["runId"]: run["status"] for run in found}

    def status(self, run: str) -> str:
        """A run's status."""
        [found] = graphql(self.address, _RUNS, filter={"runIds": [run]})["runsOrError"]["results"]
        return str(found["status"])

    def events(self, run: str) -> list[Event]:
        """The run's log."""
        found, cursor, more = [], None, True
        while more:
            page = graphql(self.address, _EVENTS, run=run, after=cursor)["logsForRun"]
            cursor, more = page["cursor"], page["hasMore"]
            for event in page["events"]:
                text = f"{event['message']} {(event.get('error') or {}).get('message', '')}"
                found.append(
                    Event(int(event["timestamp"]) / 1000, event["stepKey"] or "", event["eventType"] or "", text)
                )
        return found

    def wait(self, run: str, seconds: float, status: str = "SUCCESS") -> None:
        """Wait until a run is over; it must have ended with this status."""
        deadline = time.monotonic() + seconds
        while self.status(run) not in _OVER:
            assert time.monotonic() < deadline, f"run {run} is not over after {seconds:.0f} s; {self.tail(run)}"
            time.sleep(0.5)
        assert self.status(run) == status, self.tail(run, 30)

    def tail(self, run: str, lines: int = 8) -> str:
        """The end of a run's log."""
        return "\n".join(f"{event.step} {event.kind} {event.text}"[:1500] for event in self.events(run)[-lines:])

    def wait_for_reason(self, run: str, words: str, since: float, seconds: float = 60) -> Event:
        """The first line of the run's log since a time that contains `words`; it must come within `seconds` of it."""
        found: list[Event] = []

        def told() -> bool:
            found[:] = [event for event in self.events(run) if event.at >= since and words in event.text]
            return bool(found)

        wait_for(told, seconds + 15, f"{words!r} in the log of {run}")
        assert found[0].at - since <= seconds, f"{words!r} came after {found[0].at - since:.0f} s"
        return found[0]

    def step_pods(self, run: str) -> dict[str, list[Any]]:
        """Pods of the steps of a run that are still there, by op."""
        labels = f"dagster/run-id={run},dagster/op"
        found: dict[str, list[Any]] = {}
        for pod in self.core.list_namespaced_pod(self.namespace, label_selector=labels).items:
            op = pod.metadata.labels["dagster/op"].rpartition(".")[2]  # of a graph's step teacher_answers.answer-0
            found.setdefault(op.partition("-")[0], []).append(pod)
        return found

    def pool_of(self, pod: Any) -> str:
        """The pool of the node that a pod is on."""
        return str(self.core.read_node(pod.spec.node_name).metadata.labels[POOL])

    def pools_of_training(self) -> dict[str, str]:
        """By index, the pool of each pod that trained a student; they are gone, and the scheduler's events tell."""
        told = self.core.list_namespaced_event(self.namespace, field_selector="reason=Scheduled").items
        nodes = {event.involved_object.name: event.message.rsplit(" to ")[-1] for event in told}
        trained = {name.split("-")[-2]: node for name, node in nodes.items() if name.startswith("train-")}
        return {index: self.core.read_node(node).metadata.labels[POOL] for index, node in trained.items()}

    def wanted(self, source: str) -> int:
        """How many answers a teacher owes to a source."""
        return int(self.lake.scan(DEDUPED_QUESTIONS, source=source).collect().height) * SAMPLES

    def answered(self, source: str) -> pl.DataFrame:
        """What the ledger has of a source's answers: key and sample_index."""
        rows = self.lake.scan(COMPLETIONS).filter(pl.col("source") == source, pl.col("asset") == "teacher_answers")
        return rows.select("key", "sample_index").collect()

    def running_pod(self, run: str, op: str, seconds: float = 120) -> Any:
        """The pod of a step that runs now."""

        found: list[Any] = []

        def alive() -> bool:
            pods = self.step_pods(run).get(op, [])
            found[:] = [p for p in pods if p.status.phase == "Running" and p.metadata.deletion_timestamp is None]
            return bool(found)

        wait_for(alive, seconds, f"a running pod of {op}")
        return found[0]


def since_now() -> float:
    """Now, as the times of events are written."""
    return time.time()
