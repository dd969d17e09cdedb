r"""Check a public ESPnet2 ASR model and make it the start of a recipe's models.

Example:
    python -m espnet_ext.bin.asr_pretrained --pretrained asr_conformer.zip \\
        --train_config conf/train.yaml --output_dir exp/pretrained
"""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = cli.parser(
        __doc__,
        example=(
            "espnet-ext pretrained --pretrained model.zip --train_config conf/train.yaml "
            "--output_dir exp/pretrained"
        ),
    )
    add = parser.add_argument
    add(
        "--pretrained",
        required=True,
        help="archive of espnet2.bin.pack, directory of a model, or a name on ESPnet's hub",
    )
    add("--train_config", required=True, help="YAML of the models initialised from it")
    add("--token_type", default="bpe", help="tokens of the recipe: bpe, char or word")
    add("--output_dir", required=True, help="model.pth, tokens.txt, bpe.model, feats_stats.npz")
    cli.add_allow_pickle(parser)
    cli.add_unpacked(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Obtain, check, write."""
    args = cli.parse(get_parser(), cmd)
    from espnet_ext.tasks.pretrained import obtain, prepare

    prepare(
        obtain(args.pretrained, args.max_unpacked_gb),
        args.train_config,
        args.output_dir,
        token_type=args.token_type,
        allow_pickle=args.allow_pickle,
    )


if __name__ == "__main__":
    cli.run(main)
