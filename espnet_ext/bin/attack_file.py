"""Attack one audio file: what was heard before and after, and where to listen."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from espnet_ext.bin import asr_attack, cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Attack one audio file, so that a recognizer hears a text; other options, such as --ngpu, "
        "are those of espnet-ext attack on a data directory.",
        example="espnet-ext attack hello.wav 'open the door' --model exp/asr --out out",
    )
    add = parser.add_argument
    add("wav", help="the audio, at the sample rate of the model")
    add("text", help="what shall be heard")
    cli.ASR_MODEL.add(parser)
    add("--snr", type=cli.real(), default=35.0, help="size of what is added, as SNR in dB")
    add("--steps", type=cli.integer(1), default=100, help="at most; fewer where it succeeds")
    add("--out", required=True, help="directory of adversarial.wav, noise.wav and the attack's log")
    return parser


def main() -> None:
    """Write a data directory of one utterance, attack it, and say what was heard."""
    # What this command does not know goes to the one for data directories.
    args, further = get_parser().parse_known_args()
    own = ("wav", "text", "snr", "steps", "out")
    of_model = {k: v for k, v in vars(args).items() if k not in own and v is not None}
    from espnet_ext.data.files import write_text
    from espnet_ext.data.ids import id_problem
    from espnet_ext.data.kaldi import write_table

    out, name = Path(args.out), Path(args.wav).stem
    # A file name may have blanks or signs that the id of an utterance may not have.
    name = "audio" if id_problem(name) else name
    settings = {
        # Noise of the same size is the control: its effect is not due to the attack. An SNR limits
        # the energy of the change, which is a ball of the L2 norm.
        **{"methods": ["pgd", "noise"], "norm": 2, "snr": [args.snr], "steps": [args.steps]},
        **{"alpha": 0.1, "decay": 0.9, "best": True, "stop_on_success": True, "keep": True},
    }
    write_table(out / "wav.scp", {name: str(Path(args.wav).absolute())})
    write_table(out / "targets", {name: args.text})
    write_text(out / "attack.yaml", json.dumps(settings))
    sys.argv[1:] = [
        # With `=`, for a value may begin with a dash.
        *(f"--{key}={value}" for key, value in of_model.items()),
        *(f"--wav_scp={out}/wav.scp", f"--targets={out}/targets", f"--config={out}/attack.yaml"),
        *(f"--output_dir={out}/attack", *further),
    ]
    rows = {row["method"]: row for row in asr_attack.attack(cli.parse(asr_attack.get_parser()))}
    for method, copy in (("pgd", "adversarial.wav"), ("noise", "noise.wav")):
        # Copied to short names, because the path of an attack's audio follows from its settings.
        step = f"{method}/{rows[method]['budget']['tag']}/step{rows[method]['step']}"
        shutil.copy(out / "attack/adversarial" / step / f"wav/{name}.wav", out / copy)
    attacked = rows["pgd"]
    reached = "reached" if attacked["reached"] else f"not reached in {args.steps} steps"
    print(f"before:    {rows['clean']['hypothesis']}")
    print(f"after:     {attacked['hypothesis']}")
    print(f"target:    {attacked['target']} ({reached}, {attacked['snr']:.1f} dB SNR)")
    print(f"as noise:  {rows['noise']['hypothesis']}")
    print(f"listen to: {args.wav}, {out}/adversarial.wav, {out}/noise.wav")


if __name__ == "__main__":
    cli.run(main)
