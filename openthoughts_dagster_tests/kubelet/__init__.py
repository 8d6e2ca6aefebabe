"""Kubelets for tests: nodes of a real control plane whose pods are confined processes of this machine. See README.md.

with Kubelets(plane, folder, images) as nodes:
    nodes.join(Node("gpu-0", cpus=4, memory="8Gi", gpus=1, labels={...}, taints=[...]))
"""

from openthoughts_dagster_tests.kubelet.images import Image, packages_without, program_image, python_image
from openthoughts_dagster_tests.kubelet.kubelets import Kubelets
from openthoughts_dagster_tests.kubelet.nodes import Node

__all__ = ["Image", "Kubelets", "Node", "packages_without", "program_image", "python_image"]
