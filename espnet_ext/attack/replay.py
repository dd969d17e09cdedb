"""Transfer: adversarial audio made on one model, heard by another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_ext.attack.estimator import PyTorchESPnet
from espnet_ext.attack.runner import listen
from espnet_ext.data.audio import audio_length, read_audio
from espnet_ext.data.files import read_json, read_jsonl, write_json, write_jsonl
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

OF_THE_SOURCE = ("hypothesis", "loss", "loss_ctc", "loss_att", "seconds")
"""What a row of the log says of the attacked model, and not of its audio."""

Row = dict[str, Any]


def replay(
    estimator: PyTorchESPnet,
    attack_dir: str | Path,
    wav_scp: str | Path,
    output_dir: str | Path,
    model: Mapping[str, Any],
    batch_size: int = 20,
) -> list[Row]:
    """Let a model hear what an attack on another model saved.

    `output_dir` gets `attack.json` and `attack_log.jsonl` as an attack of its own would write
    them, so that reports read it in the place of one; sizes of the perturbations, targets and
    settings are those of the attack, hypotheses and losses those of this model.

    Args:
        estimator: the model that listens.
        attack_dir: output directory of a finished `asr_attack`.
        wav_scp: the audio without attack.
        output_dir: another directory.
        model: what identifies the model that listens.
        batch_size: utterances in a batch.

    Returns:
        rows of the log.

    Raises:
        InputError: the attack is not finished, audio is missing, a target has words that the
            model does not know, or `output_dir` holds other results.
    """
    source, output = Path(attack_dir), Path(output_dir)
    if not (source / "attack_log.jsonl").is_file():
        raise InputError(f"{source}: no finished attack there (no attack_log.jsonl)")
    made_on = read_json(source / "attack.json")
    about = {**made_on, "model": dict(model), "ctc_weight": estimator.ctc_weight}
    about["made_on"] = {"model": made_on["model"], "ctc_weight": made_on["ctc_weight"]}
    if (output / "attack.json").exists() and read_json(output / "attack.json") != about:
        raise InputError(
            f"{output} holds the results of another attack, see attack.json there; give another "
            "--output_dir or remove it"
        )
    rows: list[Row] = []
    for (budget, step), group in _groups(read_jsonl(source / "attack_log.jsonl")).items():
        audio = wav_scp if step == 0 else source / budget / f"step{step}" / "wav.scp"
        rows += _heard(estimator, group, audio, batch_size)
    write_json(output / "attack.json", about)
    write_jsonl(output / "attack_log.jsonl", rows)
    return rows


def _groups(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """Rows by budget and step, in the order of the log."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["step"]), []).append(row)
    return groups


def _heard(
    estimator: PyTorchESPnet, rows: list[Row], wav_scp: str | Path, batch_size: int
) -> list[Row]:
    """The rows of one budget and step with what this model hears."""
    paths, rate = read_table(wav_scp), estimator.sample_rate
    missing = sorted({row["utterance"] for row in rows} - set(paths))
    if missing:
        raise InputError(f"{wav_scp}: no audio of utterance {missing[0]}, which was attacked")
    names = [row["utterance"] for row in rows]
    lengths = [audio_length(paths[n], sample_rate=rate, utterance=n) for n in names]
    found: dict[int, Row] = {}
    for batch in estimator.recognizer.batches(lengths, batch_size):
        ids = [names[i] for i in batch]
        waves = [read_audio(paths[n], sample_rate=rate, utterance=n)[0] for n in ids]
        found.update(
            zip(batch, listen(estimator, waves, [rows[i]["target"] for i in batch]), strict=True)
        )
    kept = [{k: v for k, v in row.items() if k not in OF_THE_SOURCE} for row in rows]
    return [{**row, **found[i]} for i, row in enumerate(kept)]
