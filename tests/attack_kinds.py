"""A run of attacks on each kind of model: small data, a model, settings."""

import dataclasses
import functools
import json
import re
from pathlib import Path

from tiny import RATE, noise, tiny_recognizer
from tiny_cm import write_tones
from tiny_countermeasure import DIMS, model

from espnet_ext.attack import AttackRun, PyTorchCountermeasure, PyTorchESPnet
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import read_trials, read_utterances
from espnet_ext.data.audio import write_wav
from espnet_ext.data.kaldi import write_table
from espnet_ext.defense import SmoothingFilter

LENGTHS = {"a1": 6000, "a2": 4000, "b1": 5900, "b2": 4100, "c1": 3000}
TARGETS = {"a1": "one two", "a2": "three", "b1": "four", "b2": "five six", "c1": "seven"}
SETTINGS = {
    "recognizer": {"eps": [0.2], "snr": [30], "methods": ["pgd", "noise"]},
    "features": {"eps": [0.1, 1], "methods": ["fgsm", "pgd"], "keep": True},
    "waveform": {
        "eps": [0.5], "snr": [30], "methods": ["pgd", "noise"], "keep": True,
        "space": "waveform", "unit": "raw", "norm": 2,
    },
}  # fmt: skip
KINDS = list(SETTINGS)


def kind_of(name):
    """Kind of model, as settings name it."""
    return "asr" if name == "recognizer" else "cm"


def write_speech(folder):
    """A data directory of noise with a target for all but one utterance."""
    waves = noise(*LENGTHS.values(), 3000)
    for name, wave in zip([*LENGTHS, "unattacked"], waves, strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    paths = {name: str(folder / f"{name}.wav") for name in [*LENGTHS, "unattacked"]}
    write_table(folder / "wav.scp", paths)
    write_table(folder / "text", dict.fromkeys(paths, "nine"))
    write_table(folder / "targets", TARGETS)
    return folder


def write_data(name, folder):
    """A data directory of the kind, of five utterances or trials."""
    return write_speech(folder) if name == "recognizer" else write_tones(folder, 5)


def read(name, folder):
    """What is attacked of a data directory."""
    if name == "recognizer":
        return read_utterances(folder / "wav.scp", folder / "targets", folder / "text", RATE)
    return read_trials(folder, RATE)


@functools.cache
def networks(name):
    """Models by name; the first one is attacked."""
    if name == "recognizer":
        return {"itself": tiny_recognizer()}
    median = model("senet", seed=2, defense=SmoothingFilter(DIMS))
    return {"lcnn": model("lcnn", seed=1), "senet": model("senet", seed=2), "median": median}


def victims(name, settings):
    """Estimators by name; the first one is attacked."""
    options = dataclasses.asdict(settings.victim)
    if name == "recognizer":
        return {"itself": PyTorchESPnet(networks(name)["itself"], 0.5, **options)}
    return {n: PyTorchCountermeasure(net, **options) for n, net in networks(name).items()}


def settings_of(name, **changes):
    """Settings of the kind, of 2 and 4 steps, with changes."""
    values = {"steps": [2, 4], "batch_size": 2, "batch_overhead": 0.05}
    return AttackSettings.of(kind_of(name), {**values, **SETTINGS[name], **changes})


def run_of(name, data, output, model=None, observers=None, checkpoint_seconds=30.0, **changes):
    """A run on a data directory, or on what was read of one."""
    settings = settings_of(name, **changes)
    found = victims(name, settings)
    if observers is None:
        observers = {} if name == "recognizer" else found
    return AttackRun(
        next(iter(found.values())),
        settings,
        read(name, data) if isinstance(data, Path) else data,
        output,
        {"weights": "sha"} if model is None else model,
        observers,
        checkpoint_seconds,
    )


def finish(run):
    """Attack everything; the rows."""
    run.run()
    assert run.finished()
    return run.collect()


def contents(directory):
    """All that a run has written, without times and places."""
    found = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in data.decode().splitlines()]
            data = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif path.suffix == ".scp":
            data = re.sub(rb"/\S*?/(?=adversarial/)", b"", data)
        found[path.relative_to(directory).as_posix()] = data
    return found
