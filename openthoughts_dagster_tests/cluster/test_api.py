"""Steps are patient with an API server that is away, and say at once what it refuses."""

import pytest

from openthoughts_dagster.cluster import ClusterError
from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster_tests.cluster.failing_api import failing_api

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train-1"}}


def test_errors_of_the_server_and_broken_connections_are_tried_again() -> None:
    with failing_api(500, 0, 429, JOB) as (client, asked):
        found = Api(client, "space", 60).job("train-1")

    assert found is not None and found["metadata"]["name"] == "train-1"
    assert asked == ["GET /apis/batch/v1/namespaces/space/jobs/train-1/status"] * 4


def test_a_job_whose_creation_was_not_heard_of_is_not_a_second_job() -> None:
    with failing_api(0, 409) as (client, asked):
        assert not Api(client, "space", 60).create_job(JOB)

    assert len(asked) == 2


def test_what_is_gone_is_none_and_deleting_it_is_no_error() -> None:
    with failing_api(404, 404, 404) as (client, _):
        api = Api(client, "space", 60)
        assert api.job("train-1") is None
        assert not api.delete_job("train-1")
        api.delete_service("train-1")


def test_a_right_that_is_missing_is_said_at_once_with_who_gives_it() -> None:
    with (
        failing_api(403) as (client, _),
        pytest.raises(ClusterError, match=r"refused: 403 .*said 403.*severalNodes\.enabled"),
    ):
        Api(client, "space", 60).create_service(JOB)


def test_what_is_too_large_or_over_quota_is_said_at_once_without_advice_about_rights() -> None:
    quota = {"code": 403, "message": 'jobs.batch "x" is forbidden: exceeded quota: few, limited: count/jobs.batch=5'}
    with failing_api(413, (403, quota)) as (client, asked):
        for says in ("refused: 413 .*said 413$", "exceeded quota.*ResourceQuota is used up"):
            with pytest.raises(ClusterError, match=says):
                Api(client, "space", 60).create_job(JOB)
    assert len(asked) == 2


def test_a_server_that_stays_away_is_an_error_in_the_end() -> None:
    with (
        failing_api(500, 500, 500, 500) as (client, _),
        pytest.raises(ClusterError, match=r"could not be asked for .* minutes: 500 said 500"),
    ):
        Api(client, "space", 1).job("train-1")
