"""What a cluster suffers at the word of a test: the tests' own nodes do it, and on a cluster of one's own kubectl."""

from typing import Any, Protocol


class Troubles(Protocol):
    """Ways to lose pods."""

    evicted: str  # how Kubernetes calls it

    def vanish(self, name: str) -> None:
        """A machine is gone, without a word."""

    def come_back(self, name: str) -> None:
        """There is a machine of that name again."""

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """A pod has to leave its node."""

    def oom_kill(self, namespace: str, pod: str) -> None:
        """The kernel kills a pod for its memory."""


class Teacher(Protocol):
    """A teacher that answers after so many `seconds`, and counts what it was `asked`, by prompt and seed."""

    seconds: float

    @property
    def asked(self) -> Any:
        """A Counter."""
