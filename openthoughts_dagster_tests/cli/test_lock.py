"""`openthoughts lock` with the hub's own client, over a server on this machine that answers as the hub does."""

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from openthoughts_dagster.recipe.lock import lock_path
from openthoughts_dagster_tests.cli.conftest import run
from openthoughts_dagster_tests.loopback import QuietHandler, serving

A, B, C = ("a" * 40, "b" * 40, "c" * 40)


class _Heads(ThreadingHTTPServer):
    """Answers /api/datasets/ID/revision/REVISION and /api/models/ID with the commits in `heads`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heads = dict[str, str]()


class _Handler(QuietHandler):
    server: _Heads

    def do_GET(self) -> None:
        found = self.server.heads.get(self.path.partition("?")[0].removeprefix("/api/"))
        if not found:
            return self.send_json(404, {}, X_Error_Code="RepoNotFound")
        about = {"id": "org/any", "sha": found, "siblings": [], "tags": [], "private": False}
        return self.send_json(200, about)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Heads]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serving(_Heads()) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server


def _recipe(folder: Path) -> Path:
    path = folder / "recipe" / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["sources"].append({"name": "hub", "domain": "math", "reader": "hugging_face", "dataset": "org/set"})
    recipe["sources"][-1]["more"] = [{"dataset": "org/more", "revision": "v1"}]
    recipe["student"]["model"] = "org/student"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_lock_writes_the_commits_and_check_says_what_moved(folder: Path, hub: _Heads) -> None:
    path = _recipe(folder)
    hub.heads = {"datasets/org/set": A, "datasets/org/more/revision/v1": B, "models/org/student": C}
    assert "there is no" in run("lock", "--check").output
    written = run("lock")
    assert written.exit_code == 0 and f"{lock_path(path)} has 3 commits" in written.output, written.output
    assert yaml.safe_load(lock_path(path).read_text()) == {
        "datasets": {"org/more@v1": B, "org/set": A},
        "models": {"org/student": C},
    }
    checked = run("lock", "--check")
    assert (checked.exit_code, checked.output.strip()) == (0, f"{lock_path(path)}: nothing has moved")
    assert f"ok      lock file: {lock_path(path)} names every commit" in run("doctor").output
    hub.heads["datasets/org/set"] = C
    checked = run("lock", "--check")
    assert checked.exit_code == 1 and f"dataset org/set has moved from {A} to {C}" in checked.output
    assert yaml.safe_load(lock_path(path).read_text())["datasets"]["org/set"] == A
    run("lock")
    assert yaml.safe_load(lock_path(path).read_text())["datasets"]["org/set"] == C
    path.write_text(path.read_text().replace("org/set", "org/other"))
    assert f"note    lock file: {lock_path(path)} has no commit of org/other" in run("doctor").output


def test_a_hub_that_is_away_or_does_not_know_a_name_changes_nothing(
    folder: Path, hub: _Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _recipe(folder)
    hub.heads = {"datasets/org/set": A, "datasets/org/more/revision/v1": B}
    unknown = run("lock")
    assert unknown.exit_code == 1 and "model org/student: RepositoryNotFoundError" in unknown.output
    assert "nothing was written" in unknown.output and not lock_path(path).exists()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    away = run("lock")
    assert away.exit_code == 1 and "the hub did not say the commits of" in away.output
    assert all(name in away.output for name in ("dataset org/set: Connect", "dataset org/more@v1", "model org/student"))


def test_the_recipes_of_the_package_are_not_locked_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_RECIPE", "openthoughts3")
    assert "comes with the package: copy its folder" in run("lock").output
