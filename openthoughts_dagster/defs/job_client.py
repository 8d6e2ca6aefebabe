"""The Kubernetes API as the executor uses it: plain values, short waits, and no step lost to a server that is away."""

import re
import time
from collections.abc import Callable
from typing import Any

import kubernetes.client  # noqa: TID253 dagster_k8s has it loaded already
import urllib3.exceptions
from dagster_k8s.client import DagsterKubernetesClient, PatchedApiClient
from kubernetes.client.exceptions import ApiException  # noqa: TID253

_SECONDS = (5, 15)  # to connect, and for an answer
_AGAIN_SECONDS = 5
_TRANSIENT = {429, 500, 502, 503, 504}
Object = dict[str, Any]


class JobClient(DagsterKubernetesClient):
    """Jobs, Pods and Events as dictionaries with the API's own names. `patience`: seconds to create a Job in."""

    patience: float
    wait: Callable[[float], None]

    @classmethod
    def connected(cls, patience: float) -> "JobClient":
        """A client with the configuration that kubernetes.config loaded."""
        api = PatchedApiClient()
        client = cls(
            batch_api=kubernetes.client.BatchV1Api(api_client=api),
            core_api=kubernetes.client.CoreV1Api(api_client=api),
            logger=print,
            sleeper=time.sleep,
            timer=time.time,
        )
        client.patience, client.wait = patience, time.sleep
        return client

    def job(self, name: str, namespace: str) -> Object | None:
        """The Job with its status, or None when there is none."""
        try:
            return self._plain(self.batch_api.read_namespaced_job_status(name, namespace, _request_timeout=_SECONDS))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def pods(self, job_name: str, namespace: str) -> list[Object]:
        """The Pods of a Job."""
        found = self.core_api.list_namespaced_pod(
            namespace, label_selector=f"batch.kubernetes.io/job-name={job_name}", _request_timeout=_SECONDS
        )
        return [self._plain(pod) for pod in found.items]

    def events(self, name: str, namespace: str) -> list[Object]:
        """The Events on the object of this name."""
        found = self.core_api.list_namespaced_event(
            namespace, field_selector=f"involvedObject.name={name}", _request_timeout=_SECONDS
        )
        return [self._plain(event) for event in found.items]

    def pods_told_of(self, job_name: str, namespace: str) -> set[str]:
        """Names of a Job's Pods that there are Events on, whether the Pods are there or not. Reads all Pods' Events."""
        found = self.core_api.list_namespaced_event(
            namespace, field_selector="involvedObject.kind=Pod", _request_timeout=_SECONDS
        )
        names = {self._plain(event)["involvedObject"].get("name", "") for event in found.items}
        return {name for name in names if re.fullmatch(rf"{re.escape(job_name)}-[a-z0-9]{{5}}", name)}

    def create_namespaced_job_with_retries(
        self, body: kubernetes.client.V1Job, namespace: str, wait_time_between_attempts: float = _AGAIN_SECONDS
    ) -> None:
        """Create a Job, asking again while the server is away. One of the same name that failed makes room first.

        A Job's name holds its run, step and attempt: one that is there and goes on is this one, whose answer was lost.
        """
        deadline = time.monotonic() + self.patience
        while True:
            try:
                self.batch_api.create_namespaced_job(namespace, body, _request_timeout=_SECONDS)
                return
            except ApiException as error:
                if error.status == 409:
                    if self._goes_on(body.metadata.name, namespace):
                        return
                elif error.status not in _TRANSIENT or time.monotonic() > deadline:
                    raise
            except (urllib3.exceptions.HTTPError, OSError):
                if time.monotonic() > deadline:
                    raise
            self.wait(wait_time_between_attempts)

    def delete_job(self, job_name: str, namespace: str) -> bool:
        """Delete a Job; its Pods are told to end by the garbage collector, for which no right on Pods is needed.

        dagster_k8s deletes the Pods itself. False when there is no such Job.
        """
        try:
            self.batch_api.delete_namespaced_job(
                job_name, namespace, propagation_policy="Background", _request_timeout=_SECONDS
            )
        except ApiException as error:
            if error.status == 404:
                return False
            raise
        return True

    def _goes_on(self, name: str, namespace: str) -> bool:
        """Whether the Job is active; one that ended is deleted."""
        try:
            job = self.job(name, namespace)
            if job is None:
                return False
            if "deletionTimestamp" not in job["metadata"] and not (job.get("status") or {}).get("failed"):
                return True
            self.delete_job(name, namespace)
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            pass  # it is asked again
        return False

    def _plain(self, value: Any) -> Any:
        return self.batch_api.api_client.sanitize_for_serialization(value)
