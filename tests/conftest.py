"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# Before PyTorch is imported: tiny models gain nothing from threads, and threads that spin take the
# cores from whatever else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real speech, outside of the repository; see the README for where it is looked for."""
    path = Path(os.environ.get("ESPNET_EXT_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real speech at {path}; set ESPNET_EXT_DATA to have this tested")
    return path
