"""Finding new versions of the recipe's sources and of the sources in the landing zone.

A version of a source is accepted when it is complete and its manifest is valid. It is complete when it has a file
`_SUCCESS`, or when nothing of it changed between two looks. A problem with one source is noted in its entry and delays
no other source.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.landing.content_hashes import ContentHashes, ContentNotKnown
from openthoughts_dagster.landing.escaping import escape_control
from openthoughts_dagster.landing.landed_files import MANIFEST, Files, LandedFolder, LandingError, signature
from openthoughts_dagster.landing.manifest import MOST_BYTES, ManifestError, read_manifest
from openthoughts_dagster.landing.versions import content_of, files_of, hub_commit, moves, signature_of
from openthoughts_dagster.landing.watched_sources import VANISHED, WatchedSource, new_version_id
from openthoughts_dagster.landing.zone import LandingZone
from openthoughts_dagster.recipe import HuggingFaceSource, Recipe, Source

MARKER = "_SUCCESS"
_LONGEST_PROBLEM = 2000  # characters
_NAME_TAKEN = "the recipe has this source; the folder of its name that landed is not read: rename it"

# The most work of one look: versions accepted, waiting sources remembered, datasets asked for on the hub.
_ACCEPTED_AT_ONCE, _WAITING, _HUB = 100, 500, 2
_CONFINED = '"confined_to":"'  # manifests that an older version accepted lack this setting and are read once more


@dataclass
class Seen:
    """The result of one look.

    Attributes:
        sources: The watched sources by name.
        waiting: The signature of each source that is not complete yet, by name.
        notes: Problems that a person should know of, such as a hub that does not answer.
    """

    sources: dict[str, WatchedSource]
    waiting: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _State:
    """The present state of a source.

    `identify` reads its files and returns what identifies their content, and the manifest of a landed source as JSON.
    """

    signature: str
    size: int
    complete: bool
    identify: Callable[[], tuple[str, str]]


class Watch:
    """Finds new versions of the sources of a recipe and of the sources in a landing zone.

    Args:
        recipe: The recipe.
        zone: The landing zone; None when the deployment has none.
        commit: Returns the commits that a source would be read at now, from its lock file or from the hub; None when
            they are not looked up.
        hashes: Hashes files for a bounded time at each look. A source whose files are not all read is accepted at a
            later look.
    """

    def __init__(
        self,
        recipe: Recipe,
        zone: LandingZone | None,
        commit: Callable[[HuggingFaceSource], str] | None = hub_commit,
        hashes: ContentHashes | None = None,
    ) -> None:
        self._recipe, self._zone, self._commit = recipe, zone, commit
        self._hashes = hashes or ContentHashes()
        self._own = {source.name: source for source in recipe.sources}
        self._domains = {*recipe.domains, *(source.domain for source in recipe.sources)}

    def look(
        self,
        before: Mapping[str, WatchedSource],
        waiting: Mapping[str, str],
        number: int,
        made: Collection[str],
        turn: int = 0,
    ) -> Seen:
        """Look once, with a bounded amount of work.

        Args:
            before: The watched sources after the previous look, by name.
            waiting: The `waiting` of the previous look.
            number: The highest version number that was delivered. New versions get numbers above it and above those of
                `before`.
            made: Sources of the recipe whose rows are in the lake. Such a source is not new when it is seen for the
                first time.
            turn: Counts the looks, and so decides which datasets are looked up on the hub.

        Returns:
            The watched sources now, those that may still be uploading, and notes.
        """
        seen = Seen(dict(before))
        number = known_before = max([number, *(entry.number for entry in before.values())])
        self._hashes.begin_look()
        landed = self._scan(seen)
        states = dict(self._states(landed or {}, seen))
        self._mark_vanished(seen, landed)
        tried = 0
        for name, state in sorted(states.items(), key=lambda item: item[1].size):  # a large source delays no other
            entry = seen.sources.get(name)
            if entry and entry.signature == state.signature and not self._accepted_before_confinement(entry):
                if entry.problem == VANISHED:  # it may have vanished before it was requested; its run has the same key
                    number += 1
                    seen.sources[name] = replace(entry, problem="", number=number)
                continue
            complete = (
                state.complete or (entry and entry.signature == state.signature) or waiting.get(name) == state.signature
            )
            if not complete or tried == _ACCEPTED_AT_ONCE or (tried and self._hashes.is_time_over()):
                if len(seen.waiting) < _WAITING:
                    seen.waiting[name] = state.signature
                continue
            tried += 1
            known = entry or WatchedSource(name, "", "", "", "", "", 0)
            baseline = entry is None and name in self._own and name in made
            try:
                after = self._accept(known, state, known_before if baseline else number + 1)
            except ContentNotKnown as why:
                seen.waiting[name] = state.signature
                read, size = self._hashes.count_bytes(name) / 2**30, state.size / 2**30
                seen.notes.append(f"{name}: {why}, {read:.1f} of {size:.1f} GiB; it is accepted at a later look")
                continue
            number = max(number, after.number)
            seen.sources[name] = after
        self._report_name_conflicts(seen, landed)
        self._check_hub_commits(seen, turn, number)
        return seen

    def _scan(self, seen: Seen) -> dict[str, LandedFolder] | None:
        try:
            return self._zone.scan() if self._zone else {}
        except LandingError as error:
            seen.notes.append(str(error))
            return None

    def _states(self, landed: Mapping[str, LandedFolder], seen: Seen) -> Iterator[tuple[str, _State]]:
        for source in self._own.values():
            try:
                files = files_of(source, self._recipe.path)
            except (LandingError, OSError) as error:
                seen.notes.append(f"{source.name}: {error}")
                continue
            yield (
                source.name,
                _State(
                    signature_of(source, files, ""), _total_size(files), not files, self._identify_own(source, files)
                ),
            )
        for name, found in landed.items():
            if name not in self._own:
                files = {file: stamp for file, stamp in found.files.items() if file != MARKER}
                state = f"{found.problem}{signature(files)}"
                complete = MARKER in found.files or bool(found.problem)
                yield (
                    name,
                    _State(state, _total_size(files), complete, self._identify_landed(name, found.problem, files)),
                )

    def _identify_landed(self, name: str, problem: str, files: Files) -> Callable[[], tuple[str, str]]:
        zone, hashes = self._zone, self._hashes
        assert zone is not None

        def identify() -> tuple[str, str]:
            if problem:
                raise ManifestError(problem)
            if links := [file for file, stamp in files.items() if stamp.link]:
                raise ManifestError(f"has symbolic links ({', '.join(links[:3])}), which may lead elsewhere: copy them")
            if MANIFEST not in files:
                raise ManifestError(f"has no {MANIFEST}: add one with reader, domain, path and columns")
            if "source.yml" in files:
                raise ManifestError(f"has two manifests, {MANIFEST} and source.yml: keep one")
            text = zone.read(name, MANIFEST, MOST_BYTES + 1)
            source = read_manifest(name, text, f"{zone.address}/{name}", self._domains)
            hashes.keep_only(name, files)
            contents = [f"{file}\0{zone.content(name, file, stamp, hashes)}" for file, stamp in sorted(files.items())]
            hashes.mark_accepted(name)
            return text_hash(*contents), source.model_dump_json()

        return identify

    def _identify_own(self, source: Source, files: Files) -> Callable[[], tuple[str, str]]:
        def identify() -> tuple[str, str]:
            self._hashes.keep_only(source.name, files)
            content = content_of(source, files, self._hashes)
            self._hashes.mark_accepted(source.name)
            return content, ""

        return identify

    def _accept(self, known: WatchedSource, state: _State, number: int) -> WatchedSource:
        try:
            content, manifest = state.identify()
        except ContentNotKnown:
            raise
        except Exception as error:  # no error of one folder may stop the others
            outside = isinstance(error, LandingError | OSError)  # of the store or the disk; looked at again
            says = str(error) if outside or isinstance(error, ManifestError) else repr(error)
            signature = "" if outside else state.signature
            return replace(known, signature=signature, problem=escape_control(says)[:_LONGEST_PROBLEM])
        same = replace(known, signature=state.signature, manifest=manifest, problem="")
        if content == known.content.partition("@")[0]:
            return same
        return replace(same, content=content, version_id=new_version_id(), number=number)

    def _accepted_before_confinement(self, entry: WatchedSource) -> bool:
        """Whether an older version of this program accepted the source, without noting the folder that confines it."""
        return entry.present and not entry.problem and entry.source not in self._own and _CONFINED not in entry.manifest

    def _mark_vanished(self, seen: Seen, landed: Mapping[str, LandedFolder] | None) -> None:
        """Mark landed sources that are gone as vanished, and drop sources that the recipe no longer has."""
        for name, entry in list(seen.sources.items()):
            if name in self._own or landed is None or name in landed:
                continue
            if entry.landed:
                seen.sources[name] = replace(entry, problem=VANISHED)
            else:
                del seen.sources[name]

    def _report_name_conflicts(self, seen: Seen, landed: Mapping[str, LandedFolder] | None) -> None:
        for name, entry in seen.sources.items():
            if name in self._own and landed is not None and (name in landed or entry.problem == _NAME_TAKEN):
                seen.sources[name] = replace(entry, problem=_NAME_TAKEN if name in landed else "")

    def _check_hub_commits(self, seen: Seen, turn: int, number: int) -> None:
        """Ask the hub for the newest commits of a few sources, in turn. The first answer for a source is no change."""
        sources = [source for name in sorted(seen.sources) if (source := self._hub_source(seen.sources[name]))]
        for step in range(min(_HUB, len(sources)) if self._commit else 0):
            source = sources[(turn * _HUB + step) % len(sources)]
            entry = seen.sources[source.name]
            content, _, before = entry.content.partition("@")
            try:
                now = self._commit(source) if self._commit else ""
            except Exception as error:  # errors of the hub, the network and the client have no common class
                seen.notes.append(f"{source.name}: the hub was not reached: {type(error).__name__}: {str(error)[:200]}")
                continue
            if now and now != before:
                known = replace(entry, content=f"{content}@{now}")
                # An older version noted only the first of several data sets, which is no news either.
                moved = bool(before) and not now.startswith(f"{before}+")
                number += moved
                seen.sources[source.name] = (
                    replace(known, version_id=new_version_id(), number=number) if moved else known
                )

    def _hub_source(self, entry: WatchedSource) -> HuggingFaceSource | None:
        source = self._own.get(entry.source) or (entry.as_source() if entry.landed else None)
        return source if isinstance(source, HuggingFaceSource) and moves(source) else None


def _total_size(files: Files) -> int:
    return sum(stamp.size for stamp in files.values())
