from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_ext.data.audio import decode_audio, read_audio, write_wav
from espnet_ext.data.check import validate
from espnet_ext.data.format import FormatOptions, format_directory
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.data.operations import copy
from espnet_ext.errors import InputError

KEEP_RATE = FormatOptions(sample_rate=8000)
TO_16K = FormatOptions(sample_rate=16000, resample=True, max_seconds=float("inf"))


def content(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def replace_audio(corpus: Path, utterance: str, value: str) -> None:
    write_table(corpus / "wav.scp", {**read_table(corpus / "wav.scp"), utterance: value})


def test_right_files_stay_where_they_are(corpus, tmp_path):
    dump = tmp_path / "dump" / "raw" / "train"
    assert format_directory(corpus, dump, KEEP_RATE) == {}
    validate(dump)
    assert read_table(dump / "utt2num_samples")["a-2"] == "4000"
    assert not (dump / "flac").exists()
    copied = content(corpus).keys() - {str(corpus / "wav.scp")}
    for path in map(Path, copied):
        assert (dump / path.name).read_bytes() == path.read_bytes()


def test_relative_paths_become_absolute(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace_audio(corpus, "a-1", "audio/a-1.flac")
    format_directory("data/train", "dump", KEEP_RATE)
    assert read_table("dump/wav.scp")["a-1"] == str(tmp_path / "audio" / "a-1.flac")


def test_another_rate_is_an_error_or_is_resampled(corpus, tmp_path):
    with pytest.raises(InputError) as error:
        format_directory(corpus, tmp_path / "dump", FormatOptions(sample_rate=16000))
    assert str(error.value).count("8000 Hz instead of 16000 Hz") == 4
    format_directory(corpus, tmp_path / "dump", TO_16K)
    wavs = read_table(tmp_path / "dump" / "wav.scp")
    for utterance, count in read_table(tmp_path / "dump" / "utt2num_samples").items():
        samples, _ = read_audio(wavs[utterance], sample_rate=16000)
        assert len(samples) == int(count)
    assert soundfile.info(wavs["a-1"]).subtype == "PCM_16"


def test_it_can_be_repeated_with_the_same_bytes(corpus, tmp_path):
    dump = tmp_path / "dump"
    format_directory(corpus, dump, TO_16K)
    before = content(dump)
    format_directory(corpus, dump, TO_16K)
    assert content(dump) == before
    format_directory(corpus, dump, KEEP_RATE)
    assert not (dump / "flac").exists()


def test_a_failing_run_leaves_the_earlier_result_alone(corpus, tmp_path):
    dump = tmp_path / "dump"
    format_directory(corpus, dump, TO_16K)
    before = content(tmp_path)
    write_wav(tmp_path / "bad.wav", np.ones(4000), 8000)
    broken = (tmp_path / "bad.wav").read_bytes()[:5000]
    (tmp_path / "bad.wav").write_bytes(broken)
    replace_audio(corpus, "b-1", str(tmp_path / "bad.wav"))
    with pytest.raises(InputError, match=r"1 problems with audio:\n.*'b-1': cut off"):
        format_directory(corpus, dump, TO_16K)
    after = {p: c for p, c in content(tmp_path).items() if "/.flac.partial/" not in p}
    assert {path for path in after if after[path] != before.get(path)} == {
        str(tmp_path / "bad.wav"),
        str(corpus / "wav.scp"),
    }


def test_audio_that_is_in_use_is_not_replaced(corpus, tmp_path):
    dump = tmp_path / "dump"
    format_directory(corpus, dump, TO_16K)
    copy(dump, tmp_path / "copy")
    before = content(dump)
    with pytest.raises(InputError, match="which this run would replace"):
        format_directory(tmp_path / "copy", dump, TO_16K)
    assert content(dump) == before


def test_long_runs_tell_how_far_they_are(corpus, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr("espnet_ext.data.format.PROGRESS_SECONDS", 0)
    format_directory(corpus, tmp_path / "dump", KEEP_RATE)
    assert "checked 3 of 4 recordings" in caplog.text


def test_what_a_killed_run_left_is_no_obstacle(corpus, tmp_path):
    (tmp_path / "dump" / ".flac.partial").mkdir(parents=True)
    (tmp_path / "dump" / ".flac.partial" / "old.flac").write_text("x")
    format_directory(corpus, tmp_path / "dump", TO_16K)
    assert len(list((tmp_path / "dump" / "flac").iterdir())) == 4


def test_an_interrupted_run_goes_on_with_what_is_finished(corpus, tmp_path, monkeypatch):
    dump, whole = tmp_path / "dump", tmp_path / "whole"
    format_directory(corpus, whole, TO_16K)
    read: list[str] = []

    def reading(path, *rest, **options):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(str(path))
        return decode_audio(path, *rest, **options)

    one_by_one = FormatOptions(sample_rate=16000, resample=True, threads=1)
    monkeypatch.setattr("espnet_ext.data.format.decode_audio", reading)
    with pytest.raises(KeyboardInterrupt):
        format_directory(corpus, dump, one_by_one)
    assert not (dump / "flac").exists()
    interrupted, read[:] = [*read], []
    format_directory(corpus, dump, one_by_one)
    assert len(interrupted) == len(read) == 2 and not set(interrupted) & set(read)
    flacs = [{p.name: p.read_bytes() for p in (d / "flac").iterdir()} for d in (dump, whole)]
    assert flacs[0] == flacs[1]
    assert not (dump / ".flac.partial").exists()


def test_a_file_of_an_interrupted_run_that_is_damaged_is_made_again(corpus, tmp_path, monkeypatch):
    dump, whole = tmp_path / "dump", tmp_path / "whole"
    format_directory(corpus, whole, TO_16K)

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("espnet_ext.data.directory.DataDirectory.check_loss", stop)
        format_directory(corpus, dump, TO_16K)
    damaged = dump / ".flac.partial" / "a-1.flac"
    damaged.write_bytes(damaged.read_bytes()[:-500])  # its header says nothing of it
    format_directory(corpus, dump, TO_16K)
    flacs = [{p.name: p.read_bytes() for p in (d / "flac").iterdir()} for d in (dump, whole)]
    assert flacs[0] == flacs[1]


def test_other_audio_or_options_begin_anew(corpus, tmp_path):
    dump = tmp_path / "dump"
    (tmp_path / "junk.wav").write_text("junk")
    good = read_table(corpus / "wav.scp")["b-1"]
    replace_audio(corpus, "b-1", str(tmp_path / "junk.wav"))
    with pytest.raises(InputError, match="is text"):
        format_directory(corpus, dump, TO_16K)
    finished = dump / ".flac.partial" / "a-1.flac"
    finished.write_bytes(b"of an earlier run")
    replace_audio(corpus, "b-1", good)
    format_directory(corpus, dump, TO_16K)
    assert (dump / "flac/a-1.flac").read_bytes().startswith(b"fLaC")


def test_all_bad_files_are_listed_or_left_out(corpus, tmp_path, caplog):
    (tmp_path / "junk.wav").write_text("junk")
    soundfile.write(tmp_path / "zero.wav", np.zeros(4000), 8000)
    replace_audio(corpus, "a-1", str(tmp_path / "junk.wav"))
    replace_audio(corpus, "c-1", str(tmp_path / "zero.wav"))
    with pytest.raises(InputError) as error:
        format_directory(corpus, tmp_path / "dump", KEEP_RATE)
    assert "'a-1': is text" in str(error.value)
    assert "'c-1': all 4000 samples are zero" in str(error.value)
    with pytest.raises(InputError, match=r"2 of 4 utterances \(a-1, c-1\) would be dropped"):
        format_directory(
            corpus, tmp_path / "dump", FormatOptions(sample_rate=8000, drop_bad_audio=True)
        )
    drop = FormatOptions(sample_rate=8000, drop_bad_audio=True, allow_loss=True)
    assert format_directory(corpus, tmp_path / "dump", drop) == {"with bad audio": 2}
    validate(tmp_path / "dump")
    assert list(read_table(tmp_path / "dump" / "utt2whatever")) == ["a-2", "b-1"]
    assert "is text" in caplog.text


def test_lengths_and_empty_texts_are_left_out_and_counted(corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    write_table(corpus / "text", {**read_table(corpus / "text"), "a-2": ""})
    options = FormatOptions(sample_rate=8000, min_seconds=0.3, max_seconds=0.9, allow_loss=True)
    expected = {"with empty text": 1, "shorter than 0.3 s": 1, "longer than 0.9 s": 1}
    assert format_directory(corpus, tmp_path / "dump", options) == expected
    validate(tmp_path / "dump")
    assert list(read_table(tmp_path / "dump" / "utt2spk")) == ["b-1"]
    assert "kept 1 utterances; left out: 1 longer than 0.9 s, 1 shorter" in caplog.text


def test_nothing_left_is_an_error(corpus, tmp_path):
    options = FormatOptions(sample_rate=8000, min_seconds=10)
    with pytest.raises(InputError, match="every utterance would be left out"):
        format_directory(corpus, tmp_path / "dump", options)
    assert not (tmp_path / "dump" / "wav.scp").exists()


def test_segments_become_files(segmented, tmp_path):
    dump = tmp_path / "dump"
    write_table(segmented / "reco2dur", {"rec": "2.0"})
    format_directory(segmented, dump, KEEP_RATE)
    validate(dump)
    assert not (dump / "segments").exists() and not (dump / "reco2dur").exists()
    wavs = read_table(dump / "wav.scp")
    recording, _ = read_audio(segmented.parent / "rec.flac")
    parts = [read_audio(path)[0] for path in wavs.values()]
    assert [len(part) for part in parts] == [4000, 6000, 2000, 4000]
    assert np.array_equal(np.concatenate(parts), recording)


@pytest.mark.parametrize(("end", "fits"), [("2.4", True), ("2.6", False)])
def test_a_segment_may_end_a_little_after_its_recording(segmented, tmp_path, end, fits):
    segments = read_table(segmented / "segments")
    write_table(segmented / "segments", {**segments, "c-1": f"rec 1.5 {end}"})
    if fits:
        format_directory(segmented, tmp_path / "dump", KEEP_RATE)
        assert read_table(tmp_path / "dump" / "utt2num_samples")["c-1"] == "4000"
    else:
        with pytest.raises(InputError, match="but its recording has 2 s"):
            format_directory(segmented, tmp_path / "dump", KEEP_RATE)


def test_wav_files_in_an_archive_are_read(corpus, tmp_path):
    table = read_table(corpus / "wav.scp")
    entries, archive = {}, b""
    for name, path in table.items():
        write_wav(tmp_path / "a.wav", *read_audio(path))
        archive += f"{name} ".encode()
        entries[name] = f"{tmp_path}/all.ark:{len(archive)}"
        archive += (tmp_path / "a.wav").read_bytes()
    (tmp_path / "all.ark").write_bytes(archive)
    format_directory(corpus, tmp_path / "plain", FormatOptions(sample_rate=8000))
    write_table(corpus / "wav.scp", entries)
    format_directory(corpus, tmp_path / "new", FormatOptions(sample_rate=8000))
    lengths = [read_table(tmp_path / d / "utt2num_samples") for d in ("plain", "new")]
    assert lengths[0] == lengths[1]
    write_table(corpus / "wav.scp", dict.fromkeys(table, f"{tmp_path}/all.ark:1"))
    with pytest.raises(InputError, match=r"all\.ark:1: utterance 'a-1': no WAV file begins there"):
        format_directory(corpus, tmp_path / "new", FormatOptions(sample_rate=8000))


def test_commands_run_only_when_allowed(corpus, tmp_path):
    flac = tmp_path / "audio" / "a-1.flac"
    replace_audio(corpus, "a-1", f"touch {tmp_path}/ran; cat {flac} |")
    with pytest.raises(InputError, match=r"1 entries are commands.*\(a-1\).*--allow_pipes true"):
        format_directory(corpus, tmp_path / "dump", KEEP_RATE)
    assert not (tmp_path / "ran").exists()
    allow = FormatOptions(sample_rate=8000, allow_pipes=True)
    format_directory(corpus, tmp_path / "dump", allow)
    wavs = read_table(tmp_path / "dump" / "wav.scp")
    assert np.array_equal(read_audio(wavs["a-1"])[0], read_audio(flac)[0])
    replace_audio(corpus, "a-1", "echo broken >&2; false |")
    with pytest.raises(InputError, match=r"'a-1': the command ended with code 1 \(broken\)"):
        format_directory(corpus, tmp_path / "dump", allow)


@pytest.mark.parametrize("bad", ["a/b", "../../x", ".a", "-a", "u" * 300])
def test_ids_that_cannot_name_files_are_refused(corpus, tmp_path, bad):
    for name in ("wav.scp", "utt2spk", "text", "utt2accent", "utt2whatever"):
        table = read_table(corpus / name)
        write_table(corpus / name, {bad if u == "a-1" else u: v for u, v in table.items()})
    write_table(corpus / "spk2utt", {"a": " ".join(sorted([bad, "a-2"])), "b": "b-1", "c": "c-1"})
    with pytest.raises(InputError, match="1 utterance ids cannot name files") as error:
        format_directory(corpus, tmp_path / "dump", TO_16K)
    assert f"'{bad}'" in str(error.value)
    assert not (tmp_path / "dump").exists()


def test_an_inconsistent_source_is_refused(corpus, tmp_path):
    (corpus / "utt2accent").write_text("a-1 us\n")
    with pytest.raises(InputError, match="not in utt2accent"):
        format_directory(corpus, tmp_path / "dump", KEEP_RATE)
    assert not (tmp_path / "dump").exists()
    with pytest.raises(InputError, match="same directory"):
        format_directory(corpus, corpus, KEEP_RATE)


def test_real_mp3_is_formatted(shared_data, tmp_path):
    clips = sorted(shared_data.glob("commonvoice_en_sample/**/*.mp3"))[:2]
    ids = [clip.stem for clip in clips]
    write_table(tmp_path / "in" / "utt2spk", {i: i for i in ids})
    write_table(tmp_path / "in" / "spk2utt", {i: i for i in ids})
    write_table(tmp_path / "in" / "wav.scp", dict(zip(ids, map(str, clips), strict=True)))
    format_directory(tmp_path / "in", tmp_path / "dump", TO_16K)
    for path in read_table(tmp_path / "dump" / "wav.scp").values():
        assert len(read_audio(path, sample_rate=16000)[0]) > 16000


def test_stereo_files_are_refused_or_one_channel_is_taken(corpus, tmp_path):
    """The right channel is half as loud as the left one, and of the other sign."""
    stereo = str(tmp_path / "my stereo file.wav")
    left = np.sin(np.arange(8000) / 9) / 2
    soundfile.write(stereo, np.stack([left, -left / 2], axis=1), 8000)
    replace_audio(corpus, "a-1", stereo)
    with pytest.raises(InputError, match=r"'a-1': 2 channels instead of 1; .*--channel mix"):
        format_directory(corpus, tmp_path / "dump", KEEP_RATE)
    for channel, factor in (("1", 1), ("2", -0.5), ("mix", 0.25)):
        options = FormatOptions(sample_rate=8000, channel=channel)
        # The other files have one channel.
        if channel == "2":
            with pytest.raises(InputError, match="has no channel 2"):
                format_directory(corpus, tmp_path / channel, options)
            options = FormatOptions(
                sample_rate=8000, channel=channel, drop_bad_audio=True, allow_loss=True
            )
        format_directory(corpus, tmp_path / channel, options)
        path = read_table(tmp_path / channel / "wav.scp")["a-1"]
        assert np.allclose(read_audio(path)[0], factor * left, atol=1e-3)
        others = read_table(tmp_path / channel / "wav.scp").keys() - {"a-1"}
        assert len(others) == (0 if channel == "2" else 3)


def test_a_pipe_gives_stereo_and_lengths_that_were_never_written(corpus, tmp_path):
    soundfile.write(tmp_path / "a.flac", np.stack([np.ones(8000) / 3] * 2, axis=1), 8000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    replace_audio(corpus, "a-1", f"cat {tmp_path}/a.flac |")
    options = FormatOptions(sample_rate=8000, allow_pipes=True, channel="mix")
    format_directory(corpus, tmp_path / "dump", options)
    assert read_table(tmp_path / "dump/utt2num_samples")["a-1"] == "8000"


def test_what_a_later_stage_cannot_use_is_named(corpus, tmp_path, caplog):
    soundfile.write(tmp_path / "short.flac", 0.1 * np.ones(400), 8000)
    replace_audio(corpus, "a-1", str(tmp_path / "short.flac"))
    text = {**read_table(corpus / "text"), "b-1": "A " * 30 + "B"}
    write_table(corpus / "text", text)
    format_directory(corpus, tmp_path / "dump", FormatOptions(sample_rate=8000, min_seconds=0))
    said = [r.getMessage() for r in caplog.records]
    assert any("shorter than" in line and line.endswith(": a-1") for line in said)
    assert any("words a second" in line and line.endswith(": a-1, b-1") for line in said)
