"""No byte of a deployment holds a key: not the event log, the logs of steps, the ledger or an embedding's error."""

import json
import sqlite3
import traceback
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import polars as pl
import pytest
from aiohttp import web

from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.lake import COMPLETIONS, Lake
from openthoughts_dagster.questions.embeddings import EmbeddingError, embedding_scores
from openthoughts_dagster.recipe import EmbeddingScore, Examples
from openthoughts_dagster_tests.cli.conftest import change_teacher, run
from openthoughts_dagster_tests.cli.test_retry import _answer, _error
from openthoughts_dagster_tests.generation.batch_server import BatchServer, refuse_line
from openthoughts_dagster_tests.generation.faulty_server import serving_in_thread
from openthoughts_dagster_tests.loopback import QuietHandler, serving

KEY = "sk-canary/0123+456789"
SPELLINGS = [KEY, KEY.replace("/", "\\/"), "".join(f"\\u{ord(letter):04x}" for letter in KEY), quote(KEY, safe="")]
ECHOES = " ".join(SPELLINGS)


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The deployment, whose teacher has the canary as its key."""
    monkeypatch.setenv("THE_KEY", KEY)
    engine_pool.cache_clear()
    try:
        yield folder
    finally:
        engine_pool().close()
        engine_pool.cache_clear()


def _holders(folder: Path) -> list[str]:
    """The files with a canary, also in packed columns of tables and in rows of databases."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        texts = [path.read_bytes()]
        if path.suffix == ".parquet":
            texts.append(str(pl.read_parquet(path, hive_partitioning=False).to_dicts()).encode())
        if path.suffix == ".db":
            with sqlite3.connect(path) as database:
                texts += [line.encode("utf-8", "surrogateescape") for line in database.iterdump()]
        if any(spelling.encode() in text for spelling in SPELLINGS for text in texts):
            found.append(str(path))
    return found


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["requests", "batch"])
def test_no_byte_of_a_deployment_holds_the_key_that_a_server_echoes(home: Path, mode: str) -> None:
    async def reply(_: int, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        # a permanent refusal, after which the step is not retried
        text = '{"error": {"message": "wrong ' + ECHOES + '", "code": "content_filter"}}'
        return web.Response(text=text, status=400, content_type="application/json")

    def refuse(line: dict[str, object]) -> dict[str, object]:
        return refuse_line(400, f"wrong {ECHOES}", code="content_filter")

    with serving_in_thread(reply) as (live, _), BatchServer(refuse).running() as batches:
        url = live if mode == "requests" else batches.url
        change_teacher(home, base_url=url, api_key_env="THE_KEY", mode=mode, batch={"poll_seconds": 0.01})
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("source", ["sums"])
            result = _answer(instance)
            assert not result.success and "[the key]" in _error(result)
        printed = [run(command).output for command in ("status", "doctor", "plan")]
    rows = Lake(home / "lake").scan(COMPLETIONS).collect()
    assert rows.height and rows["error"].str.contains("[the key]", literal=True).all()
    assert _holders(home) == []
    assert not any(spelling in text for spelling in SPELLINGS for text in printed)


def test_the_search_finds_a_canary_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"wrong {SPELLINGS[2]}")
    pl.DataFrame({"error": [f"{'x' * 5000}{KEY}"]}).write_parquet(tmp_path / "rows.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "events.db") as database:
        database.execute("create table events (event text)")
        database.execute("insert into events values (?)", (json.dumps({"error": KEY}),))
    assert [Path(path).name for path in _holders(tmp_path)] == ["events.db", "log", "rows.parquet"]


class _Echo(ThreadingHTTPServer):
    """Answers every request with `status` and the canary, or sends it on to `other`; keeps who came with which key."""

    def __init__(self, status: int, other: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _EchoHandler)
        self.status, self.other, self.keys = status, other, list[str]()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _EchoHandler(QuietHandler):
    server: _Echo

    def do_POST(self) -> None:
        self.read()
        self.server.keys.append(self.headers.get("Authorization", ""))
        body = ('{"error": {"message": "wrong ' + ECHOES + '"}}').encode()
        self.send(self.server.status, body, Location=f"{self.server.other}/embeddings")


@pytest.mark.parametrize("status", [400, 401, 307])
def test_an_embedding_server_that_echoes_or_redirects_gets_and_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    examples = Examples(paths=["unused.jsonl"])
    with serving(_Echo(200)) as other, serving(_Echo(status, other.url)) as server:
        settings = EmbeddingScore(
            name="e",
            method="embedding",
            model="m",
            engine="openai",
            base_url=server.url,
            api_key_env="THE_KEY",
            positives=examples,
            negatives=examples,
        )
        with pytest.raises(EmbeddingError) as caught:
            embedding_scores(["a"], ["b"], ["c"], settings, Lake(tmp_path))
    assert server.keys == [f"Bearer {KEY}"] and other.keys == []
    said = "".join(traceback.format_exception(caught.value))
    assert not any(spelling in said for spelling in SPELLINGS) and _holders(tmp_path) == []
