"""A sweep on disk, laid out as mtl_asr.sh does and with errors that are known."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attack_rows import ENVIRONMENT, LAYOUT, UTT2SPK, Wrong, constant, log_rows, scored
from countermeasure_run import lnsr, read, write_run

from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import write_json, write_jsonl
from espnet_ext.data.kaldi import write_table
from espnet_ext.data.recipe_lists import read_sweep
from espnet_ext.report import countermeasures as cm
from espnet_ext.report.conditions import SweepCondition
from espnet_ext.report.layout import SweepLayout, read_layout
from espnet_ext.report.recognition import definitions, make_results

TEST_SET = {**UTT2SPK, "u6": "a", "u7": "b"}
SWEEP = Path(__file__).parents[2] / "egs2" / "fsdd" / "mtl_asr1" / "conf" / "sweep.yaml"


@pytest.fixture
def data_dir(tmp_path) -> Path:
    """A test set of eight utterances with one word each, six of which are attacked."""
    directory = tmp_path / "test"
    write_table(directory / "text", dict.fromkeys(TEST_SET, "four"))
    write_table(directory / "utt2spk", TEST_SET)
    write_table(directory / "utt2accent", dict.fromkeys(TEST_SET, "us"))
    return directory


@pytest.fixture
def add(tmp_path) -> Callable[..., SweepCondition]:
    """Write the results of one condition."""

    def add(
        weights: tuple[float, float, float],
        wrong: Wrong,
        seed: int = 0,
        misheard: int = 1,
        **changes: Any,
    ) -> SweepCondition:
        la, lc, li = weights
        model = tmp_path / "exp" / f"la{la}_lc{lc}_seed{seed}"
        decode, attack = model / f"decode_li{li}" / "test", model / f"attack_li{li}"
        # As every attack does, also without any step.
        wrong = {(budget, 0): [5] * len(UTT2SPK) for budget, _ in wrong} | dict(wrong)
        write_jsonl(attack / "attack_log.jsonl", log_rows(wrong))
        about = {
            "model": {"config": {"path": f"{model}/config.yaml", "sha256": "0"}},
            "ctc_weight": li,
            "settings": {
                "norm": 2,
                "eps": [2.0],
                "snr": [],
                "steps": sorted({n for _, n in wrong if n}),
            },
            "utterances": {"count": len(UTT2SPK), "sha256": "1"},
            "batches": [list(UTT2SPK)],
        }
        write_json(attack / "attack.json", about | changes)
        heard = {n: "oops" if k < misheard else "four" for k, n in enumerate(TEST_SET)}
        write_table(decode / "text", heard)
        if la < 1.0:
            write_table(decode / "utt2accent", {n: "us" if n < "u6" else "in" for n in TEST_SET})
        return SweepCondition(la, lc, li, model, decode, attack)

    return add


@pytest.fixture
def three(add) -> list[SweepCondition]:
    """AdvTWER after 5 steps of 60, 40 and 50 %, after 10 of 40, 80 and 10 %."""
    mixed = {**constant(0, 0), ("eps2", 5): [0, 5, 0, 5, 0, 5], ("eps2", 10): [3, 0, 0, 0, 0, 0]}
    return [
        add((1.0, 0.0, 0.0), constant(3, 2)),
        add((1.0, 0.5, 0.5), constant(2, 4)),
        add((0.7, 0.0, 0.0), mixed),
    ]


@pytest.fixture
def results(data_dir) -> Callable[..., dict[str, Any]]:
    """Results as they are read back from results.json."""

    def results(conditions: Sequence[SweepCondition], by_speaker: bool = False) -> dict[str, Any]:
        about, layout = {"commit": "0123456789ab"}, read_layout(LAYOUT, SweepLayout)
        found = make_results(conditions, data_dir, about, by_speaker, layout)
        return json.loads(json.dumps(found, allow_nan=False))

    return results


@pytest.fixture
def sixteen() -> list[tuple[float, ...]]:
    """The weights of the paper's conditions."""
    return [tuple(map(float, line[:3])) for line in read_sweep(SWEEP)]


RATE = 8000


@pytest.fixture
def attacked(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """Write the result of an attack on one recognizer; give it and its wav.scp back."""

    def attacked(wrong: Wrong | None = None, audio: bool = True, **changes: Any):
        directory = tmp_path / "exp" / "la1.0_lc0.5_seed0" / "attack_li0.5"
        rows = log_rows(wrong or constant(3, 1), **changes)
        about = {
            "model": {"weights": {"path": "/home/somebody/m/a.pth", "sha256": "0" * 64}},
            "ctc_weight": 0.5,
            "settings": {"norm": 2, "eps": [2.0], "steps": [5, 10], "targeted": True, "seed": 7},
        }
        write_jsonl(directory / "attack_log.jsonl", rows)
        write_json(directory / "attack.json", about)
        scores = {"definitions": definitions("utterance"), "environment": ENVIRONMENT}
        write_json(
            directory / "results.json", {**scores, "training_seed": 3, "scores": scored(rows)}
        )
        if audio:
            write_audio(directory, tmp_path / "clean", rows)
        wav_scp = tmp_path / "wav.scp"
        write_table(wav_scp, {u: str(tmp_path / "clean" / f"{u}.wav") for u in UTT2SPK})
        return directory, wav_scp

    return attacked


def write_audio(directory: Path, clean_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Half a second of noise for each utterance, and louder noise with every step."""
    noise = np.random.default_rng(0).normal(size=RATE // 2).astype(np.float32)
    for row in rows:
        folder = directory / row["budget"] / f"step{row['step']}" / "wav"
        name = f"{row['utterance']}.wav"
        if row["step"] == 0:
            write_wav(clean_dir / name, 0.1 * noise, RATE)
        else:
            write_wav(folder / name, 0.1 * noise + 1e-4 * row["step"] * noise[::-1], RATE)


@pytest.fixture
def sweep(three, results, tmp_path) -> Path:
    """The directory of a sweep's results."""
    directory = tmp_path / "report_sweep"
    write_json(directory / "results.json", results(three))
    return directory


@pytest.fixture
def countermeasures(tmp_path) -> Path:
    """The directory of a countermeasure result: two seeds, white box, transfer, random signs."""
    write_run(tmp_path / "cm")
    run, curves = read(tmp_path / "cm"), {0: lnsr(), 1: lnsr(1.0)}
    found = cm.measure_run(run, ENVIRONMENT, lnsr=curves, resamples=99)
    directory = tmp_path / "report_cm"
    write_json(directory / "results.json", found)
    return directory


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Painting takes longer than everything else; a picture is one pixel here."""
    pixel = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00"
    )

    def write_figure(figure: Any, path: Path, **options: Any) -> None:
        Path(path).write_bytes(pixel)

    monkeypatch.setattr("espnet_ext.report.figures.write_figure", write_figure)
