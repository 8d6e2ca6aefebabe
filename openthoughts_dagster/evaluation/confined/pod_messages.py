"""What goes into a pod of programs, and what comes back in its log.

Programs and their inputs go in; expected outputs never do. Each line that comes back is signed with a key that only
this pod has, so that a line which a program brings into the log is no outcome.
"""

import base64
import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from openthoughts_dagster.evaluation.confined.limits import CallTask, CheckTask, Limits, Outcome, StdinTask, Task
from openthoughts_dagster.evaluation.confined.values import dump_value, load_value

KEY_BYTES = 32
WAY = -1
"""The number of the line that says, in words, how programs are confined inside the pod."""

_PREFIX = "outcome"
_SIZE = struct.Struct("=Q")


@dataclass(frozen=True)
class PodTest:
    """One run of a program in a pod.

    Attributes:
        task: The task.
        limits: Its limits.
        characters: The most characters of its output that come back. A program that prints more is stopped as by the
            limit of output.
    """

    task: Task
    limits: Limits
    characters: int


@dataclass(frozen=True)
class Batch:
    """The work of one pod: compressed items by their number, and how they run."""

    key: bytes
    sandboxed: bool
    workers: int
    seconds: int
    items: Sequence[tuple[int, bytes]]

    def dump(self) -> bytes:
        """Return it as the content of the pod's file."""
        about: dict[str, Any] = {"sandboxed": self.sandboxed, "workers": self.workers, "seconds": self.seconds}
        about["items"] = [(number, len(packed)) for number, packed in self.items]
        head = json.dumps(about).encode()
        return b"".join([self.key, _SIZE.pack(len(head)), head, *(packed for _, packed in self.items)])

    @staticmethod
    def load(content: bytes) -> "Batch":
        """Read what `dump` wrote."""
        key, at = content[:KEY_BYTES], KEY_BYTES + _SIZE.size
        (size,) = _SIZE.unpack(content[KEY_BYTES:at])
        about = json.loads(content[at : at + size])
        at += size
        items = []
        for number, length in about["items"]:
            items.append((number, content[at : at + length]))
            at += length
        return Batch(key, about["sandboxed"], about["workers"], about["seconds"], items)


def pack_item(tests: Sequence[PodTest]) -> bytes:
    """Return the tests of an item as compressed bytes."""
    return zlib.compress(json.dumps([_dump_test(test) for test in tests]).encode())


def unpack_item(packed: bytes) -> list[PodTest]:
    """Read what `pack_item` wrote."""
    return [_load_test(each) for each in json.loads(zlib.decompress(packed))]


def sign_line(key: bytes, number: int, result: Sequence[Outcome] | str) -> str:
    """Return the line of the log for an item: its outcomes, or the reason why it could not be run."""
    content: Any = result if isinstance(result, str) else [_dump_outcome(each) for each in result]
    text = base64.b64encode(zlib.compress(json.dumps([number, content]).encode())).decode()
    return f"{_PREFIX} {_signature(key, text)} {text}"


def read_lines(key: bytes, log: str) -> Iterator[tuple[int, list[Outcome] | str]]:
    """Yield the items of a log with their outcomes, or with the reason why they could not be run.

    Lines that were not signed with the key are ignored, and so are all but the first line of an item.
    """
    seen = set()
    for line in log.splitlines():
        prefix, _, rest = line.partition(" ")
        signature, _, text = rest.partition(" ")
        if prefix != _PREFIX or not hmac.compare_digest(signature.encode(), _signature(key, text).encode()):
            continue
        number, content = json.loads(zlib.decompress(base64.b64decode(text)))
        if number not in seen:
            seen.add(number)
            yield number, content if isinstance(content, str) else [_load_outcome(each) for each in content]


def unsigned_lines(log: str) -> str:
    """Return what people may read in a log: the lines that are not outcomes."""
    return "\n".join(line for line in log.splitlines() if not line.startswith(f"{_PREFIX} "))


def _signature(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _dump_test(test: PodTest) -> dict[str, Any]:
    task = test.task
    own: dict[str, Any] = {"program": task.program, "limits": asdict(test.limits), "characters": test.characters}
    if isinstance(task, StdinTask):
        return own | {"stdin": task.stdin}
    if isinstance(task, CallTask):
        return own | {"function": task.function, "calls": dump_value(task.calls)}
    return own | {"function": task.function, "check": task.check}


def _load_test(read: dict[str, Any]) -> PodTest:
    task: Task
    if "stdin" in read:
        task = StdinTask(read["program"], read["stdin"])
    elif "calls" in read:
        task = CallTask(read["program"], read["function"], load_value(read["calls"]))
    else:
        task = CheckTask(read["program"], read["function"], read["check"])
    return PodTest(task, Limits(**read["limits"]), read["characters"])


def _dump_outcome(outcome: Outcome) -> list[Any]:
    return [outcome.status, outcome.stdout, dump_value(outcome.values), outcome.detail]


def _load_outcome(read: list[Any]) -> Outcome:
    status, stdout, values, detail = read
    return Outcome(status, stdout, load_value(values), detail)
