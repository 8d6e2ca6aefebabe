"""Pushing a version with the hub's own client, to a hub on this machine."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import constants

from openthoughts_dagster.recipe.release import Hub
from openthoughts_dagster.release.hub import HubError, HubRepository
from openthoughts_dagster.release.push_plan import ReleaseFolder
from openthoughts_dagster_tests.hub_double import TOKEN, HubDouble, Repository

SETTINGS = Hub(repository="team/sums")
VARIABLES = {"HF_TOKEN": TOKEN}


@pytest.fixture
def folder(tmp_path: Path) -> ReleaseFolder:
    return _write(tmp_path / "one", "1234567890ab", shards=3)


def _write(path: Path, version: str, shards: int, first: int = 0) -> ReleaseFolder:
    """The folder of a version, as `write_release` makes it."""
    for number in range(shards):
        file = path / "data" / f"train-{number:05d}-of-{shards:05d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"row": range(first + number, first + number + 50)}).write_parquet(file)
    (path / "README.md").write_text(f"---\nlicense: apache-2.0\n---\n# Sums {version}\n")
    record: dict[str, Any] = {"name": "sums", "teacher": "worked", "version": version}
    record["files"] = {f"data/{file.name}": "" for file in (path / "data").iterdir()}
    (path / "release.json").write_text(json.dumps(record))
    return ReleaseFolder(path, "sums", "worked", version)


def _repository(hub: HubDouble, **changed: Any) -> HubRepository:
    return HubRepository(SETTINGS.model_copy(update=changed), VARIABLES, hub.address)


def test_a_version_is_one_commit_with_a_tag_in_a_private_repository(hub: HubDouble, folder: ReleaseFolder) -> None:
    plan = _repository(hub).plan(folder)
    assert not plan.exists and plan.private and len(plan.added) == 5 and hub.repositories == {}
    assert plan.describe()[0] == f"{hub.address}/datasets/team/sums: would be created, private"

    lines: list[str] = []
    pushed = _repository(hub).push(folder, lines.append)
    there = hub.repositories["team/sums"]
    assert there.private and len(there.commits) == 2
    assert there.tags == {"v1234567890ab": there.head.oid} and pushed.commit == there.head.oid
    assert {n: c for n, c in there.head.files.items() if n != ".gitattributes"} == {
        name: path.read_bytes() for name, path in folder.files().items()
    }
    assert pushed.files == 5 and pushed.address == f"{hub.address}/datasets/team/sums/tree/v1234567890ab"
    assert lines[0].endswith("would be created, private")

    again = _repository(hub).push(folder)
    assert again.commit == pushed.commit and again.files == 0 and len(there.commits) == 2
    assert _repository(hub).plan(folder).is_done


@pytest.mark.faults
def test_the_next_version_replaces_the_files_and_older_ones_stay_under_their_tags(
    hub: HubDouble, folder: ReleaseFolder, tmp_path: Path
) -> None:
    first, there = _repository(hub).push(folder), hub.repositories["team/sums"]
    there.commit("a person's", dict(there.head.files) | {"LICENSE": b"mine"})
    other = _write(tmp_path / "two", "ba0987654321", shards=2, first=1)
    plan = _repository(hub).plan(other)
    assert list(plan.removed) == [f"data/train-0000{n}-of-00003.parquet" for n in range(3)]
    assert list(plan.changed) == ["README.md", "release.json"] and len(plan.added) == 2
    shown = "\n".join(plan.describe())
    assert "  remove  data/train-00000-of-00003.parquet" in shown and "tag vba0987654321: to be made" in shown
    assert "  keep    LICENSE (no part of a release)" in shown

    _repository(hub).push(other)
    assert set(there.head.files) == {*other.files(), ".gitattributes", "LICENSE"}
    assert there.tags["v1234567890ab"] == first.commit and there.at("v1234567890ab") == there.commits[1]


def test_an_interrupted_upload_goes_on_with_what_is_missing(hub: HubDouble, folder: ReleaseFolder) -> None:
    hub.repositories["team/sums"] = there = Repository("team/sums", private=True)
    hub.break_uploads_after(1)
    with pytest.raises(HubError, match=r"cannot be reached, or broke off .* push again") as broken:
        _repository(hub).push(folder)
    assert TOKEN not in str(broken.value) and len(there.commits) == 1 and there.tags == {}
    assert len(hub.uploads) == 1
    hub.mend()
    _repository(hub).push(folder)
    assert len(set(hub.uploads)) == len(hub.uploads) == 3 and len(there.commits) == 2

    # A process that died between commit and tag: the next push only makes the tag.
    there.tags.clear()
    _repository(hub).push(folder)
    assert len(there.commits) == 2 and there.tags == {"v1234567890ab": there.head.oid}


@pytest.mark.faults
def test_one_broken_attempt_is_tried_again_by_itself(hub: HubDouble, folder: ReleaseFolder) -> None:
    hub.break_uploads(1)
    _repository(hub).push(folder)
    assert len(hub.uploads) == 3


@pytest.mark.faults
def test_other_content_other_releases_and_public_repositories_are_refused(
    hub: HubDouble, folder: ReleaseFolder
) -> None:
    there = hub.repositories["team/sums"] = Repository("team/sums", private=True)
    there.commit("a person's", dict(there.head.files) | {"notes.txt": b"mine", "README.md": b"# Mine\n"})
    with pytest.raises(HubError, match=r"has other content \(notes.txt\), which no push put there"):
        _repository(hub).push(folder)
    there.commit("of another tool", {"README.md": b"# Mine\n", "release.json": b"[1]"})
    with pytest.raises(HubError, match=r"has other content \(release.json\)"):
        _repository(hub).push(folder)
    there.commit("emptied", {"README.md": b"# Empty\n"})
    _repository(hub).push(folder)
    whole = dict(there.head.files)
    there.commit("more rows", whole | {"data/train-9.parquet": b"1"})  # the config would load it
    with pytest.raises(HubError, match=r"has other content \(data/train-9.parquet\)"):
        _repository(hub).push(folder)
    there.commit("without them", whole)
    with pytest.raises(HubError, match="has the release sums of worked, not sums of direct"):
        _repository(hub).plan(replace(folder, teacher="direct"))
    there.private = False
    with pytest.raises(HubError, match="is public, and the recipe says private"):
        _repository(hub).push(folder)
    assert _repository(hub, private=False).plan(folder).is_done
    assert len(there.commits) == 7


@pytest.mark.faults
def test_somebody_who_commits_meanwhile_is_not_overwritten(hub: HubDouble, folder: ReleaseFolder) -> None:
    repository, there = _repository(hub), Repository("team/sums", private=True)
    hub.repositories["team/sums"] = there
    plan = repository.plan(folder)
    there.commit("another", dict(there.head.files) | {"other.txt": b"1"})
    with pytest.raises(HubError, match=r"somebody else committed meanwhile \(412\)"), repository._errors():
        repository._commit(folder, plan)
    assert set(there.head.files) == {".gitattributes", "other.txt"}


def test_the_token_is_the_variables_and_is_never_said(
    hub: HubDouble, folder: ReleaseFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(HubError, match="HF_TOKEN is not set: make a token that may write to team/sums"):
        HubRepository(SETTINGS, {}, hub.address)
    wrong = HubRepository(SETTINGS, {"HF_TOKEN": "hf_" + "x" * 34}, hub.address)
    with pytest.raises(HubError, match="the token of HF_TOKEN is refused") as refused:
        wrong.push(folder)
    _repository(hub).push(folder)
    assert "hf_" not in str(refused.value) and TOKEN not in caplog.text


def test_a_hub_that_cannot_be_reached_is_one_clear_error(
    hub: HubDouble, folder: ReleaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = HubRepository(SETTINGS, VARIABLES, "http://127.0.0.1:1")
    with pytest.raises(HubError, match=r"http://127.0.0.1:1 cannot be reached, or broke off \(ConnectError"):
        gone.push(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set: unset it"):
        _repository(hub).plan(folder)
    (folder.path / "README.md").unlink()
    with pytest.raises(HubError, match=r"lacks README.md: materialize reasoning_dataset again"):
        _repository(hub).plan(folder)
