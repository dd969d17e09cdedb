"""Attack speaker verification: impostors accepted, targets rejected, and error rates."""

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import cast

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Attack speaker verification: ESPnet's speaker encoders and that of Resemblyzer."
    )
    add = parser.add_argument
    cli.SPK_MODEL.add(parser)
    add("--wav_scp", required=True, help="audio of the enrolments and of the test utterances")
    add(
        "--trials",
        required=True,
        help="'1|0 enrolment test' lines, as VoxCeleb has them, or 'enrolment test "
        "target|nontarget'; all are scored",
    )
    add("--enrolments", help="'speaker utterance ...' lines, where trials name speakers")
    add(
        "--num_trials",
        type=cli.integer(),
        default=0,
        help="attack this many trials of each kind, evenly spread over the list; 0 for all",
    )
    cli.add_speakers(parser)
    add("--config", required=True, help="YAML of the attack: goal, methods, norm, eps or snr...")
    cli.add_set(parser)
    cli.add_surrogate(parser, "spk")
    add(
        "--output_dir", required=True, help="scores.txt, attack_log.jsonl, results.json, RESULTS.md"
    )
    cli.add_shard(parser, "attack")
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Score all trials, attack some, and write the report once all shards are finished."""
    args = cli.parse(get_parser())
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.locks import locked

    settings = AttackSettings.read(args.config, "spk", args.set)
    files = cli.SPK_MODEL.find(args)
    from espnet_ext.attack.run import AttackRun
    from espnet_ext.attack.verification import (
        Trials,
        attacked_trials,
        equal_threshold,
        write_scores,
    )
    from espnet_ext.report.flags import warn_of_gradient
    from espnet_ext.report.reports import write_report
    from espnet_ext.report.verification import speakers_of, verification_results
    from espnet_ext.tasks.spk import SPK_KIND
    from espnet_ext.victims.spk import TrialBatch, Verifier, VerifierOptions

    encoder = cli.open_model(files, args, SPK_KIND)
    options = cast(VerifierOptions, settings.victim)
    verifier = Verifier(encoder, goal=options.goal)
    trials = Trials(args.trials, args.wav_scp, verifier.sample_rate, args.enrolments)
    speakers = speakers_of(trials.list, args.utt2spk)
    attacked = attacked_trials(trials.list, options.goal, args.num_trials)
    scored = trials.enrol(verifier)
    given = options.threshold
    verifier.threshold = equal_threshold(scored) if given is None else given
    logging.info("threshold %g", verifier.threshold)
    decided = dataclasses.replace(options, threshold=verifier.threshold)
    identity: dict[str, object] = {"model": cli.model_digests(files)}
    if (surrogate := cli.role("surrogate", "spk")).given(args):
        at = surrogate.find(args)
        verifier.surrogate = other = Verifier(
            cli.open_model(at, args, SPK_KIND), verifier.threshold, goal=options.goal
        )
        trials.enrol(other)
        identity["surrogate"] = cli.model_digests(at)
    run: AttackRun[TrialBatch] = AttackRun(
        verifier,
        dataclasses.replace(settings, victim=decided),
        trials.utterances(attacked),
        args.output_dir,
        identity,
    )
    warn_of_gradient(args.output_dir)
    with locked(args.output_dir, "shard{}of{}".format(*args.shard)):
        run.run(*args.shard)
    if not run.finished():
        logging.info("other shards are not finished; the last one writes the scores")
        return
    rows = run.collect()
    write_scores(Path(args.output_dir) / "scores.txt", scored)
    device = cli.device(args.ngpu)
    results = verification_results(rows, scored, speakers, args.output_dir, device)
    write_report(results, args.output_dir)
    logging.info("wrote %s/RESULTS.md", args.output_dir)


if __name__ == "__main__":
    cli.run(main)
