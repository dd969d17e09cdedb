"""What an attack of either half promises about its directory, whatever happens to it."""

import dataclasses
import itertools
import json
import os
from typing import ClassVar

import pytest
from espnet_ext.attack.cm_settings import CountermeasureAttackSettings
from espnet_ext.attack.runner import AttackRun
from espnet_ext.attack.transfer import TransferRun
from espnet_ext.attack.trials import read_trials
from tiny import RATE, noise, tiny_recognizer
from tiny_cm import write_tones
from tiny_countermeasure import model

from espnet_ext.attack import PyTorchESPnet
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_jsonl
from espnet_ext.errors import InputError


class Recognition:
    """PGD on a recognizer; every step's state is saved."""

    other_goal: ClassVar = {"target": "nine"}
    other_truth: ClassVar = {"reference": "eight"}

    def __init__(self, folder):
        self.estimator = PyTorchESPnet(tiny_recognizer(), 0.5)
        self.items = []
        for name, wave in zip("abc", noise(3000, 3500, 4000), strict=True):
            write_wav(folder / f"{name}.wav", wave, RATE)
            path = str(folder / f"{name}.wav")
            self.items.append(Utterance(name, path, len(wave), "one", "two"))

    def run(self, output, items=None, weights="sha", **settings):
        settings = AttackSettings(**{"eps": (0.2,), "steps": (1, 3), "batch_size": 2} | settings)
        items = self.items if items is None else items
        return AttackRun(self.estimator, settings, items, output, {"weights": weights}, 0.0)

    def saved_audio(self, output, row):
        folder = output / row["budget"] / f"step{row['step']}"
        return folder / "wav" / f"{row['utterance']}.wav" if row["step"] else None


class Countermeasure:
    """PGD and noise on the waveforms of a countermeasure, which are kept."""

    other_goal: ClassVar = {"key": "bonafide", "attack": "-"}
    other_truth: ClassVar = {"attack": "A09"}

    def __init__(self, folder):
        self.items = read_trials(write_tones(folder / "eval", 3), RATE)
        # First a spoof, whose kind may be another.
        self.items.sort(key=lambda trial: trial.key, reverse=True)
        self.source = model()

    def run(self, output, items=None, weights="sha", **settings):
        settings = CountermeasureAttackSettings.from_mapping(
            {"methods": ["pgd", "noise"], "eps": [0.05], "steps": 2, "batch_size": 2}
            | {"space": "waveform", "unit": "raw", "keep": True}
            | settings
        )
        items = self.items if items is None else items
        targets, models = {"itself": self.source}, {"weights": weights}
        return TransferRun(self.source, targets, settings, items, output, models)

    def saved_audio(self, output, row):
        folder = output / "kept" / row["method"] / f"eps{row['eps']:g}"
        return folder / "wav" / f"{row['utterance']}.wav" if row["eps"] else None


@pytest.fixture(scope="module", params=[Recognition, Countermeasure])
def attack(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(attack, tmp_path_factory):
    return finish(attack, tmp_path_factory.mktemp("whole"))


def finish(attack, output):
    run = attack.run(output)
    run.run()
    run.collect()
    return output


def contents(folder):
    """All files but the seconds that the attack took."""
    found = {
        str(p.relative_to(folder)): p.read_bytes().replace(bytes(folder), b"OUTPUT")
        for p in folder.rglob("*")
        if p.is_file()
    }
    for name in found:
        if name.endswith(".jsonl"):
            rows = [json.loads(line) for line in found[name].splitlines()]
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return found


class Killed(BaseException):
    """Stands for a signal."""


def test_a_kill_at_any_file_changes_nothing_and_no_row_lacks_its_audio(
    attack, finished, tmp_path, monkeypatch
):
    rename = os.replace
    # Each attempt dies one file later than the one before, until one comes to the end.
    for attempt in itertools.count():
        left = itertools.count(attempt, -1)

        def rename_or_die(*paths, left=left):
            if next(left) == 0:
                raise Killed
            rename(*paths)

        monkeypatch.setattr(os, "replace", rename_or_die)
        try:
            finish(attack, tmp_path)
            break
        except Killed:
            pass
        for log in tmp_path.glob("log/**/*.jsonl"):
            for row in read_jsonl(log):
                saved = attack.saved_audio(tmp_path, row)
                assert saved is None or len(read_audio(saved)[0]) > 0
    assert attempt > 5
    assert contents(tmp_path) == contents(finished)


@pytest.mark.parametrize(
    "change", ["goal", "truth", "samples", "one less", "weights", "seed", "batch_size"]
)
def test_a_directory_belongs_to_one_attack(attack, finished, change):
    first, *others = attack.items
    changes = {"goal": attack.other_goal, "truth": attack.other_truth, "samples": {"samples": 2999}}
    options = {
        "one less": {"items": others},
        "weights": {"weights": "other"},
        "seed": {"seed": 7},
        "batch_size": {"batch_size": 1},
    }
    if change in changes:
        options[change] = {"items": [dataclasses.replace(first, **changes[change]), *others]}
    before = contents(finished)
    with pytest.raises(InputError, match="another attack"):
        attack.run(finished, **options[change])
    assert contents(finished) == before


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "-x", "a/b", "..", "a\\b", ""])
def test_an_id_that_is_no_file_name_is_refused_before_anything_is_written(attack, tmp_path, name):
    items = [dataclasses.replace(attack.items[0], name=name), *attack.items[1:]]
    with pytest.raises(InputError, match="cannot name files"):
        attack.run(tmp_path / "out", items)
    assert not list(tmp_path.iterdir())
