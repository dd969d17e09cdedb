"""Let a speech recognizer hear the adversarial audio that was made on another."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Transcribe and score the audio of an attack on another model, or head.",
        example=(
            "espnet-ext transfer --model exp/other --attack_dir exp/my_attack --wav_scp "
            "dump/test/wav.scp --output_dir exp/transfer"
        ),
    )
    add = parser.add_argument
    cli.add_recognizer(parser)
    add("--attack_dir", required=True, help="output directory of asr_attack on the other model")
    add("--wav_scp", required=True, help="the audio without attack")
    cli.add_speakers(parser)
    cli.add_listeners(parser)
    add("--output_dir", required=True, help="attack.json, attack_log.jsonl, results.json")
    cli.add_batch_size(parser, 20)
    return parser


def main() -> None:
    """Listen to every saved file, write rows and scores."""
    args = cli.parse(get_parser())
    from espnet_ext.attack.replay import replay
    from espnet_ext.data.attack_log import RECORD, read_attack_record
    from espnet_ext.report.recognition import goal_of, write_attack_results
    from espnet_ext.tasks.loading import ASR_KIND
    from espnet_ext.victims.listener import listeners
    from espnet_ext.victims.recognizer import PyTorchESPnet

    cli.check_speakers(args.utt2spk, args.wav_scp)
    files = cli.ASR_MODEL.find(args)
    recognizer = cli.open_model(files, args, ASR_KIND)
    model = cli.model_digests(files) | cli.text_digests(recognizer)
    record = Path(args.attack_dir) / RECORD
    settings = read_attack_record(record)["settings"] if record.is_file() else {}
    # Success is judged by the goal that the attack had.
    victim = PyTorchESPnet(recognizer, args.ctc_weight, goal=goal_of(settings))
    # The audio is read as it was saved; nothing is optimised for this model.
    rows = replay(
        victim,
        args.attack_dir,
        args.wav_scp,
        args.output_dir,
        {"model": model, "ctc_weight": victim.ctc_weight, **recognizer.prompt},
        args.batch_size,
        listeners(victim, args.also_beam, args.also_codec),
        recognizer.text.normal,
    )
    device = cli.device(args.ngpu)
    write_attack_results(rows, args.utt2spk, args.output_dir, device, recognizer)


if __name__ == "__main__":
    cli.run(main)
