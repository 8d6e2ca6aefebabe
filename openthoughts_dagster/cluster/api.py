"""A client of the Kubernetes API for steps: it takes and returns dictionaries, and retries while the server is away."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from openthoughts_dagster.cluster.loading import ClusterError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LONGEST_PAUSE = 20.0
_TIMEOUT = (10, 30)  # seconds to connect and to answer, for a server that vanishes in the middle of a request
_Result = TypeVar("_Result")
Object = dict[str, Any]


class Api:
    """The Jobs, Services, Pods and Events of one namespace.

    Objects are returned as dictionaries with the names that a manifest has. A request that fails because the server or
    the network is in trouble is retried for `patience` seconds. Then the method raises ClusterError. A request that the
    server refuses, such as one without the needed right, raises ClusterError at once.

    Args:
        client: A `kubernetes.client.ApiClient`.
        namespace: The namespace of all objects.
        patience: Seconds for which a failing request is retried; 0 for no retry.
    """

    def __init__(self, client: Any, namespace: str, patience: float = 1800) -> None:
        from kubernetes.client import BatchV1Api, CoreV1Api

        self.namespace, self._client, self._patience = namespace, client, patience
        self._core, self._batch = CoreV1Api(client), BatchV1Api(client)

    @classmethod
    def of_this_pod(cls, patience: float = 1800) -> "Api":
        """Connect from inside a pod, as the pod's own service account.

        Args:
            patience: Seconds for which a failing request is retried; 0 for no retry.
        """
        from kubernetes import client, config

        config.load_incluster_config()
        return cls(client.ApiClient(), (_ACCOUNT / "namespace").read_text().strip(), patience)

    def this_pod(self) -> Object:
        """Read the Pod that this process runs in.

        Raises:
            ClusterError: The Pod is gone, or the server does not answer.
        """
        name = os.environ["HOSTNAME"]
        found = self.pod(name)
        if found is None:
            raise ClusterError(f"pod {name} of namespace {self.namespace}, in which this step runs, is gone")
        return found

    def pod(self, name: str) -> Object | None:
        """Read a Pod, or return None when there is none of this name."""
        return self._call_or_none(
            lambda: self._core.read_namespaced_pod(name, self.namespace, _request_timeout=_TIMEOUT)
        )

    def job(self, name: str) -> Object | None:
        """Read a Job with its status, or return None when there is none of this name."""
        return self._call_or_none(
            lambda: self._batch.read_namespaced_job_status(name, self.namespace, _request_timeout=_TIMEOUT)
        )

    def pods_of(self, job: str) -> list[Object]:
        """List the Pods of a Job."""
        selector = f"batch.kubernetes.io/job-name={job}"
        found = self._call_with_retries(
            lambda: self._core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=_TIMEOUT)
        )
        return [self._to_dictionary(pod) for pod in found.items]

    def jobs_labelled(self, label: str) -> list[Object]:
        """List the Jobs that have a label, whatever its value is."""
        found = self._call_with_retries(
            lambda: self._batch.list_namespaced_job(self.namespace, label_selector=label, _request_timeout=_TIMEOUT)
        )
        return [self._to_dictionary(job) for job in found.items]

    def events_of(self, kind: str, name: str | None = None) -> list[Object]:
        """List Events.

        Args:
            kind: The kind of the objects that the Events are about, such as "Pod".
            name: The name of one object; None for all objects of the kind.
        """
        selector = f"involvedObject.kind={kind}" + (f",involvedObject.name={name}" if name else "")
        found = self._call_with_retries(
            lambda: self._core.list_namespaced_event(self.namespace, field_selector=selector, _request_timeout=_TIMEOUT)
        )
        return [self._to_dictionary(event) for event in found.items]

    def log_of(self, pod: str, lines: int) -> list[str]:
        """Read the end of a Pod's log. Never raises.

        Args:
            pod: The name of the Pod.
            lines: The largest number of lines.

        Returns:
            The last lines; empty when the Pod has no log or its node cannot be reached.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            text = self._core.read_namespaced_pod_log(
                pod, self.namespace, tail_lines=lines, _request_timeout=_TIMEOUT, _preload_content=False
            ).data
        except (ApiException, HTTPError, OSError):
            return []
        return str(text.decode(errors="replace")).splitlines()

    def whole_log_of(self, pod: str, most_bytes: int) -> str | None:
        """Read a Pod's log from its beginning, up to `most_bytes`; None when it cannot be read. Never raises."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            data = self._core.read_namespaced_pod_log(
                pod, self.namespace, limit_bytes=most_bytes, _request_timeout=_TIMEOUT, _preload_content=False
            ).data
        except (ApiException, HTTPError, OSError):
            return None
        return str(data.decode(errors="replace"))

    def create_config_map(self, config_map: Mapping[str, Any]) -> bool:
        """Create a ConfigMap. Returns False when a ConfigMap of this name exists."""
        return self._create(
            lambda: self._core.create_namespaced_config_map(self.namespace, config_map, _request_timeout=_TIMEOUT)
        )

    def delete_config_map(self, name: str) -> None:
        """Delete a ConfigMap. A ConfigMap that is gone already is no error."""
        self._call_or_none(
            lambda: self._core.delete_namespaced_config_map(name, self.namespace, _request_timeout=_TIMEOUT)
        )

    def create_job(self, job: Any) -> bool:
        """Create a Job.

        Args:
            job: The manifest, or the client's model of it.

        Returns:
            False when a Job of this name exists. An earlier request, whose answer was lost, may have made it.
        """
        return self._create(lambda: self._batch.create_namespaced_job(self.namespace, job, _request_timeout=_TIMEOUT))

    def create_service(self, service: Mapping[str, Any]) -> bool:
        """Create a Service. Returns False when a Service of this name exists."""
        return self._create(
            lambda: self._core.create_namespaced_service(self.namespace, service, _request_timeout=_TIMEOUT)
        )

    def delete_job(self, name: str) -> bool:
        """Delete a Job, and its Pods before it. Returns False when there is no such Job."""
        deleted = self._call_or_none(
            lambda: self._batch.delete_namespaced_job(
                name, self.namespace, propagation_policy="Foreground", _request_timeout=_TIMEOUT
            )
        )
        return deleted is not None

    def delete_service(self, name: str) -> None:
        """Delete a Service. A Service that is gone already is no error."""
        self._call_or_none(
            lambda: self._core.delete_namespaced_service(name, self.namespace, _request_timeout=_TIMEOUT)
        )

    def _create(self, request: Callable[[], Any]) -> bool:
        from kubernetes.client import ApiException

        try:
            self._call_with_retries(request)
        except ApiException as error:
            if error.status != 409:
                raise
            return False
        return True

    def _call_or_none(self, request: Callable[[], Any]) -> Object | None:
        from kubernetes.client import ApiException

        try:
            return self._to_dictionary(self._call_with_retries(request))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _call_with_retries(self, request: Callable[[], _Result]) -> _Result:
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
                if 400 <= (error.status or 0) < 500 and error.status not in (408, 429):
                    raise ClusterError(
                        f"Kubernetes refused: {error.status} {error.reason}: {_message(error)}{_remedy(error)}"
                    ) from error
                lost, says = error, f"{error.status} {_message(error)}"
            except (HTTPError, OSError) as error:
                lost, says = error, f"{type(error).__name__}: {str(error)[:300]}"
            if time.monotonic() + pause > until:
                long = f"for {self._patience / 60:.0f} minutes " if self._patience else ""
                raise ClusterError(f"the API server could not be asked {long}: {says}".replace(" :", ":")) from lost
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _to_dictionary(self, thing: Any) -> Object:
        plain: Object = self._client.sanitize_for_serialization(thing)
        return plain


def _remedy(error: Any) -> str:
    says = _message(error)
    if "exceeded quota" in says:
        return ". The namespace's ResourceQuota is used up: raise it, or delete finished Jobs and let fewer steps run"
    if error.status not in (401, 403) or "admission" in says:
        return ""
    return (
        ". The chart's Roles have the rights of runs, for students on several nodes with severalNodes.enabled: true, "
        "and for programs in pods with programPods.enabled: true"
    )


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or error.reason)[:300]
