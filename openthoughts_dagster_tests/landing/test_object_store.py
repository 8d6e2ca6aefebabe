"""A source that lands in an object store, from the sensor to the table."""

from pathlib import Path
from typing import Any

import dagster as dg

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import RAW_SOURCES, Lake
from openthoughts_dagster.landing import open_landing_zone
from openthoughts_dagster.recipe import load_recipe


def test_a_source_in_a_bucket_is_found_by_the_sensor_and_read_by_the_asset(tmp_path: Path, bucket: Any) -> None:
    for key, body in {
        "questions.jsonl": b'{"question": "1+1?"}\n{"question": "2+2?"}\n',
        "source.yaml": b"{reader: files, domain: math, path: '*.jsonl'}",
        "_SUCCESS": b"",
    }.items():
        bucket.put_object(Bucket="landing", Key=f"sources/mine/{key}", Body=body)
    bucket.put_object(Bucket="landing", Key="sources/loose.csv", Body=b"question")
    assert "beside the folders" in open_landing_zone("s3://landing/sources").scan()["loose.csv"].problem
    settings = Settings("quickstart", tmp_path, str(tmp_path / "lake"), landing="s3://landing/sources")
    definitions = build_definitions(load_recipe("quickstart", settings.variables()), settings)
    with dg.DagsterInstance.ephemeral() as instance:
        sensor = definitions.get_sensor_def("source_landing_sensor")
        result = sensor(dg.build_sensor_context(instance, definitions=definitions))
        assert isinstance(result, dg.SensorResult)
        assert "mine" in {request.partition_key for request in result.run_requests or ()}
        instance.add_dynamic_partitions("source", ["mine"])
        job = definitions.resolve_job_def("refresh_questions")
        job.execute_in_process(
            instance=instance, partition_key="mine", asset_selection=[dg.AssetKey("raw_sources")], raise_on_error=False
        )
    assert sorted(Lake(settings.lake).scan(RAW_SOURCES, source="mine").collect()["question"]) == ["1+1?", "2+2?"]
