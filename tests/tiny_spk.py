"""Speaker encoders small enough for tests."""

import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from tiny import noise
from tiny_countermeasure import model as tiny_countermeasure

from espnet_ext.tasks.loading import load_model
from espnet_ext.tasks.spk import Resemblyzer
from espnet_ext.victims.base import ALL, gradient_of
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

STOCK = {
    "frontend": "melspec_torch",
    "frontend_conf": {"n_mels": 20, "log": True},
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"ndim": 16, "model_scale": 4, "output_size": 24},
    "pooling": "chn_attn_stat",
    "pooling_conf": {},
    "projector": "rawnet3",
    "projector_conf": {"output_size": 12},
    "loss": "aamsoftmax",
    "loss_conf": {},
    "spk_num": 3,
    "sample_rate": 16000,
}


def save_stock(folder, seed=1, **changes):
    """A configuration of ESPnet's task spk with random weights, in a directory."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({**STOCK, **changes}))
    torch.manual_seed(seed)
    torch.save(load_model(config).model.state_dict(), folder / "valid.eer.best.pth")
    return folder


def tiny_stock():
    """A model of ESPnet's task spk, whose statistics are those of noise, so that voices differ."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = load_model(save_stock(Path(folder)))
    encoder.model.train()
    speech = torch.stack([torch.from_numpy(wave) for wave in noise(*[4000] * 8)])
    with torch.no_grad():
        for _ in range(40):
            encoder.model(speech * torch.rand(8, 1), extract_embd=True)
    return encoder.eval()


def tiny_resemblyzer():
    """A model like that of Resemblyzer with small layers and windows, whose embeddings differ."""
    torch.manual_seed(1)
    model = Resemblyzer(16)
    model.window, model.step = 20, 10
    with torch.no_grad():
        for name, weight in model.lstm.named_parameters():
            weight.mul_(100.0 if name == "weight_ih_l0" else 4.0)
    return model.eval()


def tiny_judge(threshold=0.0):
    """A countermeasure of waveforms that goes with these encoders."""
    model = tiny_countermeasure(rate=Resemblyzer.sample_rate)
    return PyTorchCountermeasure(model, space="waveform", threshold=threshold)


def check_gradient(verifier, batch, loss=""):
    """Compare the gradient of a verifier in double precision with finite differences."""
    batch.inputs, batch.enrolled = batch.inputs.double(), batch.enrolled.double()
    with verifier.attack_mode():
        objective = verifier.objective(batch, loss)
        gradient, _ = gradient_of(objective, batch.inputs)
        other = torch.randn_like(gradient) * (batch.inputs != 0.0)
        for direction in (gradient, other):
            step = 1e-6 * direction / direction.norm(dim=1, keepdim=True)
            with torch.no_grad():
                rise = objective(batch.inputs + step, ALL) - objective(batch.inputs - step, ALL)
            expected = 2.0 * (gradient * step).sum(1)
            assert rise.tolist() == pytest.approx(expected.tolist(), rel=1e-3)
