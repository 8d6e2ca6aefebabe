"""The manifest of a folder in a store. It is written last, so a folder with a manifest is complete."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from openthoughts_dagster.lake import file_digest, files_hash

NAME = "manifest.json"
_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and 128-bit hash of one file."""

    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """The files of a folder, by their path relative to the folder."""

    files: Mapping[str, FileEntry]

    @property
    def content(self) -> str:
        """The hash of the names and contents of all files."""
        return self.revision(())

    @property
    def size(self) -> int:
        """The total size of the files in bytes."""
        return sum(entry.size for entry in self.files.values())

    def revision(self, ignore: tuple[str, ...]) -> str:
        """Compute the hash that `folder_hash` gives for a local copy of the folder, without such a copy."""
        return files_hash({name: bytes.fromhex(entry.digest) for name, entry in self.files.items()}, ignore)

    def select(self, names: list[str]) -> "Manifest":
        """Return a manifest of only these files."""
        return Manifest({name: self.files[name] for name in names})

    def to_json(self) -> bytes:
        """Encode the manifest as it is stored."""
        files = {name: [entry.size, entry.digest] for name, entry in self.files.items()}
        return json.dumps({"version": _VERSION, "content": self.content, "files": files}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Decode a stored manifest.

        Raises:
            ValueError: The data is not a manifest, its hash is wrong, or it names a file outside the folder.
        """
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise ValueError(f"no manifest of version {_VERSION}")
        manifest = cls({name: FileEntry(int(size), str(digest)) for name, (size, digest) in document["files"].items()})
        outside = [name for name in manifest.files if not _is_inside_folder(name)]
        if outside:
            raise ValueError(f"names a file outside of the folder: {outside[0]!r}")
        if document["content"] != manifest.content:
            raise ValueError("its hash is not that of its files")
        return manifest

    @classmethod
    def of(cls, folder: Path) -> "Manifest":
        """Make the manifest of a local folder. Every file is read once."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls(
            {p.relative_to(folder).as_posix(): FileEntry(p.stat().st_size, file_digest(p).hex()) for p in paths},
        )


def _is_inside_folder(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
