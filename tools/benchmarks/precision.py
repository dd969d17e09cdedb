#!/usr/bin/env python3
"""bfloat16 against full precision: time a step, direction of the gradient, success of the attack.

Success is measured on a trained model: give the directory of one, e.g.
egs2/fsdd/mtl_asr1/exp/la1.0_lc0.5_seed0, and the data that the recipe made.
"""

import math
from pathlib import Path

import numpy as np
from common import compare, get_parser, paper_attack, ratio, say, show

from espnet_ext.asr.waveforms import like
from espnet_ext.attack import PyTorchESPnet
from espnet_ext.data.audio import read_audio
from espnet_ext.data.kaldi import read_table
from espnet_ext.metrics.error_rate import same_text, word_errors
from espnet_ext.tasks.loading import ASR_KIND, load_model


def success(
    estimator: PyTorchESPnet, adversarial: np.ndarray, targets: list[str]
) -> tuple[float, float]:
    """Share of targets reached, and AdvTWER, in full precision and in %."""
    heard = estimator.predict(adversarial)
    reached = [same_text(a, b) for a, b in zip(heard, targets, strict=True)]
    errors = [word_errors(a, b) for a, b in zip(targets, heard, strict=True)]
    rate = 100 * sum(e.errors for e in errors) / sum(e.units for e in errors)
    return 100.0 * float(np.mean(reached)), rate


def main() -> None:
    """Print times, cosines and success for both precisions."""
    parser = get_parser(__doc__)
    parser.add_argument("--model_dir", type=Path, required=True, help="config.yaml and weights")
    parser.add_argument("--weights", default="valid.loss.best.pth", help="file in model_dir")
    parser.add_argument("--wav_scp", required=True, help="audio")
    parser.add_argument("--targets", required=True, help="target transcripts")
    parser.add_argument("--ctc_weight", type=float, default=0.5, help="lambda_C of inference")
    parser.add_argument("--steps", type=int, default=25, help="steps of the attack (default: 25)")
    args = parser.parse_args()
    loaded = load_model(
        args.model_dir / "config.yaml", args.model_dir / args.weights, ASR_KIND, device=args.device
    )
    targets, audio = read_table(args.targets), read_table(args.wav_scp)
    x = like([], [read_audio(audio[name], sample_rate=loaded.sample_rate)[0] for name in targets])
    y = list(targets.values())
    full = PyTorchESPnet(loaded, args.ctc_weight)
    half = PyTorchESPnet(loaded, args.ctc_weight, autocast="bfloat16")
    attacks = {
        name: paper_attack(estimator, args.steps)
        for name, estimator in (("full precision", full), ("bfloat16", half))
    }
    few = slice(0, 8)
    seconds = compare(
        {name: (lambda a=a: a.generate(x[few], y[few])) for name, a in attacks.items()},
        min(args.repeats, 3),
        args.device,
    )
    show(seconds, unit=args.steps)
    say("bfloat16 / full precision", ratio(seconds, "bfloat16", "full precision"))
    pairs = zip(full.loss_gradient(x[few], y[few]), half.loss_gradient(x[few], y[few]), strict=True)
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs]
    say("cosine of the gradients, median", float(np.median(cosines)))
    say("cosine of the gradients, least", min(cosines))
    for name, attack in attacks.items():
        reached, rate = success(full, attack.generate(x, y), y)
        margin = 1.96 * math.sqrt(reached * (100.0 - reached) / len(y))
        print(f"{name}: +- {margin:.1f} % of the {len(y)} targets")
        say(f"{name}: targets reached, %", reached)
        say(f"{name}: AdvTWER, %", rate)


if __name__ == "__main__":
    main()
