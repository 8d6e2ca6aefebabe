"""The API server as a step uses it: dictionaries in and out, patient with a server that is away for a while."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from openthoughts_dagster.cluster.loading import ClusterError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LONGEST_PAUSE = 20.0
_TIMEOUT = (10, 30)  # to connect, to answer: a server that vanished in the middle of a request says nothing
_Result = TypeVar("_Result")
Object = dict[str, Any]


class Api:
    """Jobs, Services and Pods of one namespace.

    Errors of the server and of the way to it are tried again for `patience` seconds, then raised as ClusterError; so is
    a request that was refused, with the right that is missing. Without patience they are raised at once.
    """

    def __init__(self, client: Any, namespace: str, patience: float = 1800) -> None:
        from kubernetes.client import BatchV1Api, CoreV1Api

        self.namespace, self._client, self._patience = namespace, client, patience
        self._core, self._batch = CoreV1Api(client), BatchV1Api(client)

    @classmethod
    def of_this_pod(cls, patience: float = 1800) -> "Api":
        """As the pod's own service account."""
        from kubernetes import client, config

        config.load_incluster_config()
        return cls(client.ApiClient(), (_ACCOUNT / "namespace").read_text().strip(), patience)

    def this_pod(self) -> Object:
        """The Pod that this process runs in."""
        name = os.environ["HOSTNAME"]
        found = self.pod(name)
        if found is None:
            raise ClusterError(f"pod {name} of namespace {self.namespace}, in which this step runs, is gone")
        return found

    def pod(self, name: str) -> Object | None:
        """A Pod; None where there is none."""
        return self._found(lambda: self._core.read_namespaced_pod(name, self.namespace, _request_timeout=_TIMEOUT))

    def job(self, name: str) -> Object | None:
        """A Job with its status; None where there is none."""
        return self._found(
            lambda: self._batch.read_namespaced_job_status(name, self.namespace, _request_timeout=_TIMEOUT)
        )

    def pods_of(self, job: str) -> list[Object]:
        """The Pods of a Job."""
        selector = f"batch.kubernetes.io/job-name={job}"
        found = self._asked(
            lambda: self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=_TIMEOUT)
        )
        return [self._plain(pod) for pod in found.items]

    def jobs_of_run(self, run: str) -> list[Object]:
        """The Jobs that belong to a run of Dagster."""
        found = self._asked(
            lambda: self._batch.list_namespaced_job(
                self.namespace, label_selector=f"dagster/run-id={run}", _request_timeout=_TIMEOUT
            )
        )
        return [self._plain(job) for job in found.items]

    def events_of(self, kind: str, name: str | None = None) -> list[Object]:
        """The Events about one object, or about all of a kind."""
        selector = f"involvedObject.kind={kind}" + (f",involvedObject.name={name}" if name else "")
        found = self._asked(
            lambda: self._core.list_namespaced_event(self.namespace, field_selector=selector, _request_timeout=_TIMEOUT)
        )
        return [self._plain(event) for event in found.items]

    def log_of(self, pod: str, lines: int) -> list[str]:
        """The last lines of a Pod's log; none where it has none or its node cannot be reached just now."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            text = self._core.read_namespaced_pod_log(
                pod, self.namespace, tail_lines=lines, _request_timeout=_TIMEOUT, _preload_content=False
            ).data
        except (ApiException, HTTPError, OSError):
            return []
        return str(text.decode(errors="replace")).splitlines()

    def create_job(self, job: Any) -> bool:
        """Create a Job. False when one of its name is there: perhaps the one that a request before this made."""
        return self._create(lambda: self._batch.create_namespaced_job(self.namespace, job, _request_timeout=_TIMEOUT))

    def create_service(self, service: Mapping[str, Any]) -> bool:
        """Create a Service; likewise."""
        return self._create(
            lambda: self._core.create_namespaced_service(self.namespace, service, _request_timeout=_TIMEOUT)
        )

    def delete_job(self, name: str) -> bool:
        """Delete a Job and, before it, its Pods. False where it is gone."""
        deleted = self._found(
            lambda: self._batch.delete_namespaced_job(
                name, self.namespace, propagation_policy="Foreground", _request_timeout=_TIMEOUT
            )
        )
        return deleted is not None

    def delete_service(self, name: str) -> None:
        """Delete a Service; fine where it is gone."""
        self._found(lambda: self._core.delete_namespaced_service(name, self.namespace, _request_timeout=_TIMEOUT))

    def _create(self, request: Callable[[], Any]) -> bool:
        from kubernetes.client import ApiException

        try:
            self._asked(request)
        except ApiException as error:
            if error.status != 409:
                raise
            return False
        return True

    def _found(self, request: Callable[[], Any]) -> Object | None:
        from kubernetes.client import ApiException

        try:
            return self._plain(self._asked(request))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _asked(self, request: Callable[[], _Result]) -> _Result:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        lost: Exception
        pause, until = 0.5, time.monotonic() + self._patience
        while True:
            try:
                return request()
            except ApiException as error:
                if error.status in (404, 409):
                    raise
                if error.status in (400, 401, 403, 422):
                    raise ClusterError(
                        f"Kubernetes refused: {error.status} {error.reason}: {_message(error)}. The chart's Roles have "
                        "the rights of runs, for students on several nodes with severalNodes.enabled: true"
                    ) from error
                lost, says = error, f"{error.status} {_message(error)}"
            except (HTTPError, OSError) as error:
                lost, says = error, f"{type(error).__name__}: {str(error)[:300]}"
            if time.monotonic() + pause > until:
                long = f"for {self._patience / 60:.0f} minutes " if self._patience else ""
                raise ClusterError(f"the API server could not be asked {long}: {says}".replace(" :", ":")) from lost
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _plain(self, thing: Any) -> Object:
        plain: Object = self._client.sanitize_for_serialization(thing)
        return plain


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or error.reason)[:300]
