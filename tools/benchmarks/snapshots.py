#!/usr/bin/env python3
"""Four numbers of steps in one run, against four runs: the same waveforms in less time."""

import numpy as np
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

from espnet_ext.attack import PyTorchESPnet

STEPS = (5, 10, 15, 20)


def main() -> None:
    """Print times, the ratio, and whether the results are identical."""
    args = get_parser(__doc__).parse_args()
    estimator = PyTorchESPnet(recognizer(args.device), 0.3)
    x, y = np.stack(speech(2, 2)), transcripts(2)
    once = paper_attack(estimator, *STEPS)
    runs = [paper_attack(estimator, s) for s in STEPS]
    seconds = compare(
        {
            "one run": lambda: once.generate_snapshots(x, y),
            "four runs": lambda: [run.generate(x, y) for run in runs],
        },
        min(args.repeats, 3),
        args.device,
    )
    show(seconds)
    verdict("one run / four runs", ratio(seconds, "one run", "four runs"), 0.5)
    found = once.generate_snapshots(x, y)
    # On a GPU sums are added in another order each time, and rounding parts the two.
    apart = max(
        float(np.abs(found[s] - run.generate(x, y)).max())
        for s, run in zip(STEPS, runs, strict=True)
    )
    say("largest difference of the waveforms", apart)


if __name__ == "__main__":
    main()
