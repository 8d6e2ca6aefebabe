"""One look at the recipe's sources and the landing place: what is new, complete and right is taken.

A state of a source is taken when it is complete: it has a file `_SUCCESS` beside its manifest, or nothing of it changed
between two looks. What is wrong with one source is written beside it and holds up no other.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.landing.catalog import VANISHED, Entry, new_take
from openthoughts_dagster.landing.manifest import MANIFEST, MOST_BYTES, ManifestError, read_manifest
from openthoughts_dagster.landing.versions import content_of, files_of, hub_commit, moves, signature_of
from openthoughts_dagster.landing.zone import Files, LandingError, LandingZone, signature
from openthoughts_dagster.recipe import HuggingFaceSource, Recipe, Source

MARKER = "_SUCCESS"

_TAKES, _WAITING, _BYTES, _HUB = 100, 500, 4 * 2**30, 2


@dataclass
class Seen:
    """The catalog after a look, sources that may still be uploading with their state, and what a person should know."""

    entries: dict[str, Entry]
    waiting: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _State:
    """A source as it stands there: `take` reads what identifies its content, and its manifest when it landed."""

    signature: str
    size: int
    complete: bool
    take: Callable[[], tuple[str, str]]


class Watch:
    """Looks at the sources of `recipe` and at `place`, where there is one.

    `commit` asks the hub which commit of a dataset is the newest, None where there is no hub.
    """

    def __init__(
        self, recipe: Recipe, place: LandingZone | None, commit: Callable[[HuggingFaceSource], str] | None = hub_commit
    ) -> None:
        self._recipe, self._place, self._commit = recipe, place, commit
        self._own = {source.name: source for source in recipe.sources}

    def look(
        self, before: Mapping[str, Entry], waiting: Mapping[str, str], number: int, made: Collection[str], turn: int = 0
    ) -> Seen:
        """Look once, in bounded work. New takes are counted from above `number` and above those of `before`.

        A source of the recipe that is seen for the first time is no news when it is in `made`: its data is there.
        `turn` says whose turn it is to be looked up on the hub.
        """
        seen = Seen(dict(before))
        number = max([number, *(entry.number for entry in before.values())])
        landed = self._scan(seen)
        states = dict(self._states(landed or {}, seen))
        self._forget(seen, landed)
        takes = read = 0
        for name, state in states.items():
            entry = seen.entries.get(name)
            if entry and entry.signature == state.signature:
                if entry.problem == VANISHED:
                    seen.entries[name] = replace(entry, problem="")
                continue
            complete = state.complete or waiting.get(name) == state.signature
            if not complete or takes == _TAKES or read > _BYTES:
                if len(seen.waiting) < _WAITING:
                    seen.waiting[name] = state.signature
                continue
            takes, read = takes + 1, read + state.size
            known = entry or Entry(name, "", "", "", "", "", 0)
            baseline = entry is None and name in self._own and name in made
            after = self._taken(known, state, number if baseline else number + 1)
            number = max(number, after.number)
            seen.entries[name] = after
        self._conflicts(seen, landed)
        self._ask_the_hub(seen, turn, number)
        return seen

    def _scan(self, seen: Seen) -> dict[str, Files] | None:
        try:
            return self._place.scan() if self._place else {}
        except LandingError as error:
            seen.notes.append(str(error))
            return None

    def _states(self, landed: Mapping[str, Files], seen: Seen) -> Iterator[tuple[str, _State]]:
        for source in self._own.values():
            try:
                files = files_of(source, self._recipe.path)
            except (LandingError, OSError) as error:
                seen.notes.append(f"{source.name}: {error}")
                continue
            yield (
                source.name,
                _State(signature_of(source, files, ""), _size(files), not files, _own_take(source, files)),
            )
        for name, found in landed.items():
            if name not in self._own:
                files = {file: stamp for file, stamp in found.items() if file != MARKER}
                yield name, _State(signature(files), _size(files), MARKER in found, self._landed_take(name, files))

    def _landed_take(self, name: str, files: Files) -> Callable[[], tuple[str, str]]:
        place = self._place
        assert place is not None

        def take() -> tuple[str, str]:
            if links := [file for file, stamp in files.items() if stamp.link]:
                raise ManifestError(f"has symbolic links ({', '.join(links[:3])}), which may lead elsewhere: copy them")
            if MANIFEST not in files:
                raise ManifestError(f"has no {MANIFEST}: add one with reader, domain, path and columns")
            if "source.yml" in files:
                raise ManifestError(f"has two manifests, {MANIFEST} and source.yml: keep one")
            source = read_manifest(name, place.read(name, MANIFEST, MOST_BYTES + 1), f"{place.address}/{name}")
            contents = (f"{file}\0{place.content(name, file, stamp)}" for file, stamp in sorted(files.items()))
            return text_hash(*contents), source.model_dump_json()

        return take

    def _taken(self, known: Entry, state: _State, number: int) -> Entry:
        try:
            content, manifest = state.take()
        except (ManifestError, LandingError, OSError) as error:
            return replace(known, signature=state.signature, problem=f"{error}")
        same = replace(known, signature=state.signature, manifest=manifest, problem="")
        if content == known.content.partition("@")[0]:
            return same
        return replace(same, content=content, take=new_take(), number=number)

    def _forget(self, seen: Seen, landed: Mapping[str, Files] | None) -> None:
        """What is nowhere any more: landed sources are kept as vanished, others were never taken or left the recipe."""
        for name, entry in list(seen.entries.items()):
            if name in self._own or landed is None or name in landed:
                continue
            if entry.landed:
                seen.entries[name] = replace(entry, problem=VANISHED)
            else:
                del seen.entries[name]

    def _conflicts(self, seen: Seen, landed: Mapping[str, Files] | None) -> None:
        for name, entry in seen.entries.items():
            if name in self._own and landed is not None:
                problem = "the recipe has this source; the folder of its name that landed is not read: rename it"
                seen.entries[name] = replace(entry, problem=problem if name in landed else "")

    def _ask_the_hub(self, seen: Seen, turn: int, number: int) -> None:
        """Ask for the newest commit of a few sources in turn. The first answer for a source is no news."""
        sources = [source for name in sorted(seen.entries) if (source := self._hub_source(seen.entries[name]))]
        for step in range(min(_HUB, len(sources)) if self._commit else 0):
            source = sources[(turn * _HUB + step) % len(sources)]
            entry = seen.entries[source.name]
            content, _, before = entry.content.partition("@")
            try:
                now = self._commit(source) if self._commit else ""
            except Exception as error:  # the hub, the network and its client have no common class
                seen.notes.append(f"{source.name}: the hub was not reached: {type(error).__name__}: {str(error)[:200]}")
                continue
            if now and now != before:
                known = replace(entry, content=f"{content}@{now}")
                number += bool(before)
                seen.entries[source.name] = replace(known, take=new_take(), number=number) if before else known

    def _hub_source(self, entry: Entry) -> HuggingFaceSource | None:
        source = self._own.get(entry.source) or (entry.as_source() if entry.landed else None)
        return source if isinstance(source, HuggingFaceSource) and moves(source) else None


def _own_take(source: Source, files: Files) -> Callable[[], tuple[str, str]]:
    return lambda: (content_of(source, files, ""), "")


def _size(files: Files) -> int:
    return sum(stamp.size for stamp in files.values())
