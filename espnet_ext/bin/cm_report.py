"""Make the tables and figures of the countermeasure half."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "results.json, RESULTS.md and figures from the scores of countermeasures.",
        example=(
            "espnet-ext results --models exp/models.tsv --expdir exp --utt2spk dump/eval/utt2spk "
            "--output_dir exp/report"
        ),
    )
    add = parser.add_argument
    add("--models", required=True, help="models, one per line: name, architecture, variant")
    add("--expdir", required=True, help="with <model>_seed<seed>, and with the LNSR results")
    add("--seeds", default="0", type=cli.several(cli.seed), help="training seeds, e.g. '0 1 2'")
    add("--lnsr", type=cli.boolean, default=True, help="LNSR and probe results below expdir")
    add("--attack_name", default="attack", help="directory of the attack below each source")
    add("--utt2spk", required=True, help="speakers of the evaluation set")
    add("--asv_scores", help="scores of speaker verification on it, for the t-DCF")
    text = "data directories of bona fide speech of other corpora, scored in score/bonafide/<name>"
    add("--bonafide_dirs", nargs="*", default=[], help=text)
    add("--layout", help="YAML of panels, rivals and styles, e.g. conf/report.yaml of the recipe")
    add("--resamples", default=4999, type=cli.integer(1), help="draws of the bootstrap")
    add("--overlap", help="what the sets have in common, JSON that stage 2 writes; if it is there")
    add("--output_dir", required=True, help="results.json, RESULTS.md, training.json, pictures")
    return parser


def main() -> None:
    """Collect, write, and say where."""
    args = cli.parse(get_parser())
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.report import countermeasure_run as inputs
    from espnet_ext.report.countermeasures import measure_run
    from espnet_ext.report.environment import environment
    from espnet_ext.report.layout import Layout, read_layout
    from espnet_ext.report.other_corpora import read_other_corpora
    from espnet_ext.report.reports import read_overlap, write_report
    from espnet_ext.report.training import write_training

    layout, models = read_layout(args.layout, Layout), inputs.read_models(args.models)
    utt2spk = read_table(args.utt2spk)
    run = inputs.read_run(models, args.expdir, args.seeds, args.attack_name, utt2spk, layout)
    others = read_other_corpora(run, args.expdir, args.bonafide_dirs, args.resamples)
    # Recipes without a Mockingjay have no such results to read.
    measured = args.seeds if args.lnsr else []
    made = measure_run(
        run,
        environment("cpu"),
        asv_scores=inputs.read_asv(args.asv_scores, run.trials) if args.asv_scores else None,
        lnsr=inputs.read_seeds(args.expdir, "lnsr", measured),
        probe=inputs.read_seeds(args.expdir, "probe", measured),
        other_corpora=others,
        resamples=args.resamples,
    )
    output = Path(args.output_dir)
    # Directories of the trainings, as the main script of the recipe names them.
    names = [f"{model.name}_seed{seed}" for model in models for seed in args.seeds]
    write_training([Path(args.expdir) / name for name in names], output)
    write_report({**made, **read_overlap(args.overlap)}, output)
    print(f"{output}/RESULTS.md")


if __name__ == "__main__":
    cli.run(main)
