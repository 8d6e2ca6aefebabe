"""One control plane and its nodes for all tests of a session."""

import os
import shutil
from collections.abc import Iterator

import pytest

from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.kubelet import Kubelets
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.installing import Installed, installed
from openthoughts_dagster_tests.kubernetes.own_cluster import existing
from openthoughts_dagster_tests.kubernetes.pools import images, pools
from openthoughts_dagster_tests.kubernetes.release import Release


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without nodes."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def nodes(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelets]:
    """The control plane's nodes: three pools (`pools.py`)."""
    skip_without("bubblewrap", shutil.which("bwrap") is not None, "apt-get install bubblewrap")
    with Kubelets(plane, tmp_path_factory.mktemp("nodes"), images(tmp_path_factory.mktemp("images"))) as kubelets:
        kubelets.join(*pools())
        yield kubelets


@pytest.fixture(scope="session")
def here(plane: ControlPlane, nodes: Kubelets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart on the tests' own cluster, installed with the small quickstart."""
    with installed(plane, nodes, tmp_path_factory.mktemp("release")) as release:
        yield release


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart: on the tests' own cluster, or where OPENTHOUGHTS_TEST_NAMESPACE says, on the one of KUBECONFIG."""
    if namespace := os.environ.get("OPENTHOUGHTS_TEST_NAMESPACE"):
        with existing(namespace, tmp_path_factory.mktemp("release")) as release:
            yield release
    else:
        yield request.getfixturevalue("here")
