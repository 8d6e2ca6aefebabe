"""A damaged file of a table is named, with the way back; nothing of it is read as if it were whole."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from openthoughts_dagster.lake import EMBEDDINGS, Lake, LakeError


@pytest.fixture
def folder(lake: Lake) -> Path:
    """The folder of a table of three commits, each with 40 rows."""
    for number in range(3):
        texts = [f"text {number} {n} " * 5 for n in range(40)]
        lake.append(EMBEDDINGS, _rows(texts))
    return Path(lake.address(EMBEDDINGS))


def test_tables_are_read_file_by_file_and_a_damaged_file_is_named(lake: Lake, folder: Path) -> None:
    parts = list(lake.read_files(EMBEDDINGS, ["text"], encoder="e"))
    assert [part.height for part in parts] == [40, 40, 40] and parts[0].columns == ["text"]
    assert set(pl.concat(parts)["text"]) == set(lake.scan(EMBEDDINGS).collect()["text"])
    assert not list(lake.read_files(EMBEDDINGS, ["text"], encoder="other"))
    file = _data(folder)
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(LakeError, match=file.name):
        list(lake.read_files(EMBEDDINGS, ["text"]))


def _log(folder: Path, number: int) -> Path:
    return folder / "_delta_log" / f"{number:020}.json"


def _data(folder: Path) -> Path:
    return sorted(folder.rglob("*.parquet"))[0]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _rows(texts: list[str]) -> pl.DataFrame:
    columns = {"encoder": "e", "text": texts, "vector": [[0.5, 1.0]] * len(texts)}
    return pl.DataFrame(columns, schema=EMBEDDINGS.schema)


@pytest.mark.parametrize(
    ("number", "harm", "says"),
    [
        (3, _empty, "is empty"),  # read as the version before
        (2, _empty, "is empty"),
        (3, _cut, "is empty or cut off"),
        (1, Path.unlink, "is missing"),
    ],
)
def test_a_damaged_log_file_is_named_by_reads_and_writes(
    lake: Lake, folder: Path, number: int, harm: Callable[[Path], None], says: str
) -> None:
    harm(_log(folder, number))
    for use in (lambda: lake.scan(EMBEDDINGS), lambda: lake.append(EMBEDDINGS, _rows(["t"])), lake.maintain):
        with pytest.raises(LakeError, match=rf"{_log(folder, number)} {says}.*Restore the file from a backup"):
            use()


@pytest.mark.parametrize("harm", [_cut, _empty, Path.unlink])
def test_a_damaged_checkpoint_of_the_log_is_named_and_the_remedy_reads_the_table(
    lake: Lake, folder: Path, harm: Callable[[Path], None]
) -> None:
    DeltaTable(folder).create_checkpoint()
    checkpoint = _log(folder, 3).with_suffix(".checkpoint.parquet")
    harm(checkpoint)
    with pytest.raises(LakeError, match=rf"{checkpoint}: .*Move this file and _last_checkpoint out"):
        lake.scan(EMBEDDINGS)
    for file in (checkpoint, folder / "_delta_log/_last_checkpoint"):
        file.unlink(missing_ok=True)
    assert lake.scan(EMBEDDINGS).collect().height == 120


def test_an_empty_log_file_above_the_version_is_named(lake: Lake, folder: Path) -> None:
    _empty(_log(folder, 4))
    with pytest.raises(LakeError, match=rf"{_log(folder, 4)} is empty"):
        lake.scan(EMBEDDINGS)


@pytest.mark.parametrize(
    ("harm", "says"), [(_cut, "bytes instead of"), (_empty, "bytes instead of"), (Path.unlink, "is missing")]
)
def test_a_data_file_that_is_cut_off_or_gone_is_named_before_anything_is_read(
    lake: Lake, folder: Path, harm: Callable[[Path], None], says: str
) -> None:
    file = _data(folder)
    harm(file)
    with pytest.raises(LakeError, match=rf"{file}.* {says}.*restore\(version\)"):
        lake.scan(EMBEDDINGS, encoder="e")


def test_a_damaged_file_of_one_partition_does_not_close_the_others(lake: Lake, folder: Path) -> None:
    lake.append(EMBEDDINGS, _rows(["t"]).with_columns(encoder=pl.lit("other@1b/2")))
    _cut(sorted((folder / "encoder=e").glob("*.parquet"))[0])
    assert lake.scan(EMBEDDINGS, encoder="other@1b/2").collect().height == 1


@pytest.mark.parametrize("at", [4, 30, -8, -4])
def test_flipped_bytes_name_their_file(lake: Lake, folder: Path, at: int) -> None:
    content = bytearray(_data(folder).read_bytes())
    for n in range(3):
        content[at + n if at > 0 else at - n] ^= 0xFF
    _data(folder).write_bytes(bytes(content))
    with pytest.raises(LakeError, match=rf"{_data(folder)}: .*Restore the file"), lake.named_damage():
        lake.scan(EMBEDDINGS).collect()


def test_an_error_that_no_damaged_file_explains_is_left_as_it_is(lake: Lake, folder: Path) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError), lake.named_damage():
        lake.scan(EMBEDDINGS).select("nothing").collect()


@pytest.mark.parametrize("name", ["my data", "dät", "a#b", "50%"])
def test_a_folder_whose_files_would_not_be_found_again_is_refused(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name)
    for use in (lambda: lake.scan(EMBEDDINGS), lambda: lake.append(EMBEDDINGS, _rows(["t"]))):
        with pytest.raises(LakeError, match=r"may not contain .*: choose a folder of plain letters"):
            use()
    assert not (tmp_path / name).exists()
