"""The description of a Kubernetes cluster, and the pods that each kind of work gets there. Imports no Dagster."""

from openthoughts_dagster.cluster.fitting import check_fits
from openthoughts_dagster.cluster.loading import ClusterError, load_cluster
from openthoughts_dagster.cluster.pods import PodConfig, cpu_pod, merge_settings, model_pod, pod_template
from openthoughts_dagster.cluster.settings import Accelerator, Cluster, Images, Kind, WorkSettings

__all__ = [
    "Accelerator",
    "Cluster",
    "ClusterError",
    "Images",
    "Kind",
    "PodConfig",
    "WorkSettings",
    "check_fits",
    "cpu_pod",
    "load_cluster",
    "merge_settings",
    "model_pod",
    "pod_template",
]
