"""Transcribe a data directory and score it."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Transcribe with any ESPnet2 CTC, attention, hybrid or transducer ASR model.",
        example=(
            "espnet-ext infer --model exp/asr --data_dir dump/test --output_dir exp/asr/decode/test"
        ),
    )
    add = parser.add_argument
    cli.add_recognizer(parser)
    add("--data_dir", required=True, help="wav.scp; with text and utt2<head> it is scored")
    add("--output_dir", required=True, help="text, utt2<head> of the heads, results.json")
    text = "1: greedy, both heads score every token"
    add("--beam_size", type=cli.integer(1), default=1, help=text)
    cli.add_batch_size(parser, 20)
    cli.add_switch(parser, "--by_speaker", text="intervals over speakers")
    return parser


def main() -> None:
    """Transcribe, write, score."""
    args = cli.parse(get_parser())
    from espnet_ext.asr.transcribe import transcribe
    from espnet_ext.data.characters import remove_hidden
    from espnet_ext.data.files import check_directory, write_json
    from espnet_ext.data.ids import file_of
    from espnet_ext.data.kaldi import read_table, write_table
    from espnet_ext.report.environment import environment
    from espnet_ext.report.recognition import REFERENCE, benign_scores, decoded_rows
    from espnet_ext.tasks.loading import ASR_KIND

    output, data = Path(args.output_dir), Path(args.data_dir)
    check_directory(output)
    # Before the model is opened: transcribing may take hours, and this a moment.
    if args.by_speaker:
        cli.check_speakers(data / "utt2spk", data / "wav.scp")
    if (data / "text").is_file():
        cli.check_speakers(data / "text", data / "wav.scp", "transcript")
    recognizer = cli.open_model(cli.ASR_MODEL.find(args), args, ASR_KIND)
    speakers = read_table(data / "utt2spk") if args.by_speaker else None
    weight = recognizer.ctc_weight if args.ctc_weight is None else args.ctc_weight
    audio = read_table(data / "wav.scp")
    found = transcribe(recognizer, audio, weight, args.beam_size, args.batch_size)
    # Tables refuse blanks in a row and what cannot be seen; a model may write both.
    texts = {name: " ".join(remove_hidden(hyp.text).split()) for name, hyp in found.items()}
    write_table(output / "text", texts)
    normal = recognizer.text.normal
    references = read_table(data / "text") if (data / "text").is_file() else {}
    if any(normal(text) != text for text in references.values()):
        # What the report compares with: it has no model to ask.
        write_table(output / REFERENCE, {n: normal(t) for n, t in references.items()})
    for head in recognizer.config["model_conf"].get("heads") or {}:
        labels = {n: h.labels[head] for n, h in found.items() if head in h.labels}
        if labels:
            write_table(file_of(output, f"utt2{head}"), labels)
    results = {
        "environment": environment(cli.device(args.ngpu)),
        "ctc_weight": weight,
        "beam_size": args.beam_size,
        "scores": benign_scores(decoded_rows(output, data, speakers)),
    }
    write_json(output / "results.json", results)


if __name__ == "__main__":
    cli.run(main)
