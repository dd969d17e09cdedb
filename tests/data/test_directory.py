from pathlib import Path

import pytest

from espnet_ext.data.check import validate
from espnet_ext.data.directory import kind_of
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.data.operations import combine, copy, split_directory, subset
from espnet_ext.errors import InputError

TABLES = {"wav.scp", "utt2spk", "spk2utt", "text", "utt2accent", "utt2whatever", "spk2gender"}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def keys(directory: Path, name: str = "utt2spk") -> list[str]:
    return list(read_table(directory / name))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("utt2attack", "utterance"),
        ("text.lower", "utterance"),
        ("noise1.scp", "recording"),
        ("reco2dur", "recording"),
        ("spk1.scp", "recording"),
        ("spk2.scp", "recording"),
        ("spk2age", "speaker"),
        ("feats_type", None),
    ],
)
def test_the_name_tells_the_keys(name, kind):
    assert kind_of(name) == kind


def test_a_copy_has_every_file(corpus, tmp_path):
    copy(corpus, tmp_path / "new")
    assert names(tmp_path / "new") == TABLES | {"README"}
    for name in names(corpus):
        assert (tmp_path / "new" / name).read_bytes() == (corpus / name).read_bytes()


def test_a_copy_renames_keys_everywhere(corpus, tmp_path):
    new = tmp_path / "new"
    copy(corpus, new, utt_prefix="p-", utt_suffix="-noise", spk_prefix="p-")
    validate(new)
    assert keys(new, "utt2whatever")[0] == "p-a-1-noise"
    assert read_table(new / "utt2spk")["p-a-1-noise"] == "p-a"
    assert keys(new, "spk2gender") == ["p-a", "p-b", "p-c"]


def test_recordings_keep_their_names(segmented, tmp_path):
    copy(segmented, tmp_path / "new", utt_prefix="p-")
    validate(tmp_path / "new")
    assert keys(tmp_path / "new", "wav.scp") == ["rec"]


def test_a_subset_has_every_file_and_only_its_speakers(corpus, tmp_path, caplog):
    with pytest.raises(InputError, match=r"lacks 1 of the 3 .*\(unknown\).*--allow_loss true"):
        subset(corpus, tmp_path / "new", ["c-1", "a-2", "unknown"])
    assert not (tmp_path / "new").exists()
    subset(corpus, tmp_path / "new", ["c-1", "a-2", "unknown"], allow_loss=True)
    validate(tmp_path / "new")
    assert names(tmp_path / "new") == TABLES | {"README"}
    assert keys(tmp_path / "new") == ["a-2", "c-1"]
    assert keys(tmp_path / "new", "spk2gender") == ["a", "c"]
    assert "lacks 1 of the 3 utterances listed (unknown)" in caplog.text


def test_a_subset_of_nothing_is_refused(corpus, tmp_path):
    with pytest.raises(InputError, match="none of the 1 utterances"):
        subset(corpus, tmp_path / "new", ["unknown"])
    assert not (tmp_path / "new").exists()


def test_an_old_table_does_not_survive_in_the_destination(corpus, segmented, tmp_path):
    copy(segmented, tmp_path / "new")
    (segmented / "segments").unlink()
    write_table(segmented / "wav.scp", dict.fromkeys(keys(corpus), "x.wav"))
    copy(segmented, tmp_path / "new")
    assert not (tmp_path / "new" / "segments").exists()


def test_only_data_directories_are_overwritten(corpus, tmp_path):
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a data directory"):
        copy(corpus, precious)
    assert names(precious) == {"thesis.tex"}
    with pytest.raises(InputError, match=r"thesis\.tex: is a file"):
        copy(corpus, precious / "thesis.tex" / "train")
    with pytest.raises(InputError, match="same directory"):
        copy(corpus, corpus.parent / "train")
    with pytest.raises(InputError, match="is a file"):
        copy(corpus, precious / "thesis.tex")


@pytest.mark.parametrize("prefix", ["set/", "my "])
def test_copies_get_no_ids_that_later_stages_refuse(corpus, tmp_path, prefix):
    with pytest.raises(InputError, match=f"{prefix}a-1' has a '?(/|blank)"):
        copy(corpus, tmp_path / "new", utt_prefix=prefix)
    assert not (tmp_path / "new").exists()


