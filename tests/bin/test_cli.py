"""What commands share."""

import hashlib
import json

from espnet_ext.bin import cli


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
