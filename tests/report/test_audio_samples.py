import base64
import io

import numpy as np
import pytest
import soundfile
from attack_rows import UTT2SPK, constant, log_rows

from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_jsonl
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError
from espnet_ext.report.audio_samples import make_samples

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def samples(attacked):
    """Samples of an attack; `change` gets its directory before they are made."""

    def samples(count=3, wrong=None, change=lambda directory: None, clean=True, **options):
        directory, wav_scp = attacked(wrong, **options)
        change(directory)
        rows = read_jsonl(directory / "attack_log.jsonl")
        return make_samples(rows, directory, read_table(wav_scp) if clean else {}, count)

    return samples


def decode(source: str) -> tuple[int, np.ndarray]:
    kind, content = source.split(",")
    assert kind == "data:audio/wav;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
    return rate, samples


@pytest.mark.parametrize(
    ("count", "names"),
    [(0, []), (1, ["u0"]), (2, ["u0", "u5"]), (3, ["u0", "u2", "u5"]), (99, [*UTT2SPK])],
)  # fmt: skip
def test_utterances_are_spread_evenly_and_not_chosen(samples, count, names):
    assert [sample.utterance for sample in samples(count, audio=False)] == names


def test_every_number_of_steps_has_its_transcript(samples):
    (sample,) = samples(
        1, wrong={("eps2", 0): [0] * 6, ("eps2", 5): [2] * 6, ("eps2", 10): [0] * 6}
    )
    assert (sample.reference, sample.target) == ("oops", "to be or not to")
    wanted = [("to", "oops"), ("be", "oops"), ("or", "or"), ("not", "not"), ("to", "to")]
    assert [tuple(pair) for pair in sample.heard[1].target] == wanted
    assert [pair.wanted for pair in sample.heard[1].reference] == ["", "oops", "", "", ""]
    assert [(h.budget, h.step, h.snr, h.text, h.is_target) for h in sample.heard] == [
        ("ε = 2", 0, "-", "to be or not to", False),
        ("ε = 2", 5, "55.0", "oops oops or not to", False),
        ("ε = 2", 10, "50.0", "to be or not to", True),
    ]


def test_players_hold_the_audio_of_the_files(samples, tmp_path):
    (sample,) = samples(1)
    labels = ["before", "after, ε = 2", "difference, ε = 2, +40 dB"]
    assert [clip.label for clip in sample.clips] == labels
    saved = tmp_path / "exp/la1.0_lc0.5_seed0/attack_li0.5/eps2/step10/wav/u0.wav"
    paths = (tmp_path / "clean/u0.wav", saved)
    for clip, path in zip(sample.clips[:2], paths, strict=True):
        rate, found = decode(clip.source)
        assert rate == 8000 and found.dtype == np.int16
        assert np.abs(found / 32768.0 - read_audio(path)[0]).max() <= 0.5 / 32768.0
    assert sample.clips[0].about.startswith("Spectrogram, before: 0.5 s to the right, 0 to 4 kHz")


def test_the_difference_is_as_loud_as_the_speech(samples):
    (sample,) = samples(1)
    before, after, difference = (decode(c.source)[1].astype(float) for c in sample.clips)
    assert np.square(difference).mean() == pytest.approx(np.square(before).mean(), rel=0.01)
    assert np.corrcoef(after - before, difference)[0, 1] > 0.99


def test_each_budget_has_a_player(samples):
    several = {(budget, step): [1] * 6 for budget in ("snr41", "snr35") for step in (0, 5)}
    (sample,) = samples(1, wrong=several)
    labels = ["before", "after, SNR 41 dB", "after, SNR 35 dB"]
    assert [clip.label for clip in sample.clips[:3]] == labels and len(sample.clips) == 5
    assert [heard.budget for heard in sample.after] == ["SNR 41 dB", "SNR 35 dB"]


def test_audio_beyond_full_scale_is_clipped_and_does_not_wrap(samples):
    def louder(directory):
        path = directory / "eps2/step10/wav/u0.wav"
        write_wav(path, 30 * read_audio(path)[0], 8000)

    (sample,) = samples(1, change=louder)
    assert {decode(sample.clips[1].source)[1].max(), 32767} == {32767}


def test_without_kept_audio_the_transcripts_stay(samples):
    (sample,) = samples(1, audio=False)
    assert sample.clips == [] and len(sample.heard) == 3


def test_without_the_clean_audio_the_adversarial_stands_alone(samples):
    (sample,) = samples(1, clean=False)
    assert [clip.label for clip in sample.clips] == ["after, ε = 2"]


def test_names_of_others_do_not_lead_out_of_the_directory(attacked, tmp_path):
    write_wav(tmp_path / "secret.wav", np.ones(8, dtype=np.float32), 8000)
    directory, _ = attacked()
    outside = "../../../../../../secret"
    assert (directory / "eps2/step10/wav" / f"{outside}.wav").is_file()
    rows = [{**row, "utterance": outside} for row in log_rows(constant(3, 1))]
    (sample,) = make_samples(rows, directory, {}, 1)
    assert sample.clips == [] and len(sample.heard) > 0


def test_other_audio_than_was_attacked_is_refused(samples, tmp_path):
    def shorter(directory):
        write_wav(tmp_path / "clean/u0.wav", np.ones(10, dtype=np.float32), 8000)

    with pytest.raises(InputError, match="'u0': 10 samples in the list of audio, but 4000"):
        samples(1, change=shorter)


def test_broken_audio_is_told_with_its_place(samples):
    def broken(directory):
        (directory / "eps2/step10/wav/u0.wav").write_bytes(b"RIFF")

    with pytest.raises(InputError, match=r"step10/wav/u0.wav: utterance 'u0': cannot be decoded"):
        samples(1, change=broken)
