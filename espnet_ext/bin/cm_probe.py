"""Linear probe of the layers of a pretrained and a random Mockingjay."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli

SETS = ("train", "dev", "eval")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Equal error rate of a logistic regression on statistics of each layer.",
        example=(
            "espnet-ext probe --pretrained exp/lcnn_mock --random exp/lcnn_rand --train "
            "dump/train --dev dump/dev --eval dump/eval --output_dir exp/probe"
        ),
    )
    add = parser.add_argument
    for name in cli.MOCKINGJAYS:
        cli.role(name).add(parser, f"the countermeasure after the {name} Mockingjay")
    for name in SETS:
        add(f"--{name}", required=True, help="data directory: wav.scp, utt2label, utt2attack")
    add("--output_dir", required=True, help="results.json")
    cli.add_batch_size(parser, 16)
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Probe both models and write the results."""
    args = cli.parse(get_parser())
    from espnet_ext.data.audio import audio_digest

    output = Path(args.output_dir) / "results.json"
    files = {name: cli.role(name).find(args) for name in cli.MOCKINGJAYS}
    parts = [(part, Path(getattr(args, part))) for part in SETS]
    tables = {f"{p}/{n}": folder / n for p, folder in parts for n in ("wav.scp", "utt2label")}
    audio = {f"{p}/audio": {"sha256": audio_digest(at / "wav.scp")} for p, at in parts}
    made_from = cli.role_digests(files) | cli.digests(**tables) | audio
    # Before a model is read, as in `cm_lnsr`.
    if cli.is_made(output, made_from):
        return
    from espnet_ext.cm.probe import LabelledStatistics, layer_names, measure_layers, probe
    from espnet_ext.cm.scoring import audio_lengths, like_lengths, read_keys
    from espnet_ext.data.files import write_json
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.report.environment import environment
    from espnet_ext.tasks.loading import CM_KIND

    def _statistics(data_dir: Path) -> LabelledStatistics:
        paths = read_table(data_dir / "wav.scp")
        lengths = audio_lengths(paths, model.sample_rate, model.window)
        batches = like_lengths(lengths, args.batch_size)
        return measure_layers(model, paths, read_keys(data_dir), batches)

    rows = []
    for name, at in files.items():
        model = cli.open_model(at, args, CM_KIND)
        layers = layer_names(model, name)
        # One model at a time in memory; `_statistics` takes the one of this round.
        train, dev, test = (_statistics(folder) for _, folder in parts)
        for layer, (on_dev, on_test) in zip(layers, probe(train, dev, test), strict=True):
            rows.append({"model": name, "layer": layer, "dev_eer": on_dev, "eval_eer": on_test})
            print(f"{name:<12}{layer:<12}dev {100 * on_dev:5.1f} %  eval {100 * on_test:5.1f} %")
    write_json(
        output,
        {"rows": rows, "made_from": made_from, "environment": environment(cli.device(args.ngpu))},
    )


if __name__ == "__main__":
    cli.run(main)
