"""Local copies of the hub's datasets, with the layout of the hub's repository, and the commit of each copy."""

import re
from dataclasses import dataclass
from pathlib import Path

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.sources.contract import SourceError

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Copy:
    """Where a dataset is read from.

    Attributes:
        address: The id of the dataset on the hub, or a folder.
        commit: The commit, when it is known.
        version: Identifies the content: two copies with equal versions have equal rows.
        is_folder: Whether the address is a folder.
    """

    address: str
    commit: str | None
    version: str
    is_folder: bool = False


def local_copy(folder: Path, dataset: str, revision: str | None, where: str) -> Copy:
    """Describe the copy in a folder.

    Raises:
        SourceError: The copy has files of several commits, or the recipe pins a commit and the copy is not known to be
            of this commit.
    """
    commits = _commits(folder)
    remedy = (
        f"hf download --repo-type dataset {dataset} --revision {revision or 'main'} --local-dir {folder} gets one "
        "whole revision and notes which"
    )
    if len(commits) > 1:
        raise SourceError(f"{where}: {folder} has files of {len(commits)} commits, {', '.join(commits)}; {remedy}")
    commit = commits[0] if commits else None
    if revision is not None and _COMMIT.fullmatch(revision) and commit != revision:
        found = f"is of commit {commit}" if commit else "does not say of which commit it is"
        raise SourceError(
            f"{where}: the recipe or its lock file pins revision {revision}, and the copy at {folder} {found}. "
            f"{remedy}; or pin the copy's own commit, or none"
        )
    return Copy(str(folder), commit, text_hash(commit or "", *_listing(folder)), is_folder=True)


def _commits(folder: Path) -> list[str]:
    """Find the commits of a copy's files, as `hf download`, a git checkout or the hub's own cache note them."""
    noted = {
        path.read_text().partition("\n")[0].strip()
        for path in (folder / ".cache" / "huggingface" / "download").rglob("*.metadata")
    }
    if noted:
        return sorted(noted)
    if folder.resolve().parent.name == "snapshots":
        return [folder.resolve().name]
    head = folder / ".git" / "HEAD"
    if not head.is_file():
        return []
    text = head.read_text().strip()
    ref = folder / ".git" / text.removeprefix("ref: ")
    text = ref.read_text().strip() if text.startswith("ref: ") and ref.is_file() else text
    return [text] if _COMMIT.fullmatch(text) else []


def _listing(folder: Path) -> list[str]:
    """List the names, sizes and times of the files, which change when somebody edits a copy."""
    paths = [
        p for p in sorted(folder.rglob("*")) if p.is_file() and p.relative_to(folder).parts[0] not in (".git", ".cache")
    ]
    return [f"{p.relative_to(folder).as_posix()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
