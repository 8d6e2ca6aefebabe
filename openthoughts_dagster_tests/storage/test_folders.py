"""A folder in an object store is complete or absent, fetched once, and never trusted blindly."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.lake import folder_hash
from openthoughts_dagster.storage import Folders, StorageError
from openthoughts_dagster.storage.transfer import find_objects
from openthoughts_dagster_tests.object_store import KEYS, SECRET, ObjectStore

ADDRESS = "s3://files/students/a/b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "model.safetensors").write_bytes(b"weights" * 1000)
    (made / "deep" / "config.json").write_text("{}")
    return made


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "cache")


def test_what_was_put_is_fetched_elsewhere_and_has_the_same_hash(
    store: ObjectStore, folders: Folders, folder: Path, tmp_path: Path
) -> None:
    put = folders.put(folder, ADDRESS)
    there = Folders(tmp_path / "another-pod").fetch(ADDRESS)
    assert there.is_relative_to(tmp_path / "another-pod")
    assert {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()} == set(put.files)
    assert folder_hash(there) == folder_hash(folder) == put.content
    assert put.revision(("deep",)) == folder_hash(folder, ignore=("deep",)) != put.content


def test_of_two_that_delete_a_folder_at_once_none_fails(
    folders: Folders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 deletes what is gone without a word, and other stores raise an error."""
    address, function = "memory://files/deleted", "openthoughts_dagster.storage.folders.find_objects"
    folders.put(folder, address)

    def find_while_another_deletes(system: Any, root: str) -> dict[str, Any]:
        found = find_objects(system, root)
        monkeypatch.setattr(function, find_objects)
        folders.remove(address)
        return found

    monkeypatch.setattr(function, find_while_another_deletes)
    folders.remove(address)
    assert folders.manifest(address) is None


def test_a_path_is_its_own_address_and_nothing_is_copied(folders: Folders, folder: Path) -> None:
    assert folders.fetch(str(folder)) == folder
    assert not folders.cache.exists() and not (folder / "manifest.json").exists()


def test_a_put_that_died_half_way_left_nothing_to_fetch_and_goes_on(
    store: ObjectStore, folders: Folders, folder: Path
) -> None:
    store.fault = lambda method, path: "403 Forbidden" if method == "PUT" and path.endswith("config.json") else None
    with pytest.raises(StorageError):
        folders.put(folder, ADDRESS)
    store.fault = None
    with pytest.raises(StorageError, match=r"students/a/b: there is no complete folder.*Materialize the asset"):
        folders.fetch(ADDRESS)
    assert folders.list_folders("s3://files/students/a") == []
    store.requests.clear()
    folders.put(folder, ADDRESS)
    assert [path.rpartition("/")[2] for method, path in store.requests if method == "PUT"] == [
        "config.json",
        "manifest.json",
    ]
    assert folders.list_folders("s3://files/students/a") == ["b"]


def test_the_first_of_two_that_put_wins_unless_it_is_replaced(
    store: ObjectStore, folders: Folders, folder: Path, tmp_path: Path
) -> None:
    first = folders.put(folder, ADDRESS)
    (folder / "model.safetensors").write_bytes(b"other")
    assert folders.put(folder, ADDRESS).content == first.content
    assert (folders.fetch(ADDRESS) / "model.safetensors").stat().st_size == 7000
    assert folders.put(folder, ADDRESS, replace=True).content == folder_hash(folder)
    assert (folders.fetch(ADDRESS) / "model.safetensors").read_bytes() == b"other"


