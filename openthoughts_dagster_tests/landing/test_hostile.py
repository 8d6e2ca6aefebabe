"""Folders that would stop all landing: each is named, and the good one beside it is accepted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from openthoughts_dagster.landing import Watch, open_landing_zone
from openthoughts_dagster.landing.escaping import escape_control, escape_markdown
from openthoughts_dagster.landing.manifest import ManifestError, read_manifest
from openthoughts_dagster.recipe import load_recipe

GOOD = "{reader: files, domain: math, path: '*.jsonl'}"


def _land(landing: Path, name: str, manifest: bytes = GOOD.encode()) -> Path:
    folder = landing / name
    folder.mkdir()
    (folder / "questions.jsonl").write_text('{"question": "1+1?"}\n')
    (folder / "source.yaml").write_bytes(manifest)
    (folder / "_SUCCESS").touch()
    return folder


def _deep(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a FIFO": (lambda f: os.mkfifo(f / "pipe.jsonl"), "no regular file"),
    "a file name that is no UTF-8": (lambda f: Path(os.fsdecode(bytes(f) + b"/\xff.jsonl")).touch(), "not UTF-8"),
    "many levels": (_deep, "levels deep"),
    "a link to the root": (lambda f: (f / "all").symlink_to("/"), "symbolic links"),
    "binary YAML": (lambda f: (f / "source.yaml").write_text("{reader: files, domain: !!binary aGk=}"), "got a bytes"),
    "a lone surrogate": (lambda f: (f / "source.yaml").write_text('{a: "\\ud800"}'), "YAML|surrogate"),
    "a large integer": (
        lambda f: (f / "source.yaml").write_text("{reader: files, domain: math, limit: " + "9" * 5000 + "}"),
        "digits|63 bits",
    ),
    "a large hexadecimal integer": (
        lambda f: (f / "source.yaml").write_text("{reader: files, limit: 0x" + "f" * 5000 + "}"),
        "63 bits",
    ),
}


@pytest.mark.parametrize(("spoil", "says"), HOSTILE.values(), ids=HOSTILE)
def test_one_bad_folder_stops_no_other(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    spoil(_land(tmp_path, "bad"))
    _land(tmp_path, "good")
    recipe = load_recipe("quickstart", {"OPENTHOUGHTS_DATA": "/nowhere"})
    seen = Watch(recipe, open_landing_zone(str(tmp_path)), None).look({}, {}, 0, set())
    assert seen.sources["good"].landed and not seen.sources["good"].problem
    import re

    assert re.search(says, seen.sources["bad"].problem), seen.sources["bad"].problem
    seen.sources["bad"].problem.encode()


def test_a_folder_that_is_a_link_is_named_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "everything").symlink_to("/")
    (tmp_path / "itself").symlink_to("itself")
    _land(tmp_path, "good")
    found = open_landing_zone(str(tmp_path)).scan()
    assert "symbolic link" in found["everything"].problem and found["everything"].files == {}
    assert found["good"].problem == ""


def test_a_file_that_is_swapped_for_a_link_is_not_read(tmp_path: Path) -> None:
    from openthoughts_dagster.sources.confined import open_inside

    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.jsonl").symlink_to(tmp_path / "secret")
    (folder / "below").symlink_to(tmp_path)
    for file in ("a.jsonl", "below/secret", "../secret", "/etc/passwd"):
        with pytest.raises(OSError):
            open_inside(folder, file)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("subset: ../..", "subset"),
        ("revision: refs/convert/parquet", "revision"),
        ("split: '../x'", "split"),
        ("subset: [a, /etc]", "subset"),
    ],
)
def test_parts_of_a_landed_dataset_are_names(more: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        read_manifest("mine", f"{{reader: hugging_face, domain: math, dataset: a/b, {more}}}".encode(), "/landing/mine")


def test_a_domain_that_is_nearly_one_of_the_recipes_is_refused() -> None:
    with pytest.raises(ManifestError, match="did you mean 'math'"):
        read_manifest("mine", b"{reader: files, domain: maths, path: a.jsonl}", "/landing/mine", ["math", "code"])
    assert read_manifest("mine", b"{reader: files, domain: law, path: a.jsonl}", "/l/mine", ["math"]).domain == "law"


def test_what_comes_from_outside_is_escaped_for_where_it_is_shown() -> None:
    hostile = "![x](http://evil.example/a.png)\x1b[2J\u202e"
    assert "\x1b" not in escape_control(hostile) and "\u202e" not in escape_control(hostile)
    shown = escape_markdown(hostile)
    assert "![" not in shown and "](" not in shown and "http://" not in shown
    with pytest.raises(ManifestError) as refused:
        read_manifest("mine", b'{reader: files, domain: math, path: a, "\\e[2J": 1}', "/landing/mine")
    assert "\x1b" not in str(refused.value)
