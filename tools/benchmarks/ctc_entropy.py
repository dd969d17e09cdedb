#!/usr/bin/env python3
"""Time a training step of a hybrid with entropy-regularised CTC, against plain CTC."""

import torch
from common import compare, get_parser, ratio, recognizer, show, speech, verdict

from espnet_ext.asr.waveforms import pad

SECONDS = (4, 4, 4, 4)
WORDS = 12


def main() -> None:
    """Print times and the ratio."""
    args = get_parser(__doc__).parse_args()
    model = recognizer(args.device).model.train()
    waves, lengths = pad(speech(*SECONDS), args.device)
    text = torch.randint(2, 490, (len(SECONDS), WORDS), device=args.device)
    text_lengths = torch.full((len(SECONDS),), WORDS, device=args.device)

    def step(weight: float) -> None:
        model.ctc_entropy_weight = weight
        model.zero_grad()
        model(waves, lengths, text, text_lengths)[0].backward()

    plain, regularised = "plain CTC", "entropy-regularised CTC"
    cases = {plain: lambda: step(0.0), regularised: lambda: step(0.1)}
    seconds = compare(cases, args.repeats, args.device)
    print(f"{len(SECONDS)} utterances of {SECONDS[0]} s, {WORDS} words, {args.device}:")
    show(seconds)
    verdict("entropy-regularised / plain CTC", ratio(seconds, regularised, plain), 1.1)


if __name__ == "__main__":
    main()
