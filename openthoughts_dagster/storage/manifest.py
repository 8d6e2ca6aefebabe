"""What a folder in a store consists of: written last, so that a folder with a manifest is complete."""

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
    """The files of a folder by their path in it."""

    files: Mapping[str, FileEntry]

    @property
    def content(self) -> str:
        """Hash of all names and bytes."""
        return self.revision(())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    def revision(self, ignore: tuple[str, ...]) -> str:
        """What `folder_hash` says of a copy of the folder, without having one."""
        return files_hash({name: bytes.fromhex(entry.digest) for name, entry in self.files.items()}, ignore)

    def some(self, names: list[str]) -> "Manifest":
        """The part of it that has these files."""
        return Manifest({name: self.files[name] for name in names})

    def to_json(self) -> bytes:
        """As it is stored."""
        files = {name: [entry.size, entry.digest] for name, entry in self.files.items()}
        return json.dumps({"version": _VERSION, "content": self.content, "files": files}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Raises ValueError for anything but a manifest whose files all lie inside the folder."""
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise ValueError(f"no manifest of version {_VERSION}")
        manifest = cls({name: FileEntry(int(size), str(digest)) for name, (size, digest) in document["files"].items()})
        outside = [name for name in manifest.files if not _inside(name)]
        if outside:
            raise ValueError(f"names a file outside of the folder: {outside[0]!r}")
        if document["content"] != manifest.content:
            raise ValueError("its hash is not that of its files")
        return manifest

    @classmethod
    def of(cls, folder: Path) -> "Manifest":
        """The manifest of a local folder; reads all of it."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls(
            {p.relative_to(folder).as_posix(): FileEntry(p.stat().st_size, file_digest(p).hex()) for p in paths},
        )


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
