"""Small random checkpoints of Whisper, in OpenAI's layout."""

from pathlib import Path

import pytest
import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.data.whisper_sizes import official_sizes


def save_whisper(path: Path, multilingual: bool = False, **sizes: int) -> Path:
    """A random checkpoint in OpenAI's layout, of one layer."""
    import whisper

    torch.manual_seed(0)
    base = official_sizes("tiny" if multilingual else "tiny.en")
    small = {"n_audio_state": 16, "n_text_state": 16, "n_audio_head": 2, "n_text_head": 2}
    sizes = {**base, **small, "n_audio_layer": 1, "n_text_layer": 1, **sizes}
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**sizes))
    for parameter in model.parameters():  # untrained, it would write one token for ever
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save({"dims": sizes, "model_state_dict": model.half().state_dict()}, path)
    return path


def compute_in_double(model: ESPnetASRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute a model in double precision, which code of Whisper and of BEATs leaves."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    if hasattr(model.double().encoder, "mel_filters"):
        filters = model.encoder.mel_filters
        monkeypatch.setattr(model.encoder, "mel_filters", lambda *args: filters(*args).double())
