"""A hub on this machine to which the real client pushes; README.md says what it has."""

from openthoughts_dagster_tests.hub_double.repositories import Commit, Repository
from openthoughts_dagster_tests.hub_double.server import TOKEN, HubDouble, running_hub

__all__ = ["TOKEN", "Commit", "HubDouble", "Repository", "running_hub"]
