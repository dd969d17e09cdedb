"""Make the token list of a corpus."""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Write tokens.txt (and bpe.model) from training transcripts.",
        example=(
            "espnet-ext tokens --text dump/train/text --token_type bpe --vocab_size 500 "
            "--output_dir data/token_list"
        ),
    )
    add = parser.add_argument
    add("--text", required=True, help="'utterance transcript' lines")
    add("--token_type", required=True, choices=("word", "char", "bpe"), help="paper: bpe")
    add("--vocab_size", type=cli.integer(3), default=5000, help="size of bpe; paper: 5000")
    add("--output_dir", required=True, help="tokens.txt, bpe.model")
    return parser


def main() -> None:
    """Write the list and say how long it is."""
    args = get_parser().parse_args()
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.data.tokens import make_token_list

    texts = list(read_table(args.text).values())
    tokens = make_token_list(texts, args.token_type, args.output_dir, args.vocab_size)
    print(f"{args.output_dir}/tokens.txt: {len(tokens)} tokens")


if __name__ == "__main__":
    cli.run(main)
