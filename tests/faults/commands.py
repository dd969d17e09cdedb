"""The commands that are tried on a disk that fails: their inputs, and their arguments."""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tiny
import tiny_cm
import tiny_mockingjay
import yaml

from espnet_ext.bin import asr_attack, cm_attack, format_data, ssl_train
from espnet_ext.data.audio import write_wav
from espnet_ext.data.kaldi import write_table

NAMES = ["a-1", "a-2", "b-1"]


@dataclass(frozen=True)
class Command:
    """A command of the package.

    Attributes:
        main: its function.
        prepare: writes its inputs into a folder.
        arguments: from the folder of the inputs and the directory that is written.
    """

    main: Callable[[], None]
    prepare: Callable[[Path], None]
    arguments: Callable[[Path, Path], list[object]]


def _speech(folder: Path) -> None:
    for name, wave in zip(NAMES, tiny.noise(5000, 4000, 4500), strict=True):
        write_wav(folder / f"{name}.wav", wave, tiny.RATE)
    write_table(folder / "wav.scp", {n: str(folder / f"{n}.wav") for n in NAMES})
    write_table(folder / "text", dict.fromkeys(NAMES, "one two"))
    write_table(folder / "utt2spk", {n: n[0] for n in NAMES})
    write_table(folder / "spk2utt", {"a": "a-1 a-2", "b": "b-1"})
    write_table(folder / "targets", dict.fromkeys(NAMES, "three four"))


def _format(folder: Path, output: Path) -> list[object]:
    return [
        *("--source", folder, "--destination", output, "--sample_rate", 4000),
        *("--resample", "true", "--num_threads", 1),
    ]


def _recognizer(folder: Path) -> None:
    _speech(folder)
    tiny.save_model(tiny.tiny_model(), tiny.tiny_config(), folder / "model")
    attack = {"norm": 2, "snr": [25], "eps_step": 0.05, "steps": [1, 2], "batch_size": 2}
    (folder / "attack.yaml").write_text(yaml.safe_dump(attack))


def _attack_recognizer(folder: Path, output: Path) -> list[object]:
    return [
        *("--asr_train_config", folder / "model/config.yaml"),
        *("--asr_model_file", folder / "model/model.pth", "--wav_scp", folder / "wav.scp"),
        *("--targets", folder / "targets", "--text", folder / "text"),
        *("--config", folder / "attack.yaml", "--output_dir", output, "--checkpoint_seconds", 0),
    ]


def _countermeasures(folder: Path, **attack: object) -> None:
    tiny_cm.write_tones(folder / "data", 6)
    for name in ("lcnn", "senet"):
        model = tiny_cm.cm_model(encoder=name)
        tiny_cm.save_countermeasure(model, tiny_cm.cm_config(encoder=name), folder / name)
    settings = {"methods": ["pgd", "noise"], "eps": [0.2], "steps": 2, "batch_size": 4}
    (folder / "attack.yaml").write_text(yaml.safe_dump({**settings, "keep": True, **attack}))


def _waveforms(folder: Path) -> None:
    _countermeasures(folder, space="waveform", unit="raw", eps=[0.01])


def _attack_countermeasures(folder: Path, output: Path) -> list[object]:
    files = {n: f"{folder}/{n}/config.yaml,{folder}/{n}/model.pth" for n in ("lcnn", "senet")}
    return [
        *("--source_config", folder / "lcnn/config.yaml"),
        *("--source_checkpoint", folder / "lcnn/model.pth", "--data_dir", folder / "data"),
        *(word for n, at in files.items() for word in ("--target", f"{n}={at}")),
        *("--config", folder / "attack.yaml", "--output_dir", output),
    ]


def _pretraining(folder: Path) -> None:
    _speech(folder)
    lengths = {"a-1": "5000", "a-2": "4000", "b-1": "4500"}
    write_table(folder / "speech_shape", lengths)
    training = {
        **tiny_mockingjay.tiny_config(),
        **{"max_epoch": 2, "num_att_plot": 1, "batch_type": "unsorted", "batch_size": 2},
        **{"num_workers": 0, "seed": 1, "keep_nbest_models": 1},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(training))


def _pretrain(folder: Path, output: Path) -> list[object]:
    data = f"{folder}/wav.scp,speech,sound"
    return [
        *("--config", folder / "train.yaml", "--output_dir", output),
        *("--train_data_path_and_name_and_type", data),
        *("--valid_data_path_and_name_and_type", data),
        *("--train_shape_file", folder / "speech_shape"),
        *("--valid_shape_file", folder / "speech_shape"),
    ]


def _careless() -> None:
    """What no command of the package does; the driver must notice all of it."""
    output = Path(sys.argv[1])
    if output.exists():
        json.loads(output.joinpath("a.json").read_text())
    output.mkdir(exist_ok=True)
    with output.joinpath("a.json").open("wb", buffering=0) as file:
        file.write(b"{")
        file.write(b"}")
    with contextlib.suppress(OSError):
        output.joinpath("b.json").write_text("{}")


COMMANDS = {
    "careless": Command(_careless, lambda _: None, lambda _, output: [output]),
    "format_data": Command(format_data.main, _speech, _format),
    "asr_attack": Command(asr_attack.main, _recognizer, _attack_recognizer),
    "cm_attack": Command(cm_attack.main, _countermeasures, _attack_countermeasures),
    "cm_attack_waveform": Command(cm_attack.main, _waveforms, _attack_countermeasures),
    "ssl_train": Command(ssl_train.main, _pretraining, _pretrain),
}
