"""The watch over sources, look by look, on real folders and a real object store's protocol."""

import gzip
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.landing import Seen, Watch, WatchedSource, open_landing_zone
from openthoughts_dagster.landing.content_hashes import ContentHashes, ContentNotKnown
from openthoughts_dagster.landing.landed_files import make_stamp
from openthoughts_dagster.landing.versions import hub_commit
from openthoughts_dagster.landing.watched_sources import VANISHED
from openthoughts_dagster.recipe import HuggingFaceSource, Recipe, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.lock import HubReference
from openthoughts_dagster_tests.sources.helpers import source_of

MANIFEST = "{reader: files, domain: math, path: '*.jsonl'}"


class Looking:
    """A watch that is looked through again and again, as the sensor does."""

    def __init__(self, recipe: Recipe, address: str, commit: Callable[[HuggingFaceSource], str] | None = None) -> None:
        self.watch = Watch(recipe, open_landing_zone(address), commit)
        self.sources: dict[str, WatchedSource] = {}
        self.waiting: dict[str, str] = {}
        self.number = self.turn = 0

    def look(self) -> list[str]:
        """One look; the sources of which there is news."""
        seen = self.last = self.watch.look(self.sources, self.waiting, self.number, set(), self.turn)
        self.sources, self.waiting, self.turn = seen.sources, seen.waiting, self.turn + 1
        news = sorted(entry.source for entry in seen.sources.values() if entry.number > self.number)
        self.number = max([self.number, *(entry.number for entry in seen.sources.values())])
        return [name for name in news if name not in ("two-digit-sums", "shop-sums", "reversed-words", "letter-counts")]

    last: Seen


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("quickstart", {"OPENTHOUGHTS_DATA": "/nowhere"})


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


@pytest.fixture
def looking(recipe: Recipe, landing: Path) -> Looking:
    return Looking(recipe, str(landing))


def land(landing: Path, name: str, manifest: str = MANIFEST, rows: str = '{"question": "1+1?"}\n') -> Path:
    folder = landing / name
    folder.mkdir(exist_ok=True)
    (folder / "questions.jsonl").write_text(rows)
    (folder / "source.yaml").write_text(manifest)
    return folder


def test_a_source_is_taken_once_nothing_of_it_changes_between_two_looks(looking: Looking, landing: Path) -> None:
    folder = land(landing, "mine")
    assert looking.look() == []
    with (folder / "questions.jsonl").open("a") as growing:
        growing.write('{"question": "2+2?"}\n')
    assert looking.look() == []
    assert looking.look() == ["mine"]
    assert looking.look() == []
    assert looking.sources["mine"].as_source().path == f"{folder}/*.jsonl"  # type: ignore[union-attr]


def test_a_source_with_a_completion_marker_is_taken_at_the_first_look(looking: Looking, landing: Path) -> None:
    (land(landing, "mine") / "_SUCCESS").touch()
    assert looking.look() == ["mine"]


