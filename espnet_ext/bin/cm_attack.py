"""Attack one countermeasure, and score what was made with others."""

import argparse
import dataclasses
import logging
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Attack a countermeasure (FGSM, PGD, worst case, noise, Auto-PGD, ...), score "
        "the target models, and keep only the scores.",
        example=(
            "espnet-ext attack --source exp/lcnn --target senet=exp/senet --data_dir dump/eval "
            "--config conf/attack.yaml --output_dir exp/lcnn/attack"
        ),
    )
    add = parser.add_argument
    cli.role("source").add(parser, "the model that the attacker has")
    add(
        "--target",
        required=True,
        action="append",
        type=target,
        metavar="NAME=MODEL",
        help="a model that is attacked: a directory or an archive, or CONFIG,CHECKPOINT; give it "
        "once for each, the source too for white-box",
    )
    add("--data_dir", required=True, help="wav.scp, utt2label and utt2attack")
    add("--config", required=True, help="YAML of the attack: methods, eps, unit, steps...")
    cli.add_set(parser)
    cli.add_surrogate(parser, "cm")
    add(
        "--dev_scores",
        help="scores of the source on development data: an attack has succeeded where a score is "
        "on the wrong side of their EER threshold (default: where the larger logit is wrong)",
    )
    add("--output_dir", required=True, help="attack.json, score files, attack_log.jsonl")
    cli.add_shard(parser, "attack")
    cli.add_computing(parser)
    return parser


def target(text: str) -> tuple[str, str, str]:
    """Type of an option that takes NAME=MODEL or NAME=CONFIG,CHECKPOINT.

    Example:
        >>> target("senet=exp/senet/config.yaml,exp/senet/valid.eer.best.pth")[0]
        'senet'
        >>> target("senet=exp/senet")
        ('senet', 'exp/senet', 'exp/senet')
    """
    name, _, files = text.partition("=")
    config, _, checkpoint = files.partition(",")
    if not name or not config or files.endswith(","):
        raise argparse.ArgumentTypeError(
            f"must be NAME=DIRECTORY, NAME=ARCHIVE or NAME=CONFIG,CHECKPOINT, not '{text}'"
        )
    return name, config, checkpoint or config


def decided_by(dev_scores: str | None, key: str = "threshold") -> list[str]:
    """The setting that gives the attack the decision which scores without attack have."""
    if dev_scores is None:
        return []
    from espnet_ext.cm.scores import read_scores
    from espnet_ext.report.countermeasure_scores import threshold_of

    # All digits of the number: a score may lie at the threshold itself.
    return [f"{key}={threshold_of(read_scores(dev_scores), dev_scores).value!r}"]


def main() -> None:
    """Attack, and write the score files once all shards are finished."""
    args = cli.parse(get_parser())
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.model_files import ModelFiles, find_model

    settings = AttackSettings.read(args.config, "cm", [*args.set, *decided_by(args.dev_scores)])
    # None is the source: no name of a target can be the same.
    files: dict[str | None, ModelFiles] = {None: cli.role("source").find(args)}
    for name, config, checkpoint in args.target:
        # Results of a target are found by its name.
        if name in files:
            raise InputError(f"--target {name} stands twice; give each model a name of its own")
        files[name] = find_model(config, checkpoint, "cm", args.max_unpacked_gb)
    from espnet_ext.attack.condition_scores import write_condition_scores
    from espnet_ext.attack.run import AttackRun
    from espnet_ext.attack.utterances import read_trials
    from espnet_ext.data.files import write_json
    from espnet_ext.data.locks import locked
    from espnet_ext.report.environment import environment
    from espnet_ext.report.flags import warn_of_gradient
    from espnet_ext.tasks.loading import CM_KIND
    from espnet_ext.victims.countermeasure import LabelledBatch, PyTorchCountermeasure

    surrogate = cli.role("surrogate")
    others = {"(surrogate)": surrogate.find(args)} if surrogate.given(args) else {}
    named = {"(source)" if name is None else name: at for name, at in files.items()} | others
    # Each model once, however many names it has.
    models = {at: cli.open_model(at, args, CM_KIND) for at in dict.fromkeys(named.values())}
    identity = {name: cli.model_digests(at, "checkpoint") for name, at in named.items()}
    source = models[files[None]]
    options = dataclasses.asdict(settings.victim)
    victims = {
        # The threshold is that of the source's scores.
        at: PyTorchCountermeasure(
            model, **options | ({} if model is source else {"threshold": None})
        )
        for at, model in models.items()
    }
    attacked = victims[files[None]]
    attacked.surrogate = next((victims[at] for at in others.values()), None)
    run: AttackRun[LabelledBatch] = AttackRun(
        attacked,
        settings,
        read_trials(args.data_dir, source.sample_rate, source.window),
        args.output_dir,
        {"models": identity},
        {name: victims[at] for name, at in files.items() if name is not None},
    )
    warn_of_gradient(args.output_dir)
    with locked(args.output_dir, "shard{}of{}".format(*args.shard)):
        run.run(*args.shard)
    if not run.finished():
        logging.info("other shards are not finished; the last one writes the score files")
        return
    conditions = write_condition_scores(run.collect(), args.output_dir)
    results = {"conditions": conditions, "environment": environment(cli.device(args.ngpu))}
    write_json(Path(args.output_dir) / "results.json", results)
    logging.info("wrote %s/results.json", args.output_dir)


if __name__ == "__main__":
    cli.run(main)