def test_two_that_put_at_the_same_moment_end_with_one_whole_folder(
    store: ObjectStore, folders: Folders, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"other")
    both_looked, looks = threading.Barrier(2), threading.local()

    def meet(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("manifest.json") and not getattr(looks, "met", False):
            looks.met = True
            both_looked.wait(20)

    store.fault = meet
    contents: list[str] = []
    threads = [
        threading.Thread(target=lambda f=each: contents.append(Folders(tmp_path).put(f, ADDRESS).content))
        for each in (folder, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(contents) == 2 and contents[0] == contents[1]
    assert folder_hash(folders.fetch(ADDRESS)) == contents[0]


def test_processes_of_one_pod_fetch_a_folder_once(
    store: ObjectStore, folders: Folders, folder: Path, tmp_path: Path
) -> None:
    folders.put(folder, ADDRESS)
    store.requests.clear()
    code = (
        "import sys; from pathlib import Path; from openthoughts_dagster.storage import Folders;"
        "print(Folders(Path(sys.argv[1])).fetch(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pod"), ADDRESS]
    pods = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({pod.communicate(timeout=60)[0] for pod in pods}) == 1
    assert [method for method, path in store.requests if path.endswith(".safetensors")].count("GET") == 1


def test_without_weights_only_the_small_files_travel(store: ObjectStore, folders: Folders, folder: Path) -> None:
    folders.put(folder, ADDRESS)
    light = folders.fetch(ADDRESS, weights=False)
    assert (light / "deep" / "config.json").is_file() and not (light / "model.safetensors").exists()
    whole = folders.fetch(ADDRESS)
    assert (whole / "model.safetensors").is_file()
    assert folders.fetch(ADDRESS, weights=False) == whole


@pytest.mark.parametrize("change", ["cut", "gone"])
def test_a_file_that_changed_in_the_store_is_refused_and_leaves_nothing(
    store: ObjectStore, folders: Folders, folder: Path, change: str
) -> None:
    key = f"students/a/b/{folders.put(folder, ADDRESS).content}/model.safetensors"
    if change == "cut":
        store.client().put_object(Bucket="files", Key=key, Body=b"weights")
    else:
        store.client().delete_object(Bucket="files", Key=key)
    with pytest.raises(StorageError, match=r"model.safetensors is not the file|could not be fetched"):
        folders.fetch(ADDRESS)
    assert [path.name for path in (folders.cache / "folders").iterdir() if not path.name.endswith(".lock")] == []


def test_a_manifest_cannot_write_outside_of_its_folder(store: ObjectStore, folders: Folders) -> None:
    evil = {"version": 1, "content": "x", "files": {"../../evil": [1, "00" * 16]}}
    store.client().put_object(Bucket="files", Key="students/a/b/manifest.json", Body=json.dumps(evil).encode())
    with pytest.raises(StorageError, match="names a file outside of the folder"):
        folders.fetch(ADDRESS)


def test_a_folder_larger_than_the_disk_is_refused_before_it_is_fetched(
    store: ObjectStore, folders: Folders, folder: Path
) -> None:
    content, files = "0" * 32, {"model.safetensors": [2**60, "00" * 16]}
    from openthoughts_dagster.storage.manifest import FileEntry, Manifest

    content = Manifest({name: FileEntry(size, digest) for name, (size, digest) in files.items()}).content  # type: ignore[arg-type]
    body = json.dumps({"version": 1, "content": content, "files": files}).encode()
    store.client().put_object(Bucket="files", Key="students/a/b/manifest.json", Body=body)
    with pytest.raises(StorageError, match=r"do not fit into .*give the step more disk"):
        folders.fetch(ADDRESS)


def test_errors_name_the_address_and_the_remedy_and_no_credentials(
    store: ObjectStore, folders: Folders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fault = lambda method, path: "403 Forbidden"
    for work in (lambda: folders.put(folder, ADDRESS), lambda: folders.fetch(ADDRESS)):
        with pytest.raises(StorageError, match=r"s3://files/students/a/b: could not be read: .*AWS_\*") as caught:
            work()
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
        assert not any(value in str(caught.value) for value in (SECRET, KEYS["AWS_ACCESS_KEY_ID"]))
    with pytest.raises(StorageError) as caught:
        folders.fetch("s3://user:hidden/key@files/students")
    assert "hidden" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_an_error_of_the_put(store: ObjectStore, folders: Folders, folder: Path) -> None:
    with pytest.raises(StorageError, match="s3://nowhere/x: could not be written"):
        folders.put(folder, "s3://nowhere/x")


def test_without_s3fs_the_error_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None; from pathlib import Path;"
        "from openthoughts_dagster.storage import Folders; Folders(Path(sys.argv[1])).fetch('s3://files/x')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "pip install 'openthoughts-dagster[s3]'" in done.stderr


def test_removing_takes_the_manifests_first(store: ObjectStore, folders: Folders, folder: Path) -> None:
    folders.put(folder, f"{ADDRESS}/checkpoint-1")
    folders.put(folder, f"{ADDRESS}/checkpoint-2")
    assert folders.list_folders(ADDRESS) == ["checkpoint-1", "checkpoint-2"]
    store.requests.clear()
    folders.remove(ADDRESS)
    deleted = [path for method, path in store.requests if method == "DELETE"]
    assert len(deleted) == 6 and all(path.endswith("manifest.json") for path in deleted[:2])
    assert store.keys("files") == []
