"""Files that are elsewhere: in an S3 bucket, and behind HTTP, from a server on this machine."""

import gzip
import traceback
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from openthoughts_dagster.sources import SourceError
from openthoughts_dagster_tests.sources.dumps import ANSWERS, QUESTION, posts_xml, write_dump
from openthoughts_dagster_tests.sources.helpers import lines, read


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an S3 server with a bucket `questions`."""
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    S3FileSystem.clear_instance_cache()  # those of another server
    boto3.client("s3").create_bucket(Bucket="questions")
    yield f"http://{host}:{port}"
    server.stop()


def _put(key: str, content: bytes) -> None:
    import boto3

    boto3.client("s3").put_object(Bucket="questions", Key=key, Body=content)


def test_a_glob_over_a_bucket_reads_every_format(tmp_path: Path, server: str) -> None:
    pl.DataFrame({"question": ["b"]}).write_parquet(tmp_path / "b.parquet")
    _put("in/a.jsonl.gz", gzip.compress(lines({"question": "a"})))
    _put("in/deep/b.parquet", (tmp_path / "b.parquet").read_bytes())
    got = read(tmp_path, {"reader": "files", "path": "s3://questions/in/**"})
    assert got.texts == ["a", "b"]
    assert [origin["file"] for origin in got.origins()] == ["a.jsonl.gz", "deep/b.parquet"]


def test_a_missing_bucket_and_a_cut_off_object_say_their_address(tmp_path: Path, server: str) -> None:
    with pytest.raises(SourceError, match=r"s3://nowhere/\*\.jsonl"):
        read(tmp_path, {"reader": "files", "path": "s3://nowhere/*.jsonl"})
    _put("cut.jsonl.gz", gzip.compress(lines(*({"question": f"{n * 7919}"} for n in range(999))))[:500])
    with pytest.raises(SourceError, match=r"questions/cut\.jsonl\.gz cannot be read.*copy it again"):
        read(tmp_path, {"reader": "files", "path": "s3://questions/cut.jsonl.gz"})


def test_a_dump_is_read_from_its_address(tmp_path: Path, server: str) -> None:
    import boto3

    _put("site.7z", write_dump(tmp_path / "site.7z", posts_xml(QUESTION, *ANSWERS)).read_bytes())
    boto3.client("s3").put_object_acl(Bucket="questions", Key="site.7z", ACL="public-read")
    got = read(tmp_path, {"reader": "stack_exchange", "path": f"{server}/questions/site.7z"})
    assert got.texts[0].startswith("Why is") and got.origins()[0]["file"] == "site.7z"
    with pytest.raises(SourceError, match="no file at"):
        read(tmp_path, {"reader": "stack_exchange", "path": f"{server}/questions/other.7z"})


def test_an_address_may_have_a_query_and_no_message_has_its_secrets(tmp_path: Path, server: str) -> None:
    import boto3

    for name, content in (
        ("rows.jsonl", lines({"question": "a"})),
        ("rows.jsonl.gz", b"not packed"),
        ("rows.doc", b""),
    ):
        _put(name, content)
        boto3.client("s3").put_object_acl(Bucket="questions", Key=name, ACL="public-read")
    got = read(tmp_path, {"reader": "files", "path": f"{server}/questions/rows.jsonl?download=true"})
    assert got.texts == ["a"] and got.origins()[0]["file"] == "rows.jsonl"
    for name in ("rows.jsonl.gz", "rows.doc", "none.jsonl"):
        path = f"{server}/questions/{name}?x=1&sig=hidden".replace("://", "://me:hidden@")
        with pytest.raises(SourceError, match=f"{name}.x=1&sig=.credentials") as error:
            read(tmp_path, {"reader": "files", "path": path})
        assert "hidden" not in "".join(traceback.format_exception(error.value))
