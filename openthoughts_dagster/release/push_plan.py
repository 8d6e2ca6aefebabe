"""The folder of a version, and what pushing it would change on the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ReleaseFolder:
    """The folder of one version, and what it is a version of.

    Attributes:
        path: The folder, with README.md and release.json.
        name: Name of the release.
        teacher: The teacher whose answers it has.
        version: The version.
        newer: A folder with files that take the place of the version's, such as a card with later scores.
    """

    path: Path
    name: str
    teacher: str
    version: str
    newer: Path | None = None

    @property
    def tag(self) -> str:
        """The tag of the version on the hub."""
        return f"v{self.version}"

    def files(self) -> dict[str, Path]:
        """List its files by their names on the hub."""
        roots = [self.path] if self.newer is None else [self.path, self.newer]
        found = ((path, root) for root in roots for path in root.rglob("*") if path.is_file())
        newest = {path.relative_to(root).as_posix(): path for path, root in found}
        return dict(sorted(newest.items()))


@dataclass(frozen=True)
class PushPlan:
    """What a push would change on the hub.

    Attributes:
        repository: Owner and name.
        address: The repository's page.
        head: The present commit; None for a repository that does not exist or is empty.
        exists: Whether the repository exists.
        private: Whether it is private, or will be.
        added, changed, removed: The files by name with their sizes in bytes.
        unchanged: The number of files that are there already.
        kept: Files that are no part of a release, such as a LICENSE that a person put there. They stay.
        tag: The tag of the version.
        tagged: Whether the tag is there already.
    """

    repository: str
    address: str
    head: str | None
    exists: bool
    private: bool
    tag: str
    tagged: bool
    unchanged: int = 0
    added: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    kept: Sequence[str] = ()

    @property
    def is_done(self) -> bool:
        """Whether the hub has exactly this version, with its tag."""
        return self.exists and self.tagged and not (self.added or self.changed or self.removed)

    def describe(self) -> list[str]:
        """Say in lines what a push would do."""
        kind = "private" if self.private else "PUBLIC"
        lines = [f"{self.address}: {'exists' if self.exists else 'would be created'}, {kind}"]
        for word, files in (("add", self.added), ("change", self.changed), ("remove", self.removed)):
            lines += [f"  {word:<7} {name} ({_format_size(size)})" for name, size in files.items()]
        lines += [f"  keep    {name} (no part of a release)" for name in self.kept]
        size = sum(self.added.values()) + sum(self.changed.values())
        lines.append(
            f"  {len(self.added):,} files to add, {len(self.changed):,} to change, {len(self.removed):,} to remove, "
            f"{self.unchanged:,} unchanged; {_format_size(size)} to upload at most"
        )
        lines.append(f"  tag {self.tag}: {'there already' if self.tagged else 'to be made'}")
        return lines


@dataclass(frozen=True)
class Pushed:
    """The commit that holds the version, its tag, and the files that the push changed."""

    commit: str
    address: str
    tag: str
    files: int
    bytes: int


def _format_size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} bytes"
