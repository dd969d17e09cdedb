"""Countermeasures small enough for tests, built through the task, and data that they can learn."""

import numpy as np
import torch
import yaml

from espnet_ext.data.audio import write_wav
from espnet_ext.data.kaldi import write_table
from espnet_ext.tasks.countermeasure import CountermeasureTask

RATE = 8000
ENCODERS = {
    "lcnn": {"channels": [4, 6, 6, 4, 4, 8], "group_norm": "every", "dropout_rate": 0.1},
    "senet": {"layers": [1, 1], "channels": [4, 8], "reduction": 2},
}


def cm_config(encoder="senet", **changes):
    """The configuration of a tiny countermeasure, as keys and values of a training YAML."""
    return {
        "frontend": "mel",
        "frontend_conf": {
            "fs": RATE,
            "n_fft": 256,
            "win_length": 256,
            "hop_length": 80,
            "n_mels": 20,
            "deltas": False,
        },
        "normalize": "utterance",
        "normalize_conf": {},
        "encoder": encoder,
        "encoder_conf": dict(ENCODERS[encoder]),
        "cm_loss": "cross_entropy",
        "segment_conf": {"num_frames": 40},
        **changes,
    }


def cm_arguments(config):
    """The arguments that `config` gives on the command line of the task."""
    arguments = CountermeasureTask.get_parser().parse_args([])
    for key, value in config.items():
        setattr(arguments, key, value)
    return arguments


def cm_model(seed=1, **changes):
    """A model with random weights in which no normalisation is at its initial value."""
    torch.manual_seed(seed)
    model = CountermeasureTask.build_model(cm_arguments(cm_config(**changes)))
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return model


def tones(count, samples, seed=0):
    """Noise with a high or a low tone.

    Returns:
        (count, samples) float32, and class ids (count,): 1 (bona fide) for the high tone.
    """
    generator = np.random.default_rng(seed)
    label = np.arange(count) % 2
    frequency = np.where(label, 2500.0, 700.0) * generator.uniform(0.9, 1.1, count)
    phase = 2 * np.pi * frequency[:, None] * np.arange(samples) / RATE
    noise = generator.normal(0, 0.05, (count, samples))
    return (0.3 * np.sin(phase) + noise).astype(np.float32), label


def write_tones(folder, count, seed=0, bonafide_every=2):
    """A data directory of tones of 0.3 to 0.6 s, with labels and attacks."""
    folder.mkdir(parents=True)
    waves, label = tones(2 * count, 4800, seed)
    chosen = [i for i in range(2 * count) if label[i] == (i // 2 % bonafide_every == 0)][:count]
    generator = np.random.default_rng(seed)
    tables = {"wav.scp": {}, "utt2label": {}, "utt2attack": {}, "utt2spk": {}}
    for number, i in enumerate(chosen):
        name = f"s{number % 3}-u{number:03}"
        path = folder / f"{name}.wav"
        write_wav(path, waves[i, : generator.integers(2400, 4800)], RATE)
        tables["wav.scp"][name] = str(path)
        tables["utt2label"][name] = ("spoof", "bonafide")[label[i]]
        tables["utt2attack"][name] = "-" if label[i] else f"A0{1 + number % 2}"
        tables["utt2spk"][name] = name.split("-")[0]
    for name, table in tables.items():
        write_table(folder / name, table)
    return folder


def save_countermeasure(model, config, folder):
    """Write `config.yaml` and `model.pth` as ESPnet leaves them behind."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = (bool, int, float, str, list, dict, type(None))
    kept = {k: v for k, v in vars(cm_arguments(config)).items() if isinstance(v, plain)}
    kept.pop("best_model_criterion")
    (folder / "config.yaml").write_text(yaml.safe_dump(kept))
    torch.save(model.state_dict(), folder / "model.pth")
    return folder / "config.yaml", folder / "model.pth"
