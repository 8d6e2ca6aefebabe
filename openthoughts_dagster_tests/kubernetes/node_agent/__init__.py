"""In place of kubelets and container runtimes: nodes whose pods are confined processes of this machine. Tests only.

    with NodeAgents(plane, folder, images) as nodes:                   # the fixture `nodes` does this once a session
        nodes.join(Node("gpu-0", cpus=4, memory="8Gi", gpus=1, labels={...}, taints=[...]))
        nodes.vanish("gpu-0"), nodes.come_back("gpu-0")            # a machine that dies, with its processes
        nodes.evict(namespace, pod, message), nodes.oom_kill(namespace, pod)
What is as on a cluster: scheduling, RBAC by the pod's own token, volumes, environment, probes, restarts, grace
periods, phases, reasons, events, logs, memory limits (by watching), a user that is not root, a root of its own.
What is not: every pod is on the host's loopback. Names of Services and of pods of a headless Service are lines of
the pod's /etc/hosts for 127.0.0.1, so a Service's port must be its pods' port and no two pods may listen on one port;
NetworkPolicies are stored and not enforced; seccomp profiles and CPU limits are not applied.
"""

from openthoughts_dagster_tests.kubernetes.node_agent.agent import NodeAgents
from openthoughts_dagster_tests.kubernetes.node_agent.images import Image, packages_without, python_image
from openthoughts_dagster_tests.kubernetes.node_agent.nodes import Node

__all__ = ["Image", "Node", "NodeAgents", "packages_without", "python_image"]
