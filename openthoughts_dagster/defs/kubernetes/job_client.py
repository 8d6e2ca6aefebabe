"""The client that dagster_k8s's step handler uses. It creates each Job once, also while the API server is away."""

import time
from collections.abc import Callable
from typing import Any

from dagster_k8s.client import DagsterKubernetesClient, PatchedApiClient

from openthoughts_dagster.cluster.api import Api

_AGAIN_SECONDS = 5
_DELETED_WITHIN = 60


class JobClient(DagsterKubernetesClient):
    """The client that dagster_k8s calls, which uses `Api`. Creating a Job is retried for `patience` seconds."""

    patience: float
    wait: Callable[[float], None]

    @classmethod
    def connected(cls, patience: float) -> "JobClient":
        """Make a client with the configuration that kubernetes.config loaded."""
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
        """Return the API of a namespace. A failing request is retried for `patience` seconds; by default it is not."""
        return Api(self.batch_api.api_client, namespace, patience)

    def create_namespaced_job_with_retries(
        self, body: Any, namespace: str, wait_time_between_attempts: float = _AGAIN_SECONDS
    ) -> None:
        """Create a Job, and retry while the server is away. A failed Job of the same name is deleted first.

        The name of a Job has its run, step and attempt. So a Job of this name that has not failed is the same Job, and
        the answer of an earlier request was lost.
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
        """Delete a Job. Kubernetes' garbage collector ends its Pods, so that no right to delete Pods is needed.

        Returns:
            False when there is no such Job.
        """
        return self.api(namespace, _DELETED_WITHIN).delete_job(job_name)
