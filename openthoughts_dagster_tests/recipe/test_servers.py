"""Addresses and parameters of servers are checked with the recipe, before anybody is asked."""

from typing import Any

import pytest
from pydantic import ValidationError

from openthoughts_dagster.recipe import ModelReference


def _reference(**settings: Any) -> ModelReference:
    return ModelReference(name="a", model="m", engine="openai", **settings)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "https://api.example.com", "http://[::1]:8000/v1/"])
def test_an_address_of_a_server_is_taken(url: str) -> None:
    assert _reference(base_url=url).base_url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:8000/v1", "must begin with http"),
        ("api.example.com/v1", "must begin with http"),
        ("ftp://host/v1", "must begin with http"),
        ("http://host:99999/v1", "a port up to 65535"),
        ("http://host:port/v1", "a port up to 65535"),
        ("http:///v1", "must name a host"),
        ("http://ho st/v1", "must name a host"),
        ("https://host/v1?api-version=2", "without \\? or #"),
        ("https://host/v1#x", "without \\? or #"),
        ("https://me:secret@host/v1", "must hold no password"),
    ],
)
def test_an_address_that_cannot_work_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        _reference(base_url=url)


def test_parameters_that_the_platform_decides_are_refused() -> None:
    with pytest.raises(ValidationError, match="must leave 'messages' alone"):
        _reference(parameters={"omit": ["messages"]})
    with pytest.raises(ValidationError, match="is for engine openai"):
        ModelReference(name="a", model="m", engine="vllm", parameters={"omit": ["seed"]})


def test_models_with_parameters_are_keys_of_caches() -> None:
    references = [_reference(parameters={"extra": {"effort": effort}}) for effort in ("high", "high", "low")]
    assert len({*references}) == 2
