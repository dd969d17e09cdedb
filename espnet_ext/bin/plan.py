"""Tell what a training, or a whole sweep of mtl_asr.sh, will cost: hours, memory, job array, disk.

A training of any task, then a sweep:
    python -m espnet_ext.bin.plan --train_config conf/train_large.yaml --seconds 12.3
    python -m espnet_ext.bin.plan --train_config conf/train.yaml --attack_config conf/attack.yaml \
        --sweep conf/sweep.tsv --train_utts 260000 --test_utts 1000 --seconds 5
"""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        formatter_class=cli.HelpFormatter,
    )
    add = parser.add_argument
    add("--train_config", required=True, help="of the models")
    add("--attack_config", help="of the attack; without it and --sweep: one training")
    add("--sweep", help="lambda_A, lambda_C of training and of inference a line")
    add("--vocab_size", type=cli.integer(3), default=5000, help="tokens")
    add("--heads", nargs="*", default=["accent"], help="classification heads")
    add("--train_dir", help="formatted data; in place of --train_utts and --seconds")
    add("--test_dir", help="formatted data; in place of --test_utts")
    add(
        "--train_utts",
        type=cli.integer(1),
        help="training utterances; of countermeasures twice those of the larger class; not needed "
        "where num_iters_per_epoch is given",
    )
    add("--test_utts", type=cli.integer(1), help="attacked utterances")
    add(
        "--batch",
        type=cli.integer(1),
        help="utterances of a training step, in place of the configuration's",
    )
    add("--seconds", type=cli.real(above=0), help="mean length of an utterance")
    add(
        "--most",
        type=cli.integer(1),
        default=20,
        help="utterances together while it is measured, 3 at least",
    )
    add(
        "--task_hours",
        type=cli.real(above=0),
        default=4.0,
        help="that a task of a job array should last",
    )
    add("--ngpu", type=cli.integer(), default=0, help="1: measure on a GPU")
    cli.add_allow_pickle(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Measure, extrapolate, print."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if (args.attack_config is None) != (args.sweep is None):
        parser.error("--attack_config and --sweep go together")
    cli.log_to_stderr()
    from espnet_ext.data.files import read_yaml
    from espnet_ext.data.weights import pickles
    from espnet_ext.tasks.foreign import refuse_pickles

    refuse_pickles(read_yaml(args.train_config), args.train_config, args.allow_pickle)
    with pickles(args.allow_pickle):
        if args.sweep is None:
            _plan_training(parser, args)
        else:
            _plan_sweep(parser, args)


def _plan_training(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    from espnet_ext.data.files import read_yaml
    from espnet_ext.plan.steps import describe_training, training_batch

    config = read_yaml(args.train_config)
    if args.seconds is None or (args.train_utts is None and not config.get("num_iters_per_epoch")):
        parser.error("give --seconds and --train_utts")
    seconds = min(args.seconds, config.get("crop_seconds") or args.seconds)
    batch = args.batch or training_batch(config, seconds)
    # Two sizes make a line; of two utterances at least, for BatchNorm cannot be trained on one.
    most = max(3, args.most)
    batches = [batch] if batch <= most else sorted({max(2, most // 2), most})
    from espnet_ext.plan.training import measure_training

    training = measure_training(
        config,
        seconds=seconds,
        batches=batches,
        vocab_size=args.vocab_size,
        heads=args.heads,
        device=cli.device(args.ngpu),
    )
    print(*describe_training(training, config, seconds, args.train_utts or 0, batch), sep="\n")


def _plan_sweep(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    numbers = (args.train_utts, args.test_utts, args.seconds)
    if (args.train_dir is None) != (args.test_dir is None):
        parser.error("--train_dir and --test_dir go together")
    if args.train_dir is None and None in numbers:
        parser.error("give --train_dir and --test_dir, or --train_utts, --test_utts and --seconds")
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.files import read_yaml
    from espnet_ext.plan.costs import Corpus, count_sweep, describe, make_plan, read_corpus
    from espnet_ext.plan.steps import sample_rate, training_batch

    config, attack = read_yaml(args.train_config), AttackSettings.read(args.attack_config, "asr")
    rate = sample_rate(config)
    if args.train_dir is None:
        corpus = Corpus(*numbers, rate)
    else:
        corpus = read_corpus(args.train_dir, args.test_dir, rate)
    epochs = int(config.get("max_epoch", 40))
    steps = next(iter(attack.methods.values())).snapshots
    sweep = count_sweep(args.sweep, epochs, len(attack.run.budgets()), steps)
    # More than some do not change the time of one: large batches of a GPU are measured small.
    train_batch = min(args.batch or training_batch(config, corpus.seconds), args.most)
    from espnet_ext.plan.measure import measure

    speed = measure(
        config,
        seconds=corpus.seconds,
        vocab_size=args.vocab_size,
        heads=args.heads,
        train_batch=train_batch,
        attack_batch=min(attack.run.batch_size, args.most, corpus.test_utts),
        autocast=getattr(attack.victim, "autocast", None),
        device=cli.device(args.ngpu),
    )
    plan = make_plan(corpus, sweep, speed, args.task_hours)
    print(*describe(corpus, sweep, speed, plan), sep="\n")


if __name__ == "__main__":
    cli.run(main)
