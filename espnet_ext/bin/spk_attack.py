"""Attack speaker verification: impostors accepted, targets rejected, and error rates."""

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

from espnet_ext.bin import cli
from espnet_ext.bin.cm_attack import decided_by
from espnet_ext.errors import InputError
from espnet_ext.victims.options import TANDEM_LOSSES

if TYPE_CHECKING:
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.victims.spk import Verifier, VerifierOptions


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Attack speaker verification: ESPnet's speaker encoders and that of Resemblyzer.",
        example=(
            "espnet-ext attack --model exp/spk --wav_scp dump/test/wav.scp --trials "
            "dump/test/trials --config conf/attack.yaml --output_dir exp/spk/attack"
        ),
    )
    add = parser.add_argument
    cli.SPK_MODEL.add(parser)
    add("--wav_scp", required=True, help="audio of the enrolments and of the test utterances")
    add(
        "--trials",
        required=True,
        help="'1|0 enrolment test' lines, as VoxCeleb has them, 'enrolment test target|nontarget', "
        "or those of ASVspoof, whose spoofs are left out; all others are scored",
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
    cli.role("countermeasure").add(
        parser,
        "a countermeasure in tandem, so that who is accepted is so by both; losses tandem, speaker "
        "and countermeasure in --config say which of them is attacked",
    )
    add(
        "--dev_scores",
        help="scores of the countermeasure on its development data: it decides at their EER "
        "threshold (default: by the larger logit)",
    )
    add(
        "--output_dir", required=True, help="scores.txt, attack_log.jsonl, results.json, RESULTS.md"
    )
    cli.add_shard(parser, "attack")
    cli.add_computing(parser)
    return parser


def open_verifiers(
    args: argparse.Namespace, settings: "AttackSettings"
) -> tuple["Verifier", list["Verifier"], dict[str, object]]:
    """What is attacked, its surrogate where there is one, and what identifies all models.

    Raises:
        InputError: settings of a countermeasure where none is given, or a model cannot be opened.
    """
    options = cast("VerifierOptions", settings.victim)
    losses = {getattr(method, "loss", "") for method in settings.methods.values()}
    # Without a countermeasure these settings would change nothing, and nobody would notice.
    of_tandem = options.cm_threshold is not None or losses & {*TANDEM_LOSSES}
    if of_tandem and not cli.role("countermeasure").given(args):
        raise InputError(
            f"losses {', '.join(TANDEM_LOSSES)}, cm_threshold and --dev_scores are of a "
            "countermeasure in tandem; give it with --countermeasure"
        )
    from espnet_ext.tasks.countermeasure import CM_KIND
    from espnet_ext.tasks.spk import SPK_KIND
    from espnet_ext.victims.countermeasure import PyTorchCountermeasure
    from espnet_ext.victims.spk import Verifier
    from espnet_ext.victims.tandem import Tandem

    files = {"model": cli.SPK_MODEL.find(args)}
    for name, kind in (("surrogate", "spk"), ("countermeasure", "cm")):
        if (role := cli.role(name, kind)).given(args):
            files[name] = role.find(args)
    found = [cli.open_model(files[n], args, SPK_KIND) for n in ("model", "surrogate") if n in files]
    verifiers = [Verifier(encoder, goal=options.goal) for encoder in found]
    if "countermeasure" in files:
        model = cli.open_model(files["countermeasure"], args, CM_KIND)
        judge = PyTorchCountermeasure(model, space="waveform", threshold=options.cm_threshold)
        verifiers = [Tandem(encoder, judge, goal=options.goal) for encoder in found]
    return verifiers[0], verifiers[1:], {n: cli.model_digests(at) for n, at in files.items()}


def main() -> None:
    """Score all trials, attack some, and write the report once all shards are finished."""
    args = cli.parse(get_parser())
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.locks import locked

    changes = [*args.set, *decided_by(args.dev_scores, "cm_threshold")]
    settings = AttackSettings.read(args.config, "spk", changes)
    from espnet_ext.attack.run import AttackRun
    from espnet_ext.attack.verification import (
        Trials,
        attacked_trials,
        equal_threshold,
        write_scores,
    )
    from espnet_ext.report.flags import warn_of_gradient
    from espnet_ext.report.reports import write_report
    from espnet_ext.report.summary import attack_summary
    from espnet_ext.report.verification import speakers_of, verification_results
    from espnet_ext.victims.spk import TrialBatch, VerifierOptions

    verifier, others, identity = open_verifiers(args, settings)
    options = cast(VerifierOptions, settings.victim)
    trials = Trials(args.trials, args.wav_scp, verifier.sample_rate, args.enrolments)
    speakers = speakers_of(trials.list, args.utt2spk)
    attacked = attacked_trials(trials.list, options.goal, args.num_trials)
    # All trials are scored, attacked or not: where no threshold is given, it is the one at which
    # both error rates of all trials are equal.
    scored = trials.enrol(verifier)
    given = options.threshold
    verifier.threshold = equal_threshold(scored) if given is None else given
    logging.info("threshold %g", verifier.threshold)
    # Part of the settings of the run: shards must agree on it, and it is kept with the results.
    decided = dataclasses.replace(options, threshold=verifier.threshold)
    for other in others:
        # It enrols the speakers anew: embeddings of two encoders cannot be compared.
        verifier.surrogate, other.threshold = other, verifier.threshold
        trials.enrol(other)
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
    print(*attack_summary(rows, args.output_dir), sep="\n")


if __name__ == "__main__":
    cli.run(main)
