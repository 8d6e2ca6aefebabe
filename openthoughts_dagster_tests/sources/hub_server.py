"""A hub on this machine: the part of its HTTP interface that reading a dataset uses, over folders of commits."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from openthoughts_dagster_tests.loopback import QuietHandler, serving


class Hub(ThreadingHTTPServer):
    """`commits` has a folder for each commit of each dataset, `heads` the commit that main is.

    `after` has what happens when a request, such as "GET /path", has been answered.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, dict[str, Path]] = {}
        self.heads: dict[str, str] = {}
        self.after: dict[str, Callable[[], None]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def push(self, dataset: str, commit: str, folder: Path) -> None:
        """Make `folder` a commit of the dataset, and main."""
        self.commits.setdefault(dataset, {})[commit] = folder
        self.heads[dataset] = commit


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that runs until the block ends."""
    with serving(Hub()) as hub:
        yield hub


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self._route(self.read())
        self.server.after.get(f"{self.command} {self.path}", lambda: None)()

    def _route(self, body: bytes) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "datasets"] and len(parts) >= 4:
            return self._api("/".join(parts[2:4]), parts[4:], body)
        if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            return self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        return self._refuse("RepoNotFound")

    def _api(self, dataset: str, rest: list[str], body: bytes) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        commit, folder = self._commit(dataset, revision)
        if folder is None:
            return self._refuse("RevisionNotFound" if dataset in self.server.heads else "RepoNotFound")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".cache" not in path.parts]
        entries = [_entry(path, folder) for path in files]
        if rest[:1] == ["tree"]:
            below = "/".join(rest[2:])
            return self.send_json(200, [entry for entry in entries if entry["path"].startswith(below)])
        if rest[:1] == ["paths-info"]:
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else _form(body)
            folders = {parent.as_posix() for path in files for parent in path.relative_to(folder).parents}
            found = [entry for entry in entries if entry["path"] in wanted]
            found += [{"type": "directory", "oid": "0", "size": 0, "path": p} for p in wanted if p in folders]
            return self.send_json(200, found)
        siblings = [{"rfilename": entry["path"]} for entry in entries]
        return self.send_json(200, {"id": dataset, "sha": commit, "siblings": siblings, "private": False, "tags": []})

    def _file(self, dataset: str, revision: str, name: str) -> None:
        commit, folder = self._commit(dataset, revision)
        if folder is None or not (folder / name).is_file():
            return self._refuse("RevisionNotFound" if folder is None else "EntryNotFound")
        content, status, extra = (folder / name).read_bytes(), 200, dict[str, str]()
        tag = hashlib.sha1(content).hexdigest()
        if found := self.headers.get("Range", ""):
            first, _, last = found.removeprefix("bytes=").partition("-")
            end = min(int(last) if last else len(content) - 1, len(content) - 1)
            extra = {"Content-Range": f"bytes {first}-{end}/{len(content)}"}
            content, status = content[int(first) : end + 1], 206
        return self.send(status, content, ETag=f'"{tag}"', X_Repo_Commit=str(commit), Accept_Ranges="bytes", **extra)

    def _commit(self, dataset: str, revision: str) -> tuple[str | None, Path | None]:
        commit = self.server.heads.get(dataset) if revision == "main" else revision
        return commit, self.server.commits.get(dataset, {}).get(commit or "")

    def _refuse(self, code: str) -> None:
        self.send_json(404, {}, X_Error_Code=code, X_Error_Message=code)


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    content = path.read_bytes()
    name = path.relative_to(folder).as_posix()
    return {"type": "file", "oid": hashlib.sha1(content).hexdigest(), "size": len(content), "path": name}


def _form(body: bytes) -> list[str]:
    from urllib.parse import parse_qs

    return parse_qs(body.decode()).get("paths", [])
