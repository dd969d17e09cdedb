"""Transfer: adversarial audio made on one model, heard by another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from espnet_ext.attack.claim import begun
from espnet_ext.attack.estimator import PyTorchESPnet
from espnet_ext.attack.runner import listen
from espnet_ext.attack.utterances import Utterance, check_utterances, examine_audio
from espnet_ext.data.attack_log import read_attack_log
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import (
    check_directory,
    content_of,
    read_record,
    write_json,
    write_jsonl,
)
from espnet_ext.data.ids import file_of
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError, summarize

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
        InputError: the attack is not finished, audio is missing or too short for the model, the
            model cannot write a target, or `output_dir` holds other results; before any is heard.
    """
    source, output = Path(attack_dir), Path(output_dir)
    if not (source / "attack_log.jsonl").is_file():
        raise InputError(f"{source}: no finished attack there (no attack_log.jsonl)")
    made_on = read_record(source / "attack.json")
    about = {**made_on, "model": dict(model), "ctc_weight": estimator.ctc_weight}
    about["made_on"] = {"model": made_on["model"], "ctc_weight": made_on["ctc_weight"]}
    if begun(output) and content_of(read_record(output / "attack.json")) != content_of(about):
        raise InputError(
            f"{output} holds the results of another attack, see attack.json there; give another "
            "--output_dir or remove it"
        )
    check_directory(output)
    groups = [
        _Group(rows, wav_scp if step == 0 else file_of(source, budget) / f"step{step}" / "wav.scp")
        for (budget, step), rows in _groups(read_attack_log(source)).items()
    ]
    targeted = bool(made_on["settings"]["targeted"])
    lengths = [_checked(estimator, group, targeted) for group in groups]
    rows = [
        row
        for group, samples in zip(groups, lengths, strict=True)
        for row in _heard(estimator, group, samples, batch_size)
    ]
    write_json(output / "attack.json", about)
    write_jsonl(output / "attack_log.jsonl", rows)
    return rows


def _groups(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """Rows by budget and step, in the order of the log."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["step"]), []).append(row)
    return groups


class _Group(NamedTuple):
    """Rows of one budget and step, and the table of their audio."""

    rows: list[Row]
    wav_scp: str | Path

    def paths(self) -> dict[str, str]:
        """Audio file of each row's utterance."""
        table = read_table(self.wav_scp)
        names = [row["utterance"] for row in self.rows]
        missing = [f"utterance {name}" for name in names if name not in table]
        if missing:
            raise InputError(
                f"{self.wav_scp}: no audio of utterances that were attacked:\n{summarize(missing)}"
            )
        # The table has the paths at the time of the attack, whose directory may have been moved.
        here = Path(self.wav_scp).parent / "wav"
        moved = {name: file_of(here, name, ".wav") for name in names}
        return {name: str(p) if p.is_file() else table[name] for name, p in moved.items()}


def _checked(estimator: PyTorchESPnet, group: _Group, targeted: bool) -> dict[str, int]:
    """Samples of each utterance, of which none is left that this model cannot be asked about."""
    clips = examine_audio(group.paths(), estimator.sample_rate)
    samples = {name: clip.samples for name, clip in clips.items()}
    check_utterances(
        estimator,
        [
            Utterance(row["utterance"], "", samples[row["utterance"]], row["target"], None)
            for row in group.rows
        ],
        targeted,
    )
    return samples


def _heard(
    estimator: PyTorchESPnet, group: _Group, samples: Mapping[str, int], batch_size: int
) -> list[Row]:
    """The rows of one budget and step with what this model hears."""
    paths, rows, rate = group.paths(), group.rows, estimator.sample_rate
    names = [row["utterance"] for row in rows]
    found: dict[int, Row] = {}
    for batch in estimator.recognizer.batches([samples[n] for n in names], batch_size):
        ids = [names[i] for i in batch]
        waves = [read_audio(paths[n], sample_rate=rate, utterance=n)[0] for n in ids]
        found.update(
            zip(batch, listen(estimator, waves, [rows[i]["target"] for i in batch]), strict=True)
        )
    kept = [{k: v for k, v in row.items() if k not in OF_THE_SOURCE} for row in rows]
    return [{**row, **found[i]} for i, row in enumerate(kept)]
