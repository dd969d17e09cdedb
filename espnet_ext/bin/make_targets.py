"""Choose a target transcript for each utterance that will be attacked."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.bin import cli
from espnet_ext.errors import InputError, summarize

if TYPE_CHECKING:
    from espnet_ext.asr.recognizer import SpeechRecognizer


DECIDING = (
    *("token", "bpe", "non_ling", "cleaner", "g2p"),
    *("frontend", "encoder", "normalize", "pre"),
)
"""Beginnings of the keys that decide which texts a model can write for which audio."""


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "For each utterance, the target of closest length without a common word.",
        example=(
            "espnet-ext targets --data_dir dump/test --target_set conf/targets.txt --output targets"
        ),
    )
    add = parser.add_argument
    add("--data_dir", required=True, help="with text and utt2spk")
    add("--target_set", default="lorem_ipsum", help="lorem_ipsum (paper), or one target a line")
    add("--length_unit", default="word", choices=("word", "character"), help="unit of lengths")
    add(
        "--num_utts",
        type=cli.integer(),
        default=0,
        help="utterances to attack, spread over all speakers; 0 for all",
    )
    add(
        "--asr_train_config",
        nargs="+",
        default=[],
        help="models that will be attacked, or their config.yaml: leave out what they cannot "
        "write, by their tokens and by the length of the audio (wav.scp)",
    )
    add("--output", required=True, help="'utterance transcript' lines")
    return parser


def main() -> None:
    """Write the targets."""
    args = get_parser().parse_args()
    from espnet_ext.attack.targets import (
        choose_targets,
        lorem_ipsum,
        read_candidates,
        spread_over_speakers,
        writable,
    )
    from espnet_ext.data.kaldi import read_table, write_table

    text = read_table(Path(args.data_dir) / "text")
    utt2spk = read_table(Path(args.data_dir) / "utt2spk")
    named = args.target_set == "lorem_ipsum"
    candidates = lorem_ipsum() if named else read_candidates(args.target_set)
    room = _Room(args.asr_train_config, args.data_dir)
    # One target for all models: results of models can only be compared on the same task.
    for model in room.models:
        # A token that one model lacks is <unk> to it: no attack could reach such a target.
        candidates, left_out = writable(candidates, model.text, args.target_set)
        if left_out:
            print(left_out)
    short = {name: problem for name in utt2spk if (problem := room.too_short(name))}
    _say_left_out(short)
    usable = {name: speaker for name, speaker in utt2spk.items() if name not in short}
    chosen = spread_over_speakers(usable, args.num_utts)
    # After the choice: an utterance that is not attacked needs no transcript.
    lacking = [name for name in chosen if name not in text]
    if lacking:
        raise InputError(f"{args.data_dir}/text has no transcript of {', '.join(lacking[:5])}")
    references = {name: text[name] for name in chosen}
    targets = choose_targets(references, candidates, args.length_unit, room.fits)
    _say_left_out({n: "no target is short enough for it" for n in chosen if n not in targets})
    if not targets:
        raise InputError(f"{args.target_set}: no target for any utterance; give shorter ones")
    write_table(args.output, targets)
    print(f"{args.output}: {len(targets)} utterances, {len(set(targets.values()))} targets")


def _say_left_out(problems: dict[str, str]) -> None:
    if problems:
        lines = [f"utterance {name}: {problem}" for name, problem in problems.items()]
        print(f"{len(problems)} utterances are not attacked:\n{summarize(lines)}")


class _Room:
    """What the models can write in the audio of each utterance; without models, anything."""

    def __init__(self, configs: list[str], data_dir: str):
        self.models: list[SpeechRecognizer] = []
        # Of each utterance, by the sample rate that a model wants.
        self.samples: dict[int, dict[str, int]] = {}
        if not configs:
            return
        from espnet_ext.data.audio import audio_length
        from espnet_ext.data.kaldi import read_table
        from espnet_ext.data.model_files import model_paths
        from espnet_ext.tasks.loading import ASR_KIND, load_model
        from espnet_ext.tasks.whisper import written_configuration

        # One configuration of each kind of text, front end and encoder.
        kinds: dict[str, Path] = {}
        for given in configs:
            path = model_paths(given, None, "asr")[0]  # a directory or an archive will do
            values = {
                k: v for k, v in written_configuration(path).items() if str(k).startswith(DECIDING)
            }
            # Models of a sweep mostly differ in seeds and weights of losses, and would be built for
            # nothing.
            kinds.setdefault(json.dumps(values, sort_keys=True, default=str), path)
        self.models = [load_model(path, kind=ASR_KIND) for path in kinds.values()]
        audio = read_table(f"{data_dir}/wav.scp")
        for rate in {model.sample_rate for model in self.models}:
            self.samples[rate] = {
                name: audio_length(path, sample_rate=rate, utterance=name)
                for name, path in audio.items()
            }

    def too_short(self, name: str) -> str | None:
        """Why an utterance is too short for one of the models; None if it is not."""
        problems = (m.frames.too_short(self.samples[m.sample_rate][name]) for m in self.models)
        return next(filter(None, problems), None)

    def fits(self, name: str, target: str) -> bool:
        """Whether all models have frames for a target in an utterance."""
        from espnet_ext.asr.losses import required_frames

        return all(
            m.frames.lacks(
                self.samples[m.sample_rate][name], required_frames(m.text.encode(target))
            )
            is None
            for m in self.models
        )


if __name__ == "__main__":
    cli.run(main)
