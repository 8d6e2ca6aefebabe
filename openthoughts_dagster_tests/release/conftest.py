"""The hub of the tests of releases."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from openthoughts_dagster_tests.hub_double import TOKEN, HubDouble, running_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A hub, with a client that may leave this process, has no Xet storage and does not wait before it tries again."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=lambda: 0.0))
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("TOKEN_OF_TEST", TOKEN)
        yield hub