def test_changed_data_is_news_and_touched_data_is_not(looking: Looking, landing: Path) -> None:
    folder = land(landing, "mine")
    looking.look(), looking.look()
    os.utime(folder / "questions.jsonl", (0, 0))  # a clock that jumped back, or a copy that kept no times
    assert [looking.look(), looking.look(), looking.look()] == [[], [], []]
    stamps = (folder / "questions.jsonl").stat()
    (folder / "questions.jsonl").write_text('{"question": "9+9?"}\n')  # as long as before
    os.utime(folder / "questions.jsonl", ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    assert [looking.look(), looking.look()] == [[], ["mine"]]


def test_data_that_comes_back_as_it_once_was_is_news_again(looking: Looking, landing: Path) -> None:
    version_ids = []
    for rows in ("1", "2", "1"):
        land(landing, "mine", rows=f'{{"question": "{rows}"}}\n')
        assert [looking.look(), looking.look()] == [[], ["mine"]]
        version_ids.append(looking.sources["mine"].version_id)
    assert len(set(version_ids)) == 3


def test_a_vanished_source_is_reported_and_kept_and_comes_back_with_other_data(looking: Looking, landing: Path) -> None:
    folder = land(landing, "mine")
    looking.look(), looking.look()
    shutil.move(folder, landing.parent / "elsewhere")
    assert looking.look() == []
    assert looking.sources["mine"].problem == VANISHED and looking.sources["mine"].landed
    shutil.move(landing.parent / "elsewhere", folder)
    version = looking.sources["mine"].version_id
    assert looking.look() == ["mine"] and looking.look() == []  # its run has the same key, and is not launched again
    assert (looking.sources["mine"].problem, looking.sources["mine"].version_id) == ("", version)
    shutil.rmtree(folder)
    looking.look()
    land(landing, "mine", rows='{"question": "other"}\n')
    assert [looking.look(), looking.look()] == [[], ["mine"]]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "source.yaml").write_text("{reader: files, domain: x, path: ../../secret}"), "own folder"),
        (lambda f: (f / "source.yaml").unlink(), "has no source.yaml"),
        (lambda f: (f / "source.yml").write_text(MANIFEST), "two manifests"),
        (lambda f: (f / "link.jsonl").symlink_to("/etc/passwd"), "symbolic links"),
        (lambda f: f.rename(f.parent / "a|b"), "becomes a partition key"),
        (lambda f: f.rename(f.parent / "shop-sums"), "the recipe has this source"),
    ],
)
def test_a_bad_source_is_reported_and_blocks_nobody_else(
    looking: Looking, landing: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(land(landing, "bad"))
    land(landing, "good")
    looking.look()
    assert looking.look() == ["good"]
    [problem] = [entry.problem for entry in looking.sources.values() if entry.problem]
    assert says in problem
    assert looking.look() == []


def test_a_source_that_goes_bad_keeps_its_last_good_state(looking: Looking, landing: Path) -> None:
    folder = land(landing, "mine")
    looking.look(), looking.look()
    (folder / "source.yaml").write_text("{reader: files")
    looking.look(), looking.look()
    assert "not YAML" in looking.sources["mine"].problem and looking.sources["mine"].as_source().reader == "files"
    (folder / "source.yaml").write_text(MANIFEST)
    assert [looking.look(), looking.look()] == [[], []]
    assert looking.sources["mine"].problem == ""


def test_a_landing_zone_that_is_away_for_some_looks_loses_nothing(looking: Looking, landing: Path) -> None:
    land(landing, "mine")
    looking.look(), looking.look()
    landing.rename(landing.parent / "unmounted")
    assert looking.look() == [] and "cannot be read" in looking.last.notes[0]
    assert looking.sources["mine"].problem == ""
    (landing.parent / "unmounted").rename(landing)
    assert [looking.look(), looking.look()] == [[], []] and looking.last.notes == []


def test_many_sources_at_once_are_taken_a_bounded_number_at_a_time(looking: Looking, landing: Path) -> None:
    for number in range(250):
        (land(landing, f"source-{number:03}") / "_SUCCESS").touch()
    looks = [len(looking.look()) for _ in range(4)]
    assert sum(looks) == 250 and max(looks) <= 100 and looks[-1] == 0


def test_a_changed_file_or_setting_of_a_recipes_source_is_news(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "quickstart", tmp_path / "recipe")
    file = tmp_path / "recipe" / "shop_sums.jsonl"
    looking = Looking(
        load_recipe(str(tmp_path / "recipe"), {"OPENTHOUGHTS_DATA": "/nowhere"}), str(tmp_path / "recipe")
    )
    looking.look(), looking.look()
    numbers = {name: entry.number for name, entry in looking.sources.items()}
    with file.open("a") as more:
        more.write(json.dumps({"question": "one more?", "answer": "yes"}) + "\n")
    looking.look(), looking.look()
    assert {name for name, entry in looking.sources.items() if entry.number != numbers.get(name)} == {"shop-sums"}


def test_a_recipes_source_whose_data_is_there_already_is_no_news(recipe: Recipe) -> None:
    seen = Watch(recipe, None, None).look({}, {}, 7, {"two-digit-sums"})
    assert {entry.source for entry in seen.sources.values() if entry.number > 7} == {"reversed-words", "letter-counts"}


def test_a_new_commit_on_the_hub_is_news_and_a_hub_that_is_away_is_not(recipe: Recipe, landing: Path) -> None:
    commits: list[str | Exception] = ["a" * 40, "a" * 40, ConnectionError("no network"), "b" * 40, "b" * 40]

    def commit(source: HuggingFaceSource) -> str:
        answer = commits.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    looking = Looking(recipe, str(landing), commit)
    folder = landing / "numina"
    folder.mkdir()
    (folder / "source.yaml").write_text("{reader: hugging_face, domain: math, dataset: AI-MO/NuminaMath-CoT}")
    (folder / "_SUCCESS").touch()
    news = [looking.look() for _ in range(5)]
    assert news == [["numina"], [], [], ["numina"], []]


def test_commits_of_every_data_set_of_a_source_are_watched_and_locked_ones_without_the_hub(
    recipe: Recipe, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = {"org/a": "a" * 40, "org/b": "b" * 40}
    asked = list[str]()

    def newest(reference: HubReference) -> str:
        asked.append(reference.id)
        return heads[reference.id]

    monkeypatch.setattr("openthoughts_dagster.landing.versions.newest_commit", newest)
    block = {
        "name": "two",
        "domain": "math",
        "reader": "hugging_face",
        "dataset": "org/a",
        "more": [{"dataset": "org/b"}],
    }
    source = source_of(block)
    assert isinstance(source, HuggingFaceSource)
    own = recipe.model_copy(update={"sources": [source]})
    looking = Looking(own, str(landing), hub_commit)
    looking.look()
    assert looking.sources["two"].content.endswith("@" + "a" * 40 + "+" + "b" * 40)
    # A version that watched the first data set only noted its commit alone.
    looking.sources = {"two": replace(looking.sources["two"], content=f"x@{'a' * 40}")}
    assert [looking.look(), looking.look()] == [[], []]
    heads["org/b"] = "c" * 40
    assert looking.look() == ["two"] and looking.look() == []
    locked = {"org/a": "a" * 40, "org/b": "d" * 40}
    asked.clear()
    looking.watch = Watch(own, None, partial(hub_commit, locked=lambda name, _: locked[name], offline=True))
    assert looking.look() == ["two"] and looking.look() == [] and asked == []
    assert hub_commit(source, offline=True) == ""


def test_sources_land_in_an_object_store_as_they_do_in_a_folder(recipe: Recipe, bucket: Any) -> None:
    looking = Looking(recipe, "s3://landing/sources")

    def put(file: str, body: str) -> None:
        bucket.put_object(Bucket="landing", Key=f"sources/mine/{file}", Body=gzip.compress(body.encode(), mtime=0))

    bucket.put_object(Bucket="landing", Key="sources/mine/source.yaml", Body=MANIFEST.encode())
    put("part/a.jsonl", '{"question": "1+1?"}\n')
    assert [looking.look(), looking.look(), looking.look()] == [[], ["mine"], []]
    assert looking.sources["mine"].as_source().path == "s3://landing/sources/mine/*.jsonl"  # type: ignore[union-attr]
    put("part/a.jsonl", '{"question": "1+1?"}\n')  # uploaded again, the same
    assert [looking.look(), looking.look()] == [[], []]
    put("part/a.jsonl", '{"question": "2+2?"}\n')
    assert [looking.look(), looking.look()] == [[], ["mine"]]
    bucket.delete_object(Bucket="landing", Key="sources/mine/source.yaml")
    bucket.delete_object(Bucket="landing", Key="sources/mine/part/a.jsonl")
    assert looking.look() == [] and looking.sources["mine"].problem == VANISHED


def test_a_recipes_source_in_an_object_store_is_news_when_its_objects_change(tmp_path: Path, bucket: Any) -> None:
    shutil.copytree(SHIPPED / "quickstart", tmp_path / "recipe")
    file = tmp_path / "recipe" / "recipe.yaml"
    file.write_text(file.read_text().replace("path: shop_sums.jsonl", "path: s3://landing/shop/*.jsonl"))
    (tmp_path / "landing").mkdir()
    looking = Looking(load_recipe(str(tmp_path / "recipe"), {"OPENTHOUGHTS_DATA": "/"}), str(tmp_path / "landing"))
    numbers = []
    for body in (b"{}", b"{}", b"{}", b'{"question": "?"}', b'{"question": "?"}'):
        bucket.put_object(Bucket="landing", Key="shop/a.jsonl", Body=body)
        looking.look()
        numbers.append(looking.sources["shop-sums"].number if "shop-sums" in looking.sources else 0)
    assert looking.last.notes == []
    assert numbers[0] == 0 < numbers[1] == numbers[2] == numbers[3] < numbers[4]


def test_a_file_that_cannot_be_read_for_a_moment_is_read_at_a_later_look(
    looking: Looking, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = landing / "mine"
    folder.mkdir()
    (folder / "x.jsonl").write_text('{"question": "1+1?"}')
    (folder / "source.yaml").write_text(MANIFEST)
    (folder / "_SUCCESS").touch()
    own = looking.watch._own["shop-sums"]

    def refuse(*_: object) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(ContentHashes, "hash_file", refuse)
        assert looking.look() == [] and looking.look() == []
        for name in ("mine", own.name):
            assert "Input/output error" in looking.sources[name].problem
    assert looking.look() == ["mine"]
    looking.look()
    assert {looking.sources[name].problem for name in ("mine", own.name)} == {""}


def test_data_beside_the_folders_of_sources_is_reported_until_it_is_moved(looking: Looking, landing: Path) -> None:
    (landing / "x.jsonl").write_text('{"question": "1+1?"}')
    (landing / "README.md").touch()
    assert looking.look() == [] and "put it into a folder of its own" in looking.sources["x.jsonl"].problem
    assert "README.md" not in looking.sources
    (landing / "x.jsonl").unlink()
    assert looking.look() == [] and "x.jsonl" not in looking.sources


def _hash_as_earlier_versions(file: Path) -> str:
    """Compute the hash of a file as the versions before `ContentHashes` did."""
    stamp, data = make_stamp(file.stat(), link=False), file.open("rb")
    with data:
        digest = hashlib.blake2b(str(stamp.size).encode(), digest_size=16)
        if stamp.size <= 2**30:
            digest.update(hashlib.blake2b(data.read(), digest_size=16).digest())
            return digest.hexdigest()
        digest.update(stamp.token.encode())
        for block in range(64):
            data.seek(block * (stamp.size - 2**20) // 63)
            digest.update(data.read(2**20))
    return digest.hexdigest()


def test_a_large_source_is_hashed_over_several_looks_and_delays_no_other(
    looking: Looking, recipe: Recipe, landing: Path
) -> None:
    seconds = itertools.count()
    hashes = ContentHashes(seconds=4, clock=lambda: next(seconds))  # a look has time for a few blocks
    folder = land(landing, "large", rows='{"question": "1+1?"}')
    for number, size in enumerate((40 * 2**20, 7, 2**30 + 1)):
        with (folder / f"{number}.bin").open("wb") as file:
            file.write(b"x")
            file.truncate(size)
    (folder / "_SUCCESS").touch()
    (land(landing, "small") / "_SUCCESS").touch()

    def content() -> str:
        return text_hash(*(f"{f.name}\0{_hash_as_earlier_versions(f)}" for f in sorted(folder.glob("[!_]*"))))

    assert looking.look() == ["large", "small"]  # there is time to read all of it
    assert looking.sources["large"].content == content()

    looking = Looking(recipe, str(landing))
    looking.watch = Watch(recipe.model_copy(update={"sources": []}), looking.watch._zone, None, hashes)
    looks = [looking.look()]
    assert looks == [["small"]] and "of 1.0 GiB" in looking.last.notes[0] and "large" not in looking.sources
    while "large" not in looking.sources:
        looks.append(looking.look())
        if len(looks) == 10:  # what was hashed of a file that changes counts no more
            (folder / "0.bin").write_bytes(b"other")
    assert 10 < len(looks) < 90 and looks[-1] == ["large"] and looking.sources["large"].content == content()
    assert looking.look() == [] and looking.last.notes == []


def test_a_file_that_grows_while_it_is_hashed_is_not_accepted(tmp_path: Path) -> None:
    file, hashes = tmp_path / "x.jsonl", ContentHashes()
    hashes.begin_look()
    file.write_text("1")
    stamp = make_stamp(file.stat(), link=False)
    file.write_text("1\n2")
    with pytest.raises(ContentNotKnown, match="changed while it was read"):
        hashes.hash_file("mine", "x.jsonl", stamp, partial(file.open, "rb"))
    now = make_stamp(file.stat(), link=False)
    assert hashes.hash_file("mine", "x.jsonl", now, partial(file.open, "rb")) == _hash_as_earlier_versions(file)
