"""Attack an ESPnet2 speech recognizer: adversarial WAVs, a log, and scores."""

import argparse
import dataclasses
import logging

from espnet_ext.bin import cli
from espnet_ext.data.attack_log import Row


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Attack any ESPnet2 CTC, attention, hybrid or transducer ASR model.",
        example=(
            "espnet-ext attack --model exp/asr --wav_scp dump/test/wav.scp --text dump/test/text "
            "--targets targets --config conf/attack.yaml --output_dir exp/my_attack"
        ),
    )
    add = parser.add_argument
    cli.add_recognizer(parser)
    add("--wav_scp", required=True, help="audio; utterances without a target are left out")
    add(
        "--targets",
        required=True,
        help="'utterance transcript' lines: what shall be heard; with "
        "another goal they only say which utterances are attacked",
    )
    add("--text", help="reference transcripts, for the WER")
    cli.add_speakers(parser)
    cli.add_listeners(parser)
    add("--config", required=True, help="YAML of the attack: methods, norm, eps or snr, steps...")
    cli.add_set(parser)
    cli.add_surrogate(parser, "asr")
    add("--output_dir", required=True, help="adversarial WAVs, attack_log.jsonl, results.json")
    cli.add_shard(parser, "attack")
    add("--checkpoint_seconds", type=cli.real(0), default=30.0, help="how often progress is saved")
    return parser


def main() -> None:
    """Attack, write the scores once all shards are finished, and say what was reached."""
    args = cli.parse(get_parser())
    rows = attack(args)
    from espnet_ext.report.summary import attack_summary

    print(*attack_summary(rows, args.output_dir), sep="\n")


def attack(args: argparse.Namespace) -> list[Row]:
    """Attack with these options.

    Returns:
        Rows of the log; none while other shards are not finished.
    """
    from espnet_ext.attack.settings import AttackSettings
    from espnet_ext.data.locks import locked

    # Before the model is opened, so that a mistake in the file is reported at once.
    settings = AttackSettings.read(args.config, "asr", args.set)
    cli.check_speakers(args.utt2spk, args.targets)
    files = cli.ASR_MODEL.find(args)
    from espnet_ext.attack.run import AttackRun
    from espnet_ext.attack.utterances import read_utterances
    from espnet_ext.report.flags import warn_of_gradient
    from espnet_ext.report.recognition import write_attack_results
    from espnet_ext.tasks.loading import ASR_KIND
    from espnet_ext.victims.listener import listeners
    from espnet_ext.victims.recognizer import PyTorchESPnet, SpeechBatch

    recognizer = cli.open_model(files, args, ASR_KIND)
    # Part of the identity of a run: rows that another model gave are never mixed in.
    model = cli.model_digests(files) | cli.text_digests(recognizer)
    rate, normal = recognizer.sample_rate, recognizer.text.normal
    utterances = read_utterances(args.wav_scp, args.targets, args.text, rate, normal)
    options = dataclasses.asdict(settings.victim)
    victim = PyTorchESPnet(recognizer, args.ctc_weight, **options)
    identity = {"model": model, "ctc_weight": victim.ctc_weight, **recognizer.prompt}
    # The worst case depends on the surrogate, so it belongs to the identity of the run.
    if (surrogate := cli.role("surrogate", "asr")).given(args):
        at = surrogate.find(args)
        victim.surrogate = PyTorchESPnet(cli.open_model(at, args, ASR_KIND), **options)
        identity["surrogate"] = cli.model_digests(at)
    run: AttackRun[SpeechBatch] = AttackRun(
        victim,
        settings,
        utterances,
        args.output_dir,
        identity,
        listeners(victim, args.also_beam, args.also_codec),
        checkpoint_seconds=args.checkpoint_seconds,
    )
    warn_of_gradient(args.output_dir)
    # One lock for each shard, because other shards work in the same directory.
    with locked(args.output_dir, "shard{}of{}".format(*args.shard)):
        run.run(*args.shard)
    # Whichever shard ends last finds all of them finished; nobody waits.
    if not run.finished():
        logging.info("other shards are not finished; the last one writes the scores")
        return []
    device = cli.device(args.ngpu)
    rows = run.collect()
    write_attack_results(rows, args.utt2spk, args.output_dir, device, recognizer)
    logging.info("wrote %s/results.json", args.output_dir)
    return rows


if __name__ == "__main__":
    cli.run(main)
