"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real speech, outside of the repository; see the README for where it is looked for."""
    path = Path(os.environ.get("ESPNET_EXT_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real speech at {path}; set ESPNET_EXT_DATA to have this tested")
    return path
