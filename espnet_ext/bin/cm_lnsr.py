"""Layerwise noise-to-signal ratio of a pretrained and a random Mockingjay."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Attack a countermeasure and measure the noise in each layer of a Mockingjay.",
        example=(
            "espnet-ext lnsr --source exp/senet --pretrained exp/lcnn_mock --random "
            "exp/lcnn_rand --data_dir dump/eval --config conf/attack_lnsr.yaml --output_dir "
            "exp/lnsr"
        ),
    )
    add = parser.add_argument
    cli.role("source").add(parser, "the countermeasure that the attacker has")
    for name in cli.MOCKINGJAYS:
        cli.role(name).add(parser, f"the countermeasure after the {name} Mockingjay")
    add("--data_dir", required=True, help="wav.scp, utt2label and utt2attack")
    add("--config", required=True, help="YAML of the attack")
    cli.add_set(parser)
    add("--output_dir", required=True, help="results.json")
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Measure and write."""
    args = cli.parse(get_parser())
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.audio import audio_digest
    from espnet_ext.data.files import check_directory

    settings = AttackSettings.read(args.config, "cm", args.set)
    output = Path(args.output_dir) / "results.json"
    files = {name: cli.role(name).find(args) for name in ("source", *cli.MOCKINGJAYS)}
    data = {name: Path(args.data_dir) / name for name in ("wav.scp", "utt2label")}
    made_from = {
        "settings": settings.to_json(),
        "files": cli.role_digests(files) | cli.digests(**data),
        "audio": audio_digest(data["wav.scp"]),
    }
    # Before a model is read: a recipe that is run again comes through here each time.
    if cli.is_made(output, made_from):
        return
    check_directory(args.output_dir)
    from espnet_ext.attack.lnsr import LayerwiseNoise
    from espnet_ext.attack.utterances import read_trials
    from espnet_ext.data.files import write_json
    from espnet_ext.report.environment import environment
    from espnet_ext.tasks.loading import CM_KIND

    source, *models = (cli.open_model(at, args, CM_KIND) for at in files.values())
    trials = read_trials(args.data_dir, source.sample_rate, source.window)
    noise = LayerwiseNoise(
        source, dict(zip(cli.MOCKINGJAYS, models, strict=True)), settings, trials
    )
    results = {
        "layers": noise.layers,
        "curves": noise.curves(),
        "settings": settings.to_json(),
        "utterances": len(trials),
        "made_from": made_from,
        "environment": environment(cli.device(args.ngpu)),
    }
    write_json(output, results)
    print(output)


if __name__ == "__main__":
    cli.run(main)