def test_bad_input_leaves_the_destination_alone(corpus, tmp_path):
    copy(corpus, tmp_path / "new")
    before = (tmp_path / "new" / "text").read_bytes()
    (corpus / "text").write_text("a-1 x  y\nb-1 x \n")
    with pytest.raises(InputError) as error:
        copy(corpus, tmp_path / "new", utt_prefix="p-")
    assert len(str(error.value).splitlines()) == 2
    assert (tmp_path / "new" / "text").read_bytes() == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_combine_joins_every_file(corpus, tmp_path):
    copy(corpus, tmp_path / "other", utt_prefix="x-")
    combine(tmp_path / "all", [corpus, tmp_path / "other"])
    validate(tmp_path / "all")
    assert names(tmp_path / "all") == TABLES | {"README"}
    assert len(keys(tmp_path / "all", "utt2whatever")) == 8
    assert keys(tmp_path / "all", "spk2gender") == ["a", "b", "c"]


def test_combine_names_what_some_sources_lack(corpus, tmp_path):
    other = tmp_path / "other"
    copy(corpus, other, utt_prefix="x-")
    for name in ("utt2accent", "text", "README"):
        (other / name).unlink()
    with pytest.raises(InputError) as error:
        combine(tmp_path / "all", [corpus, other])
    assert f"utt2accent: missing in {other}" in str(error.value)
    assert f"text: missing in {other}" in str(error.value)
    assert not (tmp_path / "all").exists()
    (corpus / "text").unlink()
    combine(tmp_path / "all", [corpus, other], fill="unknown")
    assert read_table(tmp_path / "all" / "utt2accent")["x-a-1"] == "unknown"
    assert "README" not in names(tmp_path / "all")


def test_combine_leaves_out_computed_files_that_some_lack(corpus, tmp_path):
    copy(corpus, tmp_path / "other", utt_prefix="x-")
    write_table(corpus / "utt2num_samples", dict.fromkeys(keys(corpus), "8000"))
    combine(tmp_path / "all", [corpus, tmp_path / "other"])
    assert "utt2num_samples" not in names(tmp_path / "all")


def test_combine_refuses_contradictions(corpus, tmp_path):
    copy(corpus, tmp_path / "other", utt_prefix="x-")
    write_table(tmp_path / "other" / "spk2gender", {"a": "m", "b": "m", "c": "f"})
    with pytest.raises(InputError, match="spk2gender: 1 keys stand in a source before"):
        combine(tmp_path / "all", [corpus, tmp_path / "other"])
    copy(corpus, tmp_path / "same")
    with pytest.raises(InputError, match="utt2spk: 4 keys stand in a source before"):
        combine(tmp_path / "all", [corpus, tmp_path / "same"])


def test_parts_of_one_recording_can_be_combined(segmented, tmp_path):
    subset(segmented, tmp_path / "1", ["a-1", "b-1"])
    subset(segmented, tmp_path / "2", ["a-2", "c-1"])
    combine(tmp_path / "all", [tmp_path / "1", tmp_path / "2"])
    for name in TABLES | {"segments"}:
        assert (tmp_path / "all" / name).read_bytes() == (segmented / name).read_bytes()


def test_split_keeps_speakers_together(corpus):
    parts = split_directory(corpus, 2)
    assert parts == [corpus / "split2" / "1", corpus / "split2" / "2"]
    assert [keys(part) for part in parts] == [["a-1", "a-2"], ["b-1", "c-1"]]
    for part in parts:
        validate(part)
    with pytest.raises(InputError, match=r"4 parts, it has 3 speakers; try --per-utt"):
        split_directory(corpus, 4)


def test_split_by_utterance_can_be_repeated(corpus):
    for _ in range(2):
        parts = split_directory(corpus, 4, per_utt=True)
    assert parts[0] == corpus / "split4utt" / "1"
    assert [keys(part) for part in parts] == [["a-1"], ["a-2"], ["b-1"], ["c-1"]]


def test_a_large_speaker_does_not_starve_the_last_part(corpus, tmp_path):
    new = tmp_path / "new"
    utt2spk = {f"u{i:02}": "a" if i < 9 else f"s{i}" for i in range(12)}
    write_table(new / "utt2spk", utt2spk)
    assert [len(keys(part)) for part in split_directory(new, 4)] == [9, 1, 1, 1]
