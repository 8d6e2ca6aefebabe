"""Pushes the folder of a version to a data set repository of the hub: one commit with everything, and a tag.

Files are stored on the hub by their content before the commit. A push that was interrupted goes on where it ended, and
a reader sees the version before or this one.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openthoughts_dagster.generation.servers.secrets import SecretScrubber
from openthoughts_dagster.recipe.release import Hub
from openthoughts_dagster.release.card import FUNNEL_PLOT
from openthoughts_dagster.release.columns import CONFIGS
from openthoughts_dagster.release.push_plan import Pushed, PushPlan, ReleaseFolder
from openthoughts_dagster.release.readme import README
from openthoughts_dagster.release.record import RECORD

_FOLDERS = frozenset(config.folder for config in CONFIGS.values())
_OF_THE_HUB = frozenset({".gitattributes", README})
"""Files that a repository has before anything was pushed to it."""
_BLOCK = 2**20


class HubError(RuntimeError):
    """The release cannot be pushed; the message says why, and what to do."""


class HubRepository:
    """A data set repository of the hub, with the token of a person.

    Args:
        settings: The recipe's `release.hub`.
        variables: The environment, which has the token under the name that the settings say.
        endpoint: The hub's address; the one of HF_ENDPOINT, or huggingface.co, when None.

    Raises:
        HubError: The variable with the token is not set, or the hub's client is not installed.
    """

    def __init__(self, settings: Hub, variables: Mapping[str, str] = os.environ, endpoint: str | None = None) -> None:
        try:
            from huggingface_hub import HfApi, constants
        except ImportError:
            raise HubError("pushing needs huggingface_hub: pip install 'openthoughts-dagster[sources]'") from None
        token = variables.get(settings.token_variable)
        if not token:
            raise HubError(
                f"{settings.token_variable} is not set: make a token that may write to {settings.repository} "
                "(https://huggingface.co/settings/tokens), and set the variable where the push runs"
            )
        self.settings = settings
        self.endpoint = endpoint or variables.get("HF_ENDPOINT") or constants.ENDPOINT
        self._api = HfApi(endpoint=self.endpoint, token=token)
        self._scrubber = SecretScrubber([token])

    @property
    def name(self) -> str:
        """Owner and name."""
        return self.settings.repository

    @property
    def address(self) -> str:
        """The repository's page."""
        return f"{self.endpoint}/datasets/{self.name}"

    def plan(self, folder: ReleaseFolder) -> PushPlan:
        """Compare a version with what the repository has. Changes nothing.

        Args:
            folder: The version.

        Returns:
            What a push would change.

        Raises:
            HubError: The hub cannot be reached, the token may not read, the repository has other content, or it is
                public and the recipe says private.
        """
        with self._errors():
            return self._plan(folder)

    def push(self, folder: ReleaseFolder, log: Callable[[str], None] = lambda _: None) -> Pushed:
        """Make the repository's main branch be this version, in one commit, and tag it.

        Args:
            folder: The version.
            log: Gets lines of progress.

        Returns:
            The commit and the tag.

        Raises:
            HubError: As in `plan`; also when the upload broke off or somebody else committed meanwhile. What was
                uploaded stays on the hub, and the next push goes on with the rest.
        """
        with self._errors(), _without_progress_bars():
            plan = self._plan(folder)
            for line in plan.describe():
                log(line)
            if not plan.exists:
                self._api.create_repo(self.name, repo_type="dataset", private=self.settings.private, exist_ok=True)
                plan = self._plan(folder)
            commit = self._commit(folder, plan)
            if not plan.tagged:
                self._api.create_tag(self.name, tag=folder.tag, revision=commit, repo_type="dataset", exist_ok=True)
        sizes = [*plan.added.values(), *plan.changed.values()]
        return Pushed(commit, f"{self.address}/tree/{folder.tag}", folder.tag, len(sizes), sum(sizes))

    def _plan(self, folder: ReleaseFolder) -> PushPlan:
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        local = folder.files()
        if missing := [name for name in (README, RECORD) if name not in local]:
            raise HubError(f"{folder.path} lacks {', '.join(missing)}: materialize reasoning_dataset again")
        try:
            info = self._api.repo_info(self.name, repo_type="dataset")
        except RepositoryNotFoundError:
            return PushPlan(
                self.name,
                self.address,
                head=None,
                exists=False,
                private=self.settings.private,
                tag=folder.tag,
                tagged=False,
                added={name: path.stat().st_size for name, path in local.items()},
            )
        if self.settings.private and not info.private:
            raise HubError(
                f"{self.address} is public, and the recipe says private: make it private in its settings, or set "
                "release.hub.private to false"
            )
        tree = self._api.list_repo_tree(self.name, repo_type="dataset", recursive=True)
        remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        pushed = self._read_pushed_files(folder, remote)
        tags = {ref.name for ref in self._api.list_repo_refs(self.name, repo_type="dataset").tags}
        changed = {
            name: path.stat().st_size
            for name, path in local.items()
            if name in remote and not _is_same(path, remote[name])
        }
        return PushPlan(
            self.name,
            self.address,
            head=info.sha,
            exists=True,
            private=bool(info.private),
            tag=folder.tag,
            tagged=folder.tag in tags,
            unchanged=len(local.keys() & remote.keys()) - len(changed),
            added={name: path.stat().st_size for name, path in local.items() if name not in remote},
            changed=changed,
            removed={n: e.size for n, e in remote.items() if n not in local and n in pushed},
            kept=sorted(set(remote) - {*local, *pushed, *_OF_THE_HUB}),
        )

    def _commit(self, folder: ReleaseFolder, plan: PushPlan) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        files, wanted = folder.files(), [*plan.added, *plan.changed]
        operations: list[Any] = [CommitOperationAdd(name, str(files[name])) for name in wanted]
        operations += [CommitOperationDelete(name, is_folder=False) for name in plan.removed]
        if not operations:
            assert plan.head is not None
            return plan.head
        made = self._api.create_commit(
            self.name,
            operations,
            commit_message=f"{folder.name} of {folder.teacher}, version {folder.version}",
            repo_type="dataset",
            parent_commit=plan.head,
        )
        return str(made.oid)

    def _read_pushed_files(self, folder: ReleaseFolder, remote: Mapping[str, Any]) -> set[str]:
        """Return the names of the files that the last push put there.

        Raises:
            HubError: The repository has content that no push of this release put there: without a release, any file;
                beside one, files that would be loaded as rows of it.
        """
        record, others = self._read_record() if RECORD in remote else None, set(remote) - _OF_THE_HUB
        pushed = {README, RECORD, FUNNEL_PLOT}
        if record is not None:
            there = (record.get("name"), record.get("teacher"))
            if there != (folder.name, folder.teacher):
                raise HubError(
                    f"{self.address} has the release {there[0]} of {there[1]}, not {folder.name} of {folder.teacher}: "
                    "each needs a repository of its own in release.hub.repository"
                )
            pushed |= set(record["files"])
            others = {name for name in others - pushed if name.partition("/")[0] in _FOLDERS}
        if others:
            listed = ", ".join(sorted(others)[:3]) + (" ..." if len(others) > 3 else "")
            raise HubError(
                f"{self.address} has other content ({listed}), which no push put there: remove it, or name a "
                "repository in release.hub.repository that is new or empty"
            )
        return pushed

    def _read_record(self) -> Mapping[str, Any] | None:
        """Read the record of the version that is there; None where the file is not one of ours."""
        with tempfile.TemporaryDirectory() as scratch:
            path = self._api.hf_hub_download(self.name, RECORD, repo_type="dataset", local_dir=scratch)
            try:
                record = json.loads(Path(path).read_text(encoding="utf-8"))
            except ValueError:
                return None
        is_ours = isinstance(record, dict) and isinstance(record.get("files"), dict)
        return record if is_ours else None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except HubError:
            raise
        except Exception as error:  # whatever the client raises must not show the token
            said = self._scrubber.scrub(self._explain(error))
        else:
            return
        raise HubError(said)

    def _explain(self, error: Exception) -> str:
        """Say what went wrong and what to do, from the innermost error of the client."""
        import httpx
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        chain = list(_causes(error))
        if any(isinstance(each, OfflineModeIsEnabled) for each in chain):
            return f"{self.address} cannot be reached because HF_HUB_OFFLINE is set: unset it where the push runs"
        answered = next((each for each in chain if isinstance(each, HfHubHTTPError)), None)
        if answered is not None:
            status = answered.response.status_code
            if status in (401, 403):
                return (
                    f"{self.address}: the token of {self.settings.token_variable} is refused ({status}): it needs the "
                    "right to write to this repository"
                )
            if status in (409, 412):
                return f"{self.address}: somebody else committed meanwhile ({status}): look at it, and push again"
            what = str(answered).splitlines()[0]
            return f"{self.address} answered {status}: {what}. What was uploaded stays there: push again"
        broken = next((each for each in chain if isinstance(each, httpx.TransportError)), None)
        if broken is not None:
            return (
                f"{self.endpoint} cannot be reached, or broke off ({type(broken).__name__}: {broken}). What was "
                "uploaded stays there: push again when it is back"
            )
        return f"{self.address}: {what}"


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Switch the client's progress bars off, which would stand between the lines of a run's log."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_off = are_progress_bars_disabled()
    if not were_off:
        disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_same(path: Path, remote: Any) -> bool:
    """Return whether a file has the content that the repository has: by SHA-256 in LFS, else by git's hash."""
    size = path.stat().st_size
    if remote.size != size:
        return False
    digest = hashlib.sha256() if remote.lfs else hashlib.sha1(f"blob {size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return bool(digest.hexdigest() == (remote.lfs.sha256 if remote.lfs else remote.blob_id))
