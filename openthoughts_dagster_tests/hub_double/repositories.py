"""The repositories of the double: commits of files, objects by their hash, tags."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Commit:
    """A commit with all its files by name."""

    oid: str
    parent: str | None
    message: str
    files: Mapping[str, bytes]


@dataclass
class Repository:
    """A data set repository."""

    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("initial commit", {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"})

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def commit(self, message: str, files: Mapping[str, bytes]) -> Commit:
        """Add a commit with these files and no others."""
        parent = self.commits[-1].oid if self.commits else None
        seen = repr((parent, message, sorted((name, _git_hash(content)) for name, content in files.items())))
        made = Commit(hashlib.sha1(seen.encode()).hexdigest(), parent, message, dict(files))
        self.commits.append(made)
        return made

    def at(self, revision: str) -> Commit | None:
        """Return the commit of a branch, tag or hash."""
        oid = self.head.oid if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit.oid == oid), None)

    def apply(self, operations: list[dict[str, Any]]) -> Commit:
        """Make a commit of the client's operations. Raises KeyError for an LFS object that was not uploaded."""
        import base64

        header, files = {}, dict(self.head.files)
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "header":
                header = value
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise ValueError(key)
        return self.commit(header["summary"], files)


def entry_of(name: str, content: bytes) -> dict[str, Any]:
    """Describe a file as the hub's tree does."""
    entry = {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
    if in_lfs(name, len(content)):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def in_lfs(name: str, size: int) -> bool:
    """Return whether the hub stores a file in LFS."""
    return name.endswith(".parquet") or size > 10_000_000


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
