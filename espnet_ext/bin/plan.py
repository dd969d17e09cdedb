"""Tell what a sweep of mtl_asr.sh will cost: hours, job array, disk, memory.

Example:
    python -m espnet_ext.bin.plan --train_config conf/train.yaml --attack_config conf/attack.yaml \
        --sweep conf/sweep.tsv --train_utts 260000 --test_utts 1000 --seconds 5
"""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--train_config", required=True, help="of the models")
    add("--attack_config", required=True, help="of the attack")
    add("--sweep", required=True, help="lambda_A, lambda_C of training and of inference a line")
    add("--vocab_size", type=int, default=5000, help="tokens")
    add("--heads", nargs="*", default=["accent"], help="classification heads")
    add("--train_dir", help="formatted data; in place of --train_utts and --seconds")
    add("--test_dir", help="formatted data; in place of --test_utts")
    add("--train_utts", type=int, help="training utterances")
    add("--test_utts", type=int, help="attacked utterances")
    add("--seconds", type=float, help="mean length of an utterance")
    add("--most", type=int, default=20, help="utterances together while it is measured")
    add("--task_hours", type=float, default=4.0, help="that a task of a job array should last")
    add("--ngpu", type=int, default=0, help="1: measure on a GPU")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Measure, extrapolate, print."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    numbers = (args.train_utts, args.test_utts, args.seconds)
    if (args.train_dir is None) != (args.test_dir is None):
        parser.error("--train_dir and --test_dir go together")
    if args.train_dir is None and None in numbers:
        parser.error("give --train_dir and --test_dir, or --train_utts, --test_utts and --seconds")
    cli.log_to_stderr()
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.files import read_yaml
    from espnet_ext.plan.costs import (
        Corpus,
        batch_sizes,
        describe,
        make_plan,
        read_corpus,
        read_sweep,
    )

    config, attack = read_yaml(args.train_config), AttackSettings.read(args.attack_config)
    rate = int((config.get("frontend_conf") or {}).get("fs", 16000))
    if args.train_dir is None:
        corpus = Corpus(*numbers, rate)
    else:
        corpus = read_corpus(args.train_dir, args.test_dir, rate)
    epochs = int(config.get("max_epoch", 40))
    sweep = read_sweep(args.sweep, epochs, len(attack.budgets()), attack.steps)
    batches = batch_sizes(config, attack.batch_size, corpus, args.most)
    from espnet_ext.plan.measure import measure

    speed = measure(
        config,
        seconds=corpus.seconds,
        vocab_size=args.vocab_size,
        heads=args.heads,
        train_batch=batches[0],
        attack_batch=batches[1],
        autocast=attack.autocast,
        device=cli.device(args.ngpu),
    )
    plan = make_plan(corpus, sweep, speed, args.task_hours)
    print(*describe(corpus, sweep, speed, plan), sep="\n")


if __name__ == "__main__":
    cli.run(main)
