"""Export a model for espnet2.bin.asr_inference."""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Write a model without its classification heads, as stock ESPnet loads it.",
        example="espnet-ext export --model exp/la0.7_lc0.5_seed0 --output_dir exp/stock",
    )
    add = parser.add_argument
    cli.ASR_MODEL.add(parser, "a multi-task model")
    add("--output_dir", required=True, help="config.yaml and model.pth are written here")
    cli.add_allow_pickle(parser)
    return parser


def main() -> None:
    """Export, and say how to decode."""
    args = get_parser().parse_args()
    from espnet_ext.tasks.export import export_stock

    files = cli.ASR_MODEL.find(args)
    config, model = export_stock(files.config, files.weights, args.output_dir, args.allow_pickle)
    print(
        "python -m espnet2.bin.asr_inference "
        f"--asr_train_config {config} --asr_model_file {model} ..."
    )


if __name__ == "__main__":
    cli.run(main)
