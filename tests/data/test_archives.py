import bz2
import fcntl
import gzip
import io
import lzma
import os
import shutil
import socket
import tarfile
import zipfile

import pytest
import torch

from espnet_ext.data.archives import archive_folder, is_archive, unpacked
from espnet_ext.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/espnet_ext"


def zipped(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, mode, *members):
    with tarfile.open(path, mode) as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_both_kinds_are_unpacked_once_by_their_content(tmp_path, cache):
    first = zipped(tmp_path / "a.zip", **{"exp/x.txt": "one"})
    other = tarred(tmp_path / "a.tar.gz", "w:gz", ("exp/x.txt", tarfile.REGTYPE, b"two"))
    assert (unpacked(first) / "exp/x.txt").read_text() == "one"
    assert (unpacked(other) / "exp/x.txt").read_text() == "two"
    again = first.rename(tmp_path / "b.zip")
    assert unpacked(again).parent == cache
    assert len(list(cache.iterdir())) == 2
    # The same name with other content is another folder.
    assert (unpacked(zipped(first, **{"exp/x.txt": "three"})) / "exp/x.txt").read_text() == "three"


def test_weights_are_no_archive(tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.zip")
    assert not is_archive(tmp_path / "w.zip")
    assert not is_archive(tmp_path / "absent.zip")
    assert is_archive(zipped(tmp_path / "a.pth", a="x"))


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_names_that_lead_out_are_refused(tmp_path, cache, name):
    for archive in (
        zipped(tmp_path / "a.zip", **{name: "x"}),
        tarred(tmp_path / "a.tar", "w", (name, tarfile.REGTYPE, b"x")),
    ):
        with pytest.raises(InputError, match=r"outside of its folder.*\n.*outside"):
            unpacked(archive)
    assert not list(tmp_path.rglob("outside")) and not cache.exists()


def test_links_and_devices_are_refused(tmp_path):
    links = (tarfile.SYMTYPE, tarfile.LNKTYPE)
    for kind in (*links, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        with pytest.raises(InputError, match="holds more than files:\nodd"):
            unpacked(tarred(tmp_path / "a.tar", "w", ("odd", kind, b"")))
    for mode in (0o120777, 0o010666, 0o020666, 0o060666, 0o140777):
        link = zipfile.ZipInfo("odd")
        link.external_attr = mode << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(link, "/etc/passwd")
        with pytest.raises(InputError, match="holds more than files:\nodd"):
            unpacked(tmp_path / "a.zip")


def test_an_archive_that_grows_out_of_proportion_is_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("espnet_ext.data.archives.FREE_GROWTH", 1000)
    for archive in (
        zipped(tmp_path / "a.zip", zeros=b"\0" * 10**6),
        tarred(tmp_path / "a.tgz", "w:gz", ("zeros", tarfile.REGTYPE, b"\0" * 10**6)),
    ):
        with pytest.raises(InputError, match=r"20 times its own size.*--max_unpacked_gb"):
            unpacked(archive)
        with pytest.raises(InputError, match=r"more than 0\.0005 GB"):
            unpacked(archive, max_gb=0.0005)
        assert not cache.exists()
        assert (unpacked(archive, max_gb=0.001) / "zeros").stat().st_size == 10**6
        shutil.rmtree(cache)
    monkeypatch.setattr("espnet_ext.data.archives.MAX_MEMBERS", 3)
    with pytest.raises(InputError, match="more than 3;"):
        unpacked(zipped(tmp_path / "b.zip", **{str(n): "" for n in range(4)}))
    assert not cache.exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_header_that_claims_gigabytes_is_not_read(tmp_path, cache, mode):
    """tarfile reads what a header of long names claims into memory, before any file is seen."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 50 * 2**30
    raw = header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240
    path = tmp_path / "a.tar"
    path.write_bytes({"w": bytes, "w:gz": gzip.compress, "w:bz2": bz2.compress,
                      "w:xz": lzma.compress}[mode](raw))  # fmt: skip
    with pytest.raises(InputError, match=r"a\.tar: its files would take more"):
        unpacked(path)
    assert not cache.exists()


def test_sizes_that_are_lies_are_refused(tmp_path, cache):
    smaller = zipped(tmp_path / "a.zip", a=b"\0" * 10**6)
    data = bytearray(smaller.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")
    smaller.write_bytes(data)
    negative = tarfile.TarInfo("a")
    raw = bytearray(negative.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + sum(raw[156:512]) + 8 * 32)
    (tmp_path / "a.tar").write_bytes(raw + b"\0" * 1024)
    cut = tarred(tmp_path / "b.tar", "w", ("a", tarfile.REGTYPE, b"x" * 4000))
    cut.write_bytes(cut.read_bytes()[:2000])
    for path in (smaller, tmp_path / "a.tar", cut):
        with pytest.raises(InputError, match=f"{path.name}: a damaged archive"):
            unpacked(path)
        assert not cache.exists() or not list(cache.iterdir())


def test_permissions_are_not_restored(tmp_path):
    member = zipfile.ZipInfo("run")
    member.external_attr = 0o104777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "x")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("run")
        info.mode, info.size, info.uid = 0o6777, 1, 12345
        tar.addfile(info, io.BytesIO(b"x"))
    for name in ("a.zip", "a.tar"):
        found = (unpacked(tmp_path / name) / "run").stat()
        assert found.st_mode & 0o7111 == 0 and found.st_uid == os.getuid()


def test_what_a_killed_process_was_unpacking_is_removed(tmp_path, cache):
    here = f".unpacking-{socket.gethostname()}-"
    (cache / f"{here}dead/exp").mkdir(parents=True)
    (cache / f"{here}alive").mkdir()
    handle = os.open(cache / f"{here}alive", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    folder = unpacked(zipped(tmp_path / "a.zip", a="x"))
    os.close(handle)
    assert {path.name for path in cache.iterdir()} == {f"{here}alive", folder.name}


def test_the_folder_of_a_file_is_known(tmp_path, cache):
    folder = unpacked(zipped(tmp_path / "a.zip", **{"exp/x": "1"}))
    (tmp_path / "link").symlink_to(folder / "exp")
    assert archive_folder(folder / "exp/x") == archive_folder(tmp_path / "link/x") == folder
    assert archive_folder(tmp_path / "a.zip") is None
    assert archive_folder(cache) is None


def test_damaged_and_encrypted_archives_are_refused(tmp_path, cache):
    path = zipped(tmp_path / "a.zip", **{"a.txt": "x" * 1000})
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged archive"):
        unpacked(path)
    locked = bytearray(zipped(path, a="x").read_bytes())
    locked[6] |= 1  # the flag of encryption, in both headers
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(locked)
    with pytest.raises(InputError, match=r"a\.zip: a cannot be read \(.*encrypted"):
        unpacked(path)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set XDG_CACHE_HOME"):
        unpacked(zipped(tmp_path / "a.zip", a="x"))
