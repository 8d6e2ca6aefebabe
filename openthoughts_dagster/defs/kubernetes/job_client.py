"""Jobs as dagster_k8s's step handler asks for them: made once, and not lost to an API server that is away."""

import time
from collections.abc import Callable
from typing import Any

from dagster_k8s.client import DagsterKubernetesClient, PatchedApiClient

from openthoughts_dagster.cluster.api import Api

_AGAIN_SECONDS = 5
_DELETED_WITHIN = 60


class JobClient(DagsterKubernetesClient):
    """What dagster_k8s calls, by way of `Api`. `patience`: seconds to create a Job in."""

    patience: float
    wait: Callable[[float], None]

    @classmethod
    def connected(cls, patience: float) -> "JobClient":
        """A client with the configuration that kubernetes.config loaded."""
        from kubernetes.client import BatchV1Api, CoreV1Api

        api = PatchedApiClient()
        client = cls(
            batch_api=BatchV1Api(api_client=api),
            core_api=CoreV1Api(api_client=api),
            logger=print,
            sleeper=time.sleep,
            timer=time.time,
        )
        client.patience, client.wait = patience, time.sleep
        return client

    def api(self, namespace: str, patience: float = 0) -> Api:
        """The API server, asked for so many seconds; once when there are none. Its methods raise ClusterError."""
        return Api(self.batch_api.api_client, namespace, patience)

    def create_namespaced_job_with_retries(
        self, body: Any, namespace: str, wait_time_between_attempts: float = _AGAIN_SECONDS
    ) -> None:
        """Create a Job, asking again while the server is away. One of the same name that failed makes room first.

        A Job's name holds its run, step and attempt: one that is there and goes on is this one, whose answer was lost.
        """
        api, name = self.api(namespace, self.patience), body.metadata.name
        while not api.create_job(body):
            job = api.job(name)
            if job is not None and "deletionTimestamp" not in job["metadata"]:
                if not (job.get("status") or {}).get("failed"):
                    return
                api.delete_job(name)
            self.wait(wait_time_between_attempts)

    def delete_job(self, job_name: str, namespace: str) -> bool:
        """Delete a Job; its Pods are told to end by the garbage collector, for which no right on Pods is needed.

        dagster_k8s deletes the Pods itself. False when there is no such Job.
        """
        return self.api(namespace, _DELETED_WITHIN).delete_job(job_name)
