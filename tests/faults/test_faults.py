"""A disk that fails at one call: no traceback, no damaged file, and the next run ends well.

Here a few calls of each command; all of them by hand, see `drive.py`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WRONG = ("tracebacks", "unexplained", "unreadable", "lies", "reruns")
COMMANDS = ["format_data", "asr_attack", "cm_attack", "ssl_train"]
CALLS_TRIED = 2

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the driver prints, for all commands: the libraries are imported once."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    work = tmp_path_factory.mktemp("faults")
    shim = work / "shim.so"
    build = [compiler, "-shared", "-fPIC", "-o", shim, HERE / "shim.c", "-ldl"]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot build the library: {done.stderr[-300:]}")
    (work / "disk").mkdir()
    paths = [HERE.parents[1], HERE.parent, HERE, os.environ.get("PYTHONPATH", "")]
    commands = ["careless", *COMMANDS]
    done = subprocess.run(
        [sys.executable, HERE / "drive.py", *commands, "--work", work, "--most", str(CALLS_TRIED)],
        env={
            **os.environ,
            "LD_PRELOAD": str(shim),
            "FAULT_DIR": str(work / "disk"),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0
    return json.loads(done.stdout[done.stdout.index("{") :])  # ESPnet prints when it is imported


@pytest.mark.parametrize("command", COMMANDS)
def test_a_failing_call_leaves_whole_files_and_the_next_run_ends_well(found, command):
    assert found[command]["trials"] == 2 * CALLS_TRIED
    assert found[command]["points"] > 50
    assert {name: found[command][name] for name in WRONG} == {name: [] for name in WRONG}


def test_a_careless_command_is_noticed(found):
    assert all(found["careless"][name] for name in WRONG if name != "unexplained")
