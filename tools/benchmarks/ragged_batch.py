#!/usr/bin/env python3
"""Time an utterance of a ragged set, against attacking one utterance at a time."""

from common import (
    compare,
    get_parser,
    paper_attack,
    ratio,
    recognizer,
    say,
    show,
    speech,
    transcripts,
    verdict,
)

from espnet_ext.asr.waveforms import like
from espnet_ext.attack import PyTorchESPnet
from espnet_ext.attack.evasion import ball_of

SECONDS = (2, 3, 4, 5, 6, 7, 8, 9)
STEPS = 2


def main() -> None:
    """Print times and the ratio."""
    args = get_parser(__doc__).parse_args()
    estimator = PyTorchESPnet(recognizer(args.device), 0.3)
    waves, texts = speech(*SECONDS), transcripts(len(SECONDS))
    x = like([], waves)
    attack = paper_attack(estimator, STEPS, batch_size=8)

    def everything() -> None:
        batch = estimator.batch([str(s) for s in SECONDS], waves, list(texts))
        attack.method.run(estimator, batch, ball_of(estimator, batch, attack.budget))

    together, alone, padded = "ragged set", "one at a time", "one padded batch of all"
    seconds = compare(
        {
            together: lambda: attack.generate(x, texts),
            alone: lambda: [
                attack.generate(wave[None], [text]) for wave, text in zip(waves, texts, strict=True)
            ],
            padded: everything,
        },
        args.repeats,
        args.device,
    )
    print(f"8 utterances of 2 to 9 s, an utterance and step, {args.device}:")
    show(seconds, unit=len(SECONDS) * STEPS)
    verdict("ragged set / one at a time", ratio(seconds, together, alone), 1.0)
    say("one padded batch of all / one at a time", ratio(seconds, padded, alone))


if __name__ == "__main__":
    main()
