"""The kubelets' own tests use the control plane and the nodes of the Kubernetes tests."""

from openthoughts_dagster_tests.kubernetes.conftest import nodes, plane

__all__ = ["nodes", "plane"]
