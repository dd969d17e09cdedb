import io
import tarfile
import zipfile

import pytest
import torch

from espnet_ext.data.archives import is_archive, unpacked
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
    assert not list(tmp_path.rglob("outside")) and not list(cache.iterdir())


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with pytest.raises(InputError, match="holds more than files:\nodd"):
            unpacked(tarred(tmp_path / "a.tar", "w", ("odd", kind, b"")))
    link = zipfile.ZipInfo("odd")
    link.external_attr = 0o120777 << 16
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
        with pytest.raises(InputError, match="more than 20 times its own size"):
            unpacked(archive)
    monkeypatch.setattr("espnet_ext.data.archives.MAX_MEMBERS", 3)
    with pytest.raises(InputError, match="more than 3;"):
        unpacked(zipped(tmp_path / "b.zip", **{str(n): "" for n in range(4)}))
    assert not list(cache.iterdir())


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
