"""Measure and draw what a Mockingjay reconstructs."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Reconstruction error on hidden frames, beside that of interpolation.",
        example=(
            "espnet-ext reconstruct --model exp/mockingjay --data_dir dump/dev --output_dir "
            "exp/mockingjay/eval"
        ),
    )
    add = parser.add_argument
    cli.SSL_MODEL.add(parser, "the Mockingjay")
    add("--data_dir", required=True, help="with wav.scp")
    add("--output_dir", required=True, help="results.json, RESULTS.md, training.json, pictures")
    add("--num_pictures", type=cli.integer(), default=4, help="utterances that are drawn")
    cli.add_batch_size(parser, 16)
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Reconstruct every utterance, measure, draw a few."""
    args = cli.parse(get_parser())
    files = cli.SSL_MODEL.find(args)
    from espnet_ext.asr.waveforms import pad
    from espnet_ext.data.audio import read_audio
    from espnet_ext.data.ids import check_ids, file_of
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.report.reconstruction import errors_of, reconstruction_results
    from espnet_ext.report.reports import write_report
    from espnet_ext.report.training import write_training
    from espnet_ext.ssl.pictures import write_picture
    from espnet_ext.tasks.loading import SSL_KIND

    model = cli.open_model(files, args, SSL_KIND)
    # Sorted, so that the same utterances are drawn whatever the order of the file.
    audio = dict(sorted(read_table(Path(args.data_dir) / "wav.scp").items()))
    # Ids become the names of pictures.
    check_ids(audio, f"{args.data_dir}/wav.scp")
    drawn = {n: file_of(args.output_dir, n, ".png") for n in list(audio)[: args.num_pictures]}
    errors = {}
    names, rate, where = list(audio), model.frontend.fs, next(model.parameters()).device
    for start in range(0, len(names), args.batch_size):
        batch = {name: audio[name] for name in names[start : start + args.batch_size]}
        waves = [read_audio(path, sample_rate=rate, utterance=u)[0] for u, path in batch.items()]
        for row in model.reconstruct(*pad(waves, where), list(batch)):
            # Reduced at once: the spectra of a whole set would not fit into memory.
            errors[row.utterance] = errors_of(row)
            if row.utterance in drawn:
                write_picture(row, drawn[row.utterance])
    write_report(reconstruction_results(errors, cli.device(args.ngpu)), args.output_dir)
    write_training([files.config.parent], args.output_dir)


if __name__ == "__main__":
    cli.run(main)
