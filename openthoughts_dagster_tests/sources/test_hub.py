"""Datasets over the hub's own interface, from a server on this machine: commits that move, pins that hold."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from openthoughts_dagster_tests.sources.hub import COMMIT, write_dataset
from openthoughts_dagster_tests.sources.hub_server import Hub, running_hub

OTHER = COMMIT[::-1]
# The libraries read the hub's address when they are imported, and tests run offline: so a process of its own.
_READ = """
import json, sys
from pathlib import Path
from openthoughts_dagster.sources import SourceError
from openthoughts_dagster.recipe.lock import Lock
from openthoughts_dagster_tests.sources.helpers import read
for block in json.loads(sys.argv[2]):
    try:
        lock = Lock(block.pop("lock")) if "lock" in block else None
        got = read(Path(sys.argv[1]), {"reader": "hugging_face", "dataset": "org/set"} | block, lock)
        print(json.dumps([got.texts, sorted({origin["revision"] for origin in got.origins()})]))
    except SourceError as error:
        print(json.dumps([str(error), []]))
"""


def _read(folder: Path, hub: Hub, *blocks: dict[str, Any]) -> list[Any]:
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    online |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    arguments = [sys.executable, "-c", _READ, str(folder), json.dumps(blocks)]
    done = subprocess.run(arguments, env=online, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_pin_holds_when_main_moves_and_without_one_every_row_says_its_commit(tmp_path: Path) -> None:
    folders = {
        commit: write_dataset(tmp_path / commit, "org/set", [{"question": "a"}, {"question": text}])
        for commit, text in ((COMMIT, "b"), (OTHER, "c"))
    }
    with running_hub() as hub:
        hub.push("org/set", COMMIT, folders[COMMIT])
        assert _read(tmp_path, hub, {}) == [[["a", "b"], [COMMIT]]]
        hub.push("org/set", OTHER, folders[OTHER])
        moved, pinned, lost, unknown, locked = _read(
            tmp_path,
            hub,
            {},
            {"revision": COMMIT},
            {"revision": "f" * 40},
            {"dataset": "org/none"},
            {"lock": {"org/set": COMMIT}},
        )
    assert moved == [["a", "c"], [OTHER]]
    assert pinned == locked == [["a", "b"], [COMMIT]]
    assert "dataset 'org/set' cannot be loaded: RevisionNotFoundError" in lost[0] and "`revision`" in lost[0]
    assert "dataset 'org/none' cannot be loaded: RepositoryNotFoundError" in unknown[0]


def test_a_main_that_moves_while_it_is_read_does_not_mix_two_commits(tmp_path: Path) -> None:
    folders = {
        commit: write_dataset(tmp_path / commit, "org/set", [{"question": text}])
        for commit, text in ((COMMIT, "old"), (OTHER, "new"))
    }
    with running_hub() as hub:
        hub.push("org/set", COMMIT, folders[COMMIT])
        hub.commits["org/set"][OTHER] = folders[OTHER]
        hub.after = {"GET /api/datasets/org/set": lambda: hub.heads.update({"org/set": OTHER})}
        assert _read(tmp_path, hub, {}) == [[["old"], [COMMIT]]]
        assert hub.heads["org/set"] == OTHER
