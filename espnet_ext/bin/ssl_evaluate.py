"""Measure and draw what a Mockingjay reconstructs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.bin import cli

if TYPE_CHECKING:
    from espnet_ext.ssl.model import MockingjayModel
    from espnet_ext.ssl.pictures import Reconstruction

FILES = cli.ModelOptions("--ssl_train_config", "--ssl_model_file", kind="ssl")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser("Reconstruction error on hidden frames, beside that of interpolation.")
    add = parser.add_argument
    cli.add_model(parser, FILES, "the Mockingjay")
    add("--data_dir", required=True, help="with wav.scp")
    add("--output_dir", required=True, help="results.json, RESULTS.md, training.json, pictures")
    add("--num_pictures", type=cli.integer(), default=4, help="utterances that are drawn")
    add("--batch_size", type=cli.integer(1), default=16, help="utterances in a batch")
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Reconstruct every utterance, measure, draw a few."""
    args = cli.parse(get_parser())
    files = cli.find_model(args, FILES)
    from espnet_ext.data.ids import check_ids, file_of
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.report.reconstruction import errors_of, write_reconstruction
    from espnet_ext.report.training import write_training
    from espnet_ext.ssl.pictures import write_picture
    from espnet_ext.tasks.loading import load_mockingjay

    device = cli.device(args.ngpu)
    model = load_mockingjay(
        files.config, files.weights, device=device, allow_pickle=args.allow_pickle
    )
    audio = dict(sorted(read_table(Path(args.data_dir) / "wav.scp").items()))
    check_ids(audio, f"{args.data_dir}/wav.scp")
    drawn = {n: file_of(args.output_dir, n, ".png") for n in list(audio)[: args.num_pictures]}
    errors = {}
    names = list(audio)
    for start in range(0, len(names), args.batch_size):
        batch = {name: audio[name] for name in names[start : start + args.batch_size]}
        for row in _reconstruct(model, batch):
            errors[row.utterance] = errors_of(row)
            if row.utterance in drawn:
                write_picture(row, drawn[row.utterance])
    pictures = [path.name for path in drawn.values()]
    write_reconstruction(errors, args.output_dir, pictures, device)
    write_training([files.config.parent], args.output_dir)


def _reconstruct(model: "MockingjayModel", audio: dict[str, str]) -> list["Reconstruction"]:
    from espnet_ext.asr.waveforms import pad
    from espnet_ext.data.audio import read_audio

    rate = model.frontend.fs
    waves = [read_audio(path, sample_rate=rate, utterance=u)[0] for u, path in audio.items()]
    return model.reconstruct(*pad(waves, next(model.parameters()).device), list(audio))


if __name__ == "__main__":
    cli.run(main)
