"""The double's HTTP interface."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from openthoughts_dagster_tests.hub_double.repositories import Commit, Repository, entry_of, in_lfs
from openthoughts_dagster_tests.loopback import QuietHandler, serving

TOKEN = "hf_" + "TokenOfThePersonWhoPushesXyZabCdEf"


class HubDouble(ThreadingHTTPServer):
    """A hub with repositories by name; `requests` and `uploads` say what the client did."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.uploads: list[str] = []
        self.broken = 0
        self.remaining: int | None = None
        self.lock = Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def break_uploads(self, count: int) -> None:
        """Let the next `count` uploads end in the middle."""
        self.broken = count

    def break_uploads_after(self, count: int) -> None:
        """Take `count` more objects; every later upload ends in the middle, until `mend`."""
        self.remaining = count

    def mend(self) -> None:
        """Let no upload end early any more."""
        self.broken, self.remaining = 0, None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


@contextmanager
def running_hub() -> Iterator[HubDouble]:
    """A hub that runs until the block ends."""
    with serving(HubDouble()) as hub:
        yield hub


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: HubDouble

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.server.lock:
            self.server.requests.append((f"{self.command} {path}", dict(self.headers)))
            parts = path.strip("/").split("/")
            if self.command == "PUT":
                return self._take_object("/".join(parts[1:3]), parts[3])
            body = self.read() or self._chunks()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._refuse(
                    401, "RepoNotFound" if self.command == "GET" else "", "Invalid username or password."
                )
            if parts == ["api", "repos", "create"]:
                return self._create(json.loads(body))
            if parts == ["api", "validate-yaml"]:
                return self._validate(json.loads(body)["content"])
            if parts[:2] == ["api", "datasets"]:
                return self._of_repository("/".join(parts[2:4]), parts[4:], body)
            if parts[0] == "lfs":
                return self._verify("/".join(parts[1:3]), json.loads(body))
            if parts[0] == "datasets" and parts[2].endswith(".git"):
                return self._batch(f"{parts[1]}/{parts[2].removesuffix('.git')}", json.loads(body))
            if parts[0] == "datasets" and parts[3] == "resolve":
                return self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        return self._refuse(404, "", f"the double has no {path}")

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.server.repositories:
            return self._refuse(409, "", "You already created this dataset repo")
        private = wanted.get("visibility") == "private" or wanted.get("private", False)
        self.server.repositories[name] = Repository(name, private)
        return self.send_json(200, {"url": f"{self.server.address}/datasets/{name}", "name": name, "id": name})

    def _validate(self, text: str) -> None:
        try:
            head = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else {}
            assert isinstance(head, dict)
        except (yaml.YAMLError, AssertionError, IndexError) as error:
            return self.send_json(400, {"errors": [{"message": str(error)}], "warnings": []})
        return self.send_json(200, {"errors": [], "warnings": []})

    def _of_repository(self, name: str, rest: list[str], body: bytes) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound", "Repository not found")
        what, revision = (rest[0] if rest else "info"), rest[1] if len(rest) > 1 else "main"
        commit = repository.at(revision)
        if commit is None and what != "refs":
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if what in ("info", "revision"):
            assert commit is not None
            return self.send_json(
                200, {"id": name, "sha": commit.oid, "private": repository.private, "siblings": [], "tags": []}
            )
        if what == "tree":
            assert commit is not None
            return self.send_json(200, [entry_of(path, content) for path, content in sorted(commit.files.items())])
        if what == "refs":
            return self._refs(repository)
        if what == "preupload":
            assert commit is not None
            return self._preupload(commit, json.loads(body)["files"])
        if what == "commit":
            return self._commit(repository, [json.loads(line) for line in body.splitlines() if line.strip()])
        if what == "tag":
            assert commit is not None
            return self._tag(repository, commit, json.loads(body)["tag"])
        return self._refuse(404, "", f"the double has no {what}")

    def _refs(self, repository: Repository) -> None:
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": oid} for n, oid in repository.tags.items()]
        main = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head.oid}]
        self.send_json(200, {"branches": main, "converts": [], "tags": tags})

    def _preupload(self, commit: Commit, files: list[dict[str, Any]]) -> None:
        answers = []
        for file in files:
            there = commit.files.get(file["path"])
            entry = entry_of(file["path"], there) if there is not None else None
            oid = None if entry is None else entry.get("lfs", entry)["oid"]
            mode = "lfs" if in_lfs(file["path"], file["size"]) else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.send_json(200, {"files": answers})

    def _batch(self, name: str, wanted: dict[str, Any]) -> None:
        objects, base = [], f"{self.server.address}/lfs/{name}"
        for one in wanted["objects"]:
            there = one["oid"] in self.server.repositories[name].objects
            actions = {"upload": {"href": f"{base}/{one['oid']}"}, "verify": {"href": f"{base}/verify"}}
            objects.append(one if there else one | {"actions": actions})
        self.send_json(200, {"transfer": "basic", "objects": objects})

    def _take_object(self, name: str, oid: str) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if self.server.broken > 0 or self.server.remaining == 0:
            self.server.broken = max(0, self.server.broken - 1)
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return None
        content = self.rfile.read(size) if size else self._chunks()
        if hashlib.sha256(content).hexdigest() != oid:
            return self._refuse(400, "", "the bytes do not have this hash")
        self.server.repositories[name].objects[oid] = content
        self.server.uploads.append(oid)
        if self.server.remaining is not None:
            self.server.remaining -= 1
        return self.send(200)

    def _verify(self, name: str, wanted: dict[str, Any]) -> None:
        there = self.server.repositories[name].objects.get(wanted["oid"])
        good = there is not None and len(there) == wanted["size"]
        return self.send_json(200, {}) if good else self._refuse(404, "", "the object is not there")

    def _commit(self, repository: Repository, operations: list[dict[str, Any]]) -> None:
        parent = operations[0]["value"].get("parentCommit")
        if parent is not None and parent != repository.head.oid:
            return self._refuse(412, "", "A commit has happened since. Please refresh and try again.")
        try:
            made = repository.apply(operations)
        except KeyError as error:
            return self._refuse(400, "", f"this file does not exist: {error}")
        address = f"{self.server.address}/datasets/{repository.name}/commit/{made.oid}"
        return self.send_json(200, {"success": True, "commitOid": made.oid, "commitUrl": address})

    def _tag(self, repository: Repository, commit: Commit, tag: str) -> None:
        if tag in repository.tags:
            return self._refuse(409, "", "Tag reference exists already")
        repository.tags[tag] = commit.oid
        return self.send_json(200, {})

    def _file(self, name: str, revision: str, path: str) -> None:
        repository = self.server.repositories.get(name)
        commit = repository.at(revision) if repository else None
        if commit is None or path not in commit.files:
            return self._refuse(404, "EntryNotFound" if commit else "RepoNotFound", "Entry not found")
        tag = entry_of(path, commit.files[path])["oid"]
        return self.send(200, commit.files[path], ETag=f'"{tag}"', X_Repo_Commit=commit.oid)

    def _chunks(self) -> bytes:
        """Read a body that is sent in chunks."""
        content = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return content

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.send_json(status, {"error": message}, X_Error_Message=message, **({"X_Error_Code": code} if code else {}))
