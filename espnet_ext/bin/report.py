"""Make one self-contained HTML page from result directories."""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "One HTML file from results of asr_report, asr_attack, cm_report, spk_attack and "
        "ssl_evaluate: verdict, figures, tables, audio.",
        example="espnet-ext report exp/my_attack --wav_scp dump/test/wav.scp --output report.html",
    )
    add = parser.add_argument
    add("experiments", nargs="+", metavar="EXP", help="directory with a results.json")
    add("--output", required=True, help="the HTML file")
    add("--wav_scp", help="audio before the attack, for the players of asr_attack's results")
    add("--utterances", type=cli.integer(), default=10, help="with players, of each attack")
    return parser


def main() -> None:
    """Write the page, and say where."""
    args = cli.parse(get_parser())
    from espnet_ext.report.page import write_page

    write_page(args.experiments, args.output, args.wav_scp, args.utterances)
    print(args.output)


if __name__ == "__main__":
    cli.run(main)
