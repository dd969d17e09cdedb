"""What commands share."""

import errno
import hashlib
import json
import os

import pytest

from espnet_ext.bin import cli
from espnet_ext.data.audio import audio_digest
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.ENOSPC, "free some space and run the same command again"),
        (errno.EIO, "check the disk .* run the same command again"),
        (errno.EROFS, "change the permissions"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_command_explains_a_disk_that_fails_whoever_wrote(code, cure, wrapped):
    def fail() -> None:
        try:
            raise OSError(code, os.strerror(code), "exp/a.png")
        except OSError as error:
            if not wrapped:
                raise
            raise RuntimeError("of a library") from error

    with pytest.raises(SystemExit, match=rf"^error: exp/a\.png: .*{os.strerror(code)}.*{cure}"):
        cli.run(fail)


def test_other_errors_keep_their_traceback():
    def fail() -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    with pytest.raises(OSError, match="busy"):
        cli.run(fail)


def test_digests_tell_files_apart(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    found = cli.digests(first=tmp_path / "a", second=tmp_path / "b")
    assert found["first"] == {
        "path": str(tmp_path / "a"),
        "sha256": hashlib.sha256(b"1").hexdigest(),
    }
    assert found["second"]["sha256"] != found["first"]["sha256"]


def test_what_is_made_from_the_same_is_not_made_again(tmp_path, capsys):
    path = tmp_path / "results.json"
    assert not cli.is_made(path, {"x": 1})
    path.write_text(json.dumps({"rows": []}))
    assert not cli.is_made(path, {"x": 1})
    path.write_text(json.dumps({"made_from": {"x": (1, 2)}}))
    assert not cli.is_made(path, {"x": 2})
    assert capsys.readouterr().out == ""
    assert cli.is_made(path, {"x": (1, 2)})
    assert "remove it to redo it" in capsys.readouterr().out
    path.write_text(json.dumps({"made_from": [{"path": "a.pth", "sha256": "0f"}]}))
    assert cli.is_made(path, [{"path": "moved.pth", "sha256": "0f"}])
    assert not cli.is_made(path, [{"path": "a.pth", "sha256": "0e"}])


def test_a_digest_of_audio_is_of_its_content_and_not_of_its_place(tmp_path):
    def table(folder, **contents):
        folder.mkdir()
        for name, content in contents.items():
            (folder / f"{name}.wav").write_bytes(content)
        write_table(folder / "wav.scp", {n: str(folder / f"{n}.wav") for n in contents})
        return audio_digest(folder / "wav.scp")

    first = table(tmp_path / "a", u1=b"one", u2=b"two")
    assert table(tmp_path / "b", u1=b"one", u2=b"two") == first
    assert table(tmp_path / "c", u1=b"one", u2=b"owt") != first
    assert table(tmp_path / "d", u1=b"two", u2=b"one") != first
    (tmp_path / "a" / "u2.wav").unlink()
    with pytest.raises(InputError, match=r"no audio file .*u2\.wav of utterance u2"):
        audio_digest(tmp_path / "a" / "wav.scp")
