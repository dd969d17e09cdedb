"""Check an attack on a recognizer against its audio and the model."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Measure, transcribe and score the audio of an attack again, and refuse what differs.",
        example="espnet-ext verify exp/my_attack --model exp/asr --wav_scp dump/test/wav.scp",
    )
    add = parser.add_argument
    add("entry", metavar="ENTRY", help="output directory of asr_attack, with its audio")
    add("--wav_scp", required=True, help="the audio without attack, of a source that you trust")
    cli.ASR_MODEL.add(parser)
    add("--text", help="reference transcripts that you trust, to compare those of ENTRY with")
    add("--targets", help="target transcripts that you trust, to compare too")
    cli.add_speakers(parser)
    add("--leaderboard", metavar="FILE", help="JSON file to which the entry is added if it is true")
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Refuse an entry, or say that it is true."""
    args = cli.parse(get_parser())
    from espnet_ext.attack import audit
    from espnet_ext.data.attack_log import RECORD, read_attack_log, read_attack_record
    from espnet_ext.errors import InputError, refuse
    from espnet_ext.report.leaderboard import add_entry, by_name
    from espnet_ext.report.recognition import attack_results
    from espnet_ext.report.recognition_report import AttackReport
    from espnet_ext.report.reports import read_report
    from espnet_ext.tasks.loading import ASR_KIND
    from espnet_ext.victims.listener import listeners
    from espnet_ext.victims.options import RecognizerOptions
    from espnet_ext.victims.recognizer import PyTorchESPnet

    entry, report = Path(args.entry), read_report(args.entry)
    record = read_attack_record(entry / RECORD)
    # With "made_on" it is a record of asr_transfer, whose audio was made on another model.
    if not isinstance(report, AttackReport) or "made_on" in record:
        raise InputError(f"{entry}: only attacks of asr_attack, with their audio, can be verified")
    rows = read_attack_log(entry)
    audit.check_whole(record, rows, entry)
    files, model = cli.ASR_MODEL.find(args), record["model"]
    # Before anything of the model is read.
    _refuse_another(cli.model_digests(files), model)
    for key in ("lang_sym", "task_sym"):
        # The prompt of the attack, whatever the defaults are today.
        vars(args)[key] = record.get(key)
    recognizer = cli.open_model(files, args, ASR_KIND)
    _refuse_another(cli.model_digests(files) | cli.text_digests(recognizer), model)

    problems: list[str] = []
    for path, name in ((args.text, "reference"), (args.targets, "target")):
        if path:
            problems += audit.other_texts(rows, path, name, recognizer.text.normal)
    # The audio without attack is the user's own: an entry could bring any.
    audio = audit.read_reference(rows, record, entry, args.wav_scp, recognizer.sample_rate)
    options = dataclasses.asdict(RecognizerOptions.of_those(record["settings"]))
    victim = PyTorchESPnet(recognizer, record["ctc_weight"], **options)
    names = record["observers"]
    # Observers are named by `listeners`: beam10 is a search, every other name a codec.
    beams = [int(name.removeprefix("beam")) for name in names if name.startswith("beam")]
    others = listeners(victim, beams, [name for name in names if not name.startswith("beam")])
    found, unlike = audit.heard_again(victim, rows, record, entry, audio, others)
    check = audit.gradient_again(victim, record, rows, audio)
    unlike += audit.disagreements(record["gradient_check"], check, "attack.json: gradient_check")
    refuse([*problems, *unlike], f"{entry} is refused, its log is not what was found:")
    # From what was found here, not from the log: a log that is right must give the same results.
    again = attack_results(found, {**record, "gradient_check": check}, args.utt2spk, {})
    again["training_seed"] = recognizer.config.get("seed")
    unlike = [*audit.disagreements(by_name(report.results), by_name(again), "results.json")]
    refuse(unlike, f"{entry} is refused, its results do not follow from its log:")
    print(
        f"{entry} is true: {len(audio)} utterances, {len(again['scores'])} settings and "
        f"{len(again['flags'])} flags, {len(rows)} transcripts. Not checked, for audio does not "
        "tell them: seeds, seconds, steps, gradients and queries."
    )
    if args.leaderboard:
        add_entry(args.leaderboard, report.cards(), record["utterances"]["sha256"])


def _refuse_another(found: Mapping[str, object], claimed: Mapping[str, object]) -> None:
    """Refuse a model that is not the one of attack.json, wherever it lies."""
    from espnet_ext.attack.audit import disagreements
    from espnet_ext.data.files import content_of
    from espnet_ext.errors import refuse

    own = {key: content_of(claimed.get(key)) for key in found}
    refuse(disagreements(own, content_of(found), "model"), "--model is not the one of attack.json:")


if __name__ == "__main__":
    cli.run(main)
