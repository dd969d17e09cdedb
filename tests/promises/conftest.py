"""Victims, each made once a session."""

import functools

import pytest
from promises import adapters


@pytest.fixture(scope="session")
def victim_of(tmp_path_factory, device):
    """The victim of a name, the same at each call."""
    return functools.cache(lambda name: adapters.make(name, tmp_path_factory.mktemp(name), device))
