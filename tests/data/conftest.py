from pathlib import Path

import numpy as np
import pytest

from espnet_ext.data.audio import write_flac
from espnet_ext.data.kaldi import write_table

UTT2SPK = {"a-1": "a", "a-2": "a", "b-1": "b", "c-1": "c"}


def tone(seconds: float, rate: int = 8000) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A valid data directory of four utterances, with labels no tool has heard of."""
    directory = tmp_path / "data" / "train"
    wavs = {}
    for number, utterance in enumerate(UTT2SPK, 1):
        wavs[utterance] = str(tmp_path / "audio" / f"{utterance}.flac")
        write_flac(wavs[utterance], tone(0.25 * number), 8000)
    write_table(directory / "wav.scp", wavs)
    write_table(directory / "utt2spk", UTT2SPK)
    write_table(directory / "spk2utt", {"a": "a-1 a-2", "b": "b-1", "c": "c-1"})
    write_table(directory / "text", {u: f"WORDS OF {u}" for u in UTT2SPK})
    write_table(directory / "utt2accent", dict.fromkeys(UTT2SPK, "us"))
    write_table(directory / "utt2whatever", {u: f"1 {u}" for u in UTT2SPK})
    write_table(directory / "spk2gender", {"a": "f", "b": "m", "c": "f"})
    (directory / "README").write_text("not a table\n")
    return directory


@pytest.fixture
def segmented(corpus: Path) -> Path:
    """The same four utterances as parts of one recording of two seconds."""
    write_flac(corpus.parent / "rec.flac", tone(2.0), 8000)
    write_table(corpus / "wav.scp", {"rec": str(corpus.parent / "rec.flac")})
    ends = ["0 0.5", "0.5 1.25", "1.25 1.5", "1.5 -1"]
    write_table(corpus / "segments", {u: f"rec {e}" for u, e in zip(UTT2SPK, ends, strict=True)})
    return corpus
