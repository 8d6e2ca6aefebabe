"""Dagster's steps and runs on Kubernetes: the executor, the pods of steps, and the launcher of runs.

`executor.py` starts each step in a Job of its own, `step_pods.py` makes and watches those Jobs, `pod_config.py` says
which pod a step needs, `job_client.py` talks to the API server, `several_nodes.py` trains a student on several nodes,
and `run_launcher.py` watches the pods of runs. The folder `cluster/` describes clusters and pods without Dagster.
Only `several_nodes.py` is imported outside a cluster, since dagster_k8s loads the Kubernetes client.
"""
