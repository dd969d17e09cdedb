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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cuda",
        choices=["cuda", "cpu"],
        help="where tests marked gpu compute; cpu tries their code without a GPU",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Files that run recipes first: at the end they would leave all cores but one idle.
    long = {item.path for item in items if item.get_closest_marker("recipe")}
    items.sort(key=lambda item: item.path not in long)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked or config.getoption("--device") == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a GPU, and PyTorch sees none"))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Where a test marked gpu computes."""
    return request.config.getoption("--device")


@pytest.fixture(scope="session")
def ngpu(device: str) -> str:
    """The same for the commands."""
    return "1" if device == "cuda" else "0"
