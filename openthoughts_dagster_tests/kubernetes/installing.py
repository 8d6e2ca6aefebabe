"""Installs the chart as `helm install` would, on the control plane of the tests, with what it needs outside."""

import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.jobs import QUESTIONS
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Hardware, load_recipe
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.conftest import skip_without, untrained_models
from openthoughts_dagster_tests.e2e.postgres import INITDB, postgres
from openthoughts_dagster_tests.e2e.servers import free_port, graphql, listens, wait_for
from openthoughts_dagster_tests.e2e.slow_teacher import slow_teacher
from openthoughts_dagster_tests.kubelet import Kubelets
from openthoughts_dagster_tests.kubernetes import quickstart_release as quickstart
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.release import Release
from openthoughts_dagster_tests.kubernetes.rendering import Manifest, rendered
from openthoughts_dagster_tests.object_store import KEYS

NAMESPACE, BUCKET = "openthoughts", "openthoughts"
_SENSORS = """query { sensorsOrError(repositorySelector: {repositoryLocationName: "openthoughts",
  repositoryName: "__repository__"}) { ... on Sensors { results { name sensorState { id } } } } }"""
_STOP = "mutation ($id: String!) { stopSensor(id: $id) { __typename } }"
_ADD = """mutation ($key: String!) { addDynamicPartition(partitionsDefName: "source", partitionKey: $key,
  repositorySelector: {repositoryLocationName: "openthoughts", repositoryName: "__repository__"}) { __typename } }"""


@dataclass
class Installed(Release):
    """A release on the tests' own cluster."""

    plane: ControlPlane
    manifests: list[Manifest]
    hooks: list[Manifest]


@contextmanager
def installed(plane: ControlPlane, nodes: Kubelets, folder: Path) -> Iterator[Installed]:
    """The chart in a namespace under the restricted standard, with PostgreSQL and an object store on loopback."""
    from s3fs import S3FileSystem

    skip_without("PostgreSQL", INITDB is not None, "apt-get install postgresql")
    with slow_teacher(0.4) as teacher, postgres() as database, _object_store(folder) as environment:
        where = urllib.parse.urlsplit(database)
        web, code = free_port(), free_port()
        base = {"postgresqlHost": "127.0.0.1", "postgresqlDatabase": "postgres", "service": {"port": where.port}}
        values = quickstart.values(teacher.address, environment["AWS_ENDPOINT_URL"], base, web, code)
        manifests = _on_port(rendered([], values, namespace=NAMESPACE), code)
        hooks = _on_port(rendered([], values, namespace=NAMESPACE, hooks=True), code)
        lake = Lake(f"s3://{BUCKET}/lake", environment)
        address = f"http://127.0.0.1:{web}"
        release = Installed(NAMESPACE, address, plane.administrator, lake, nodes, teacher, plane, manifests, hooks)
        daemon = [m for m in manifests if m["kind"] == "Deployment" and m["metadata"]["name"] == "dagster-daemon"]
        release.apply(*_what_is_there_before(environment), *(m for m in manifests if m not in daemon))
        with pytest.MonkeyPatch.context() as patch:  # while they start
            for name, value in environment.items():
                patch.setenv(name, value)
            fill(folder, values["recipe"]["files"])
            S3FileSystem.clear_instance_cache()  # one of this store would be taken for another test's
        wait_for(lambda: ready(release), 180, "webserver and code location")
        take_over(release)
        release.apply(*daemon)  # last, so that nothing starts by itself
        wait_for(lambda: ready(release), 90, "daemon")
        yield release


def _what_is_there_before(environment: Mapping[str, str]) -> list[Manifest]:
    """The namespace and the Secrets that a person makes before installing the chart."""
    metadata = {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    keys = {name: environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        _secret("openthoughts-storage", keys),
        _secret("openthoughts-postgres", {"postgresql-password": "unused: it trusts loopback"}),
    ]


def take_over(release: Release) -> None:
    """From now on only what a test launches happens: sensors are stopped, and all sources are there."""
    for sensor in graphql(release.address, _SENSORS)["sensorsOrError"]["results"]:
        graphql(release.address, _STOP, id=sensor["sensorState"]["id"])
    for source in (quickstart.MADE, *quickstart.MORE, *quickstart.LONG):
        added = graphql(release.address, _ADD, key=source)["addDynamicPartition"]
        assert added["__typename"] in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"), added


def ready(release: Installed) -> bool:
    """Whether every Deployment of the namespace has the replicas that it wants, ready."""
    from kubernetes import client

    found = client.AppsV1Api(release.client).list_namespaced_deployment(release.namespace).items
    return all(d.status.ready_replicas == d.spec.replicas == d.status.updated_replicas for d in found)


def fill(folder: Path, files: Mapping[str, str]) -> None:
    """Put into the store what earlier work would have left: untrained models, and questions of all sources but one."""
    recipe = folder / "recipe"
    recipe.mkdir()
    for name, text in files.items():
        (recipe / name).write_text(text)
    for model in untrained_models(folder / "models", "student", "worked", "direct", "judge").iterdir():
        Folders(folder / "cache").put(model, f"s3://{BUCKET}/files/tiny_models/{model.name}")
    settings = Settings(
        str(recipe / "recipe.yaml"), folder / "data", f"s3://{BUCKET}/lake", files=f"s3://{BUCKET}/files"
    )
    shapes = {name: Hardware(**shape) for name, shape in quickstart.cluster_values()["shapes"].items()}
    loaded = load_recipe(settings.recipe, settings.variables(), shapes)
    job = build_definitions(loaded, settings).resolve_job_def(QUESTIONS)
    with dg.DagsterInstance.ephemeral() as instance:
        for source in (*quickstart.MORE, *quickstart.LONG):
            instance.add_dynamic_partitions("source", [source])
            assert job.execute_in_process(instance=instance, partition_key=source).success


def _on_port(manifests: list[Manifest], port: int) -> list[Manifest]:
    """The same with the code location on another port: all pods share this machine's."""
    moved: list[Manifest] = json.loads(json.dumps(manifests).replace("3030", str(port)))
    return moved


def _secret(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}


@contextmanager
def _object_store(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server in a process of its own, and the variables by which it is reached."""
    port = free_port()
    command = [sys.executable, "-m", "openthoughts_dagster_tests.object_store", str(port), BUCKET]
    with (folder / "store.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        wait_for(lambda: process.poll() is not None or listens(port), 60, f"object store, see {folder}/store.log")
        yield KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
