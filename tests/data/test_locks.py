"""One process at a time, and nothing left of those that were killed."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import wave

import pytest

from espnet_ext.data.directory import DataDirectory
from espnet_ext.data.files import ASIDE, write_text
from espnet_ext.data.format import FormatOptions, format_directory
from espnet_ext.data.locks import holder, locked
from espnet_ext.errors import InputError

HOLD = """
import sys, time
from espnet_ext.data.locks import locked
with locked(*sys.argv[1:]):
    print("has it", flush=True)
    time.sleep(60)
"""
WRITE = """
import sys, time
from espnet_ext.data.files import write_aside
with write_aside(sys.argv[1]) as aside:
    aside.write_text("half")
    print("writes", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start():
    """Start a program and wait for its first line; killed in the end."""
    processes = []

    def started(program, *arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout.readline()
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


def asides(folder):
    return [path for path in folder.iterdir() if path.name.startswith(ASIDE)]


def test_a_second_process_is_told_who_writes(tmp_path, start):
    process = start(HOLD, tmp_path / "train")
    message = rf"train: another -c, process {process.pid} on host .*, since .* writes here; wait"
    with pytest.raises(InputError, match=message), locked(tmp_path / "train"):
        pass
    with locked(tmp_path / "dev"), locked(tmp_path / "train", "shard1of2"):
        pass
    # The same place by another name.
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError), locked(tmp_path / "link/train"):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_is_free(tmp_path, start, number):
    process = start(HOLD, tmp_path / "train")
    process.send_signal(number)
    process.wait()
    assert list(tmp_path.iterdir()), "its file is still there"
    with locked(tmp_path / "train"):
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_dead_process_has_started_is_named(tmp_path, start):
    fork = HOLD.replace("time.sleep", "import os; os.write(1, b'%d\\n' % os.fork()); time.sleep")
    process = start(fork, tmp_path / "train")
    child = max(int(process.stdout.readline()), int(process.stdout.readline()))
    process.kill()
    process.wait()
    try:
        with pytest.raises(InputError, match=r"has ended, but something .*fuser"):
            locked(tmp_path / "train").__enter__()
    finally:
        os.kill(child, signal.SIGKILL)


def test_blocks_of_one_process_do_not_exclude_each_other(tmp_path, start):
    with locked(tmp_path / "new/train"):
        with locked(tmp_path / "new/train"):
            pass
        assert (tmp_path / "new/.train.lock").is_file()
    assert not (tmp_path / "new").exists(), "nothing was written"
    start(HOLD, tmp_path / "new/train")


def test_many_processes_exclude_each_other(tmp_path):
    """Each waits for the lock by trying; in the block it is alone."""
    program = """
import os, sys, time
from espnet_ext.data.locks import locked
from espnet_ext.errors import InputError
done = 0
while done < 20:
    try:
        with locked("x"):
            os.close(os.open("inside", os.O_CREAT | os.O_EXCL))
            os.unlink("inside")
            done += 1
    except InputError:
        time.sleep(0.0005)
"""
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, cwd=tmp_path) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert not list(tmp_path.iterdir())


def test_a_process_that_nobody_can_look_at_is_taken_to_run(tmp_path, monkeypatch):
    """One of another user, or of another machine whatever has that number here."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock = tmp_path / ".lock"

    def said(host):
        who = {"command": "format_data", "process": gone.pid, "host": host, "since": "today"}
        lock.write_text(json.dumps(who))
        return holder(lock)

    assert "has ended" in said(socket.gethostname())
    writes = f"another format_data, process {gone.pid} on host "
    assert said("elsewhere") == f"{writes}elsewhere, since today,"

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert said(socket.gethostname()) == f"{writes}{socket.gethostname()}, since today,"


def test_without_locks_of_the_file_system_work_goes_on(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "train"):
        assert "No locks available" in caplog.text
    left = tmp_path / f"{ASIDE}12345678.txt"
    left.touch()
    write_text(tmp_path / "a.txt", "whole")
    assert left.exists(), "it may be that of a living process"


def test_the_next_one_removes_what_killed_processes_were_writing(tmp_path, start):
    killed, alive = (start(WRITE, tmp_path / f"{name}.txt") for name in ("killed", "alive"))
    assert len(asides(tmp_path)) == 2
    killed.kill()
    killed.wait()
    write_text(tmp_path / "other.txt", "whole")
    (left,) = asides(tmp_path)
    assert left.read_text() == "half", "that of the living process"
    assert sorted(p.name for p in tmp_path.glob("*.txt") if p not in [left]) == ["other.txt"]
    alive.kill()


def test_what_another_machine_may_still_write_stays_for_a_day(tmp_path):
    """Locks of some file systems do not hold between machines."""
    for name in ("begun", "yesterday"):
        (tmp_path / f"{ASIDE}elsewhere-{name}").touch()
    os.utime(tmp_path / f"{ASIDE}elsewhere-yesterday", times=(time.time() - 2 * 86400,) * 2)
    write_text(tmp_path / "a.txt", "whole")
    assert [path.name for path in asides(tmp_path)] == [f"{ASIDE}elsewhere-begun"]


def data_directory(folder):
    """One of one utterance."""
    with wave.open(str(folder.parent / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(random.Random(0).randbytes(16000))
    wav_scp = {"a": str(folder.parent / "a.wav")}
    DataDirectory({"wav.scp": wav_scp, "utt2spk": {"a": "a"}}).write(folder)
    return folder


def test_a_data_directory_is_written_by_one_process(tmp_path, start):
    process = start(HOLD, tmp_path / "data")
    with pytest.raises(InputError, match=f"process {process.pid}"):
        data_directory(tmp_path / "data")
    source = data_directory(tmp_path / "source")
    options = FormatOptions(sample_rate=16000, resample=True)
    with pytest.raises(InputError, match=f"process {process.pid}"):
        format_directory(source, tmp_path / "data", options)
    assert not (tmp_path / "data").exists()
    process.kill()
    process.wait()
    format_directory(source, tmp_path / "data", options)
    assert (tmp_path / "data/wav.scp").is_file()


def test_tables_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".data.aside-abcdefgh").mkdir()
    (tmp_path / ".data.aside-abcdefgh/text").touch()
    (tmp_path / ".other.aside-abcdefgh").mkdir()
    data_directory(tmp_path / "data")
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [".other.aside-abcdefgh", "a.wav", "data"]


def test_the_record_is_for_people(tmp_path):
    with locked(tmp_path / "train"):
        record = json.loads((tmp_path / ".train.lock").read_text())
        assert record["process"] == os.getpid() and record["since"]
