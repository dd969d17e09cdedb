#!/usr/bin/env python3
"""The engine's iterate after 5 steps against ART's, and ART's against its own.

Both take the same steps but sum the norms in another order. A rounding error that moves a
ReLU over its kink grows, so a few utterances end further apart. How far rounding alone can
take them is shown by ART itself, with a step that is longer by one rounding error.
"""

import numpy as np
from art.attacks.evasion import ProjectedGradientDescent
from common import get_parser, keep, paper_attack, recognizer, speech, transcripts, verdict

from espnet_ext.attack import PyTorchESPnet

LIMIT = 1e-5
STEP = 0.05
ROUNDED = 0.05 * (1.0 + 2.0**-23)


def differences(seed: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Largest difference (4,) of any sample: engine to ART, and ART rounded to ART."""
    estimator = PyTorchESPnet(recognizer(device, seed), 0.3)
    x, y = np.stack(speech(4, 4, 4, 4, seed=seed)), transcripts(4, seed=seed)
    engine = paper_attack(estimator, 5, eps_step=STEP)
    expected, rounded = (
        ProjectedGradientDescent(
            estimator, norm=2, eps=2.0, eps_step=step, max_iter=5, targeted=True, verbose=False
        ).generate(x, y)
        for step in (STEP, ROUNDED)
    )
    return tuple(np.abs(w - expected).max(axis=1) for w in (engine.generate(x, y), rounded))


def main() -> None:
    """Print the median and the extremes over 8 random models of 4 utterances each."""
    args = get_parser(__doc__).parse_args()
    engine, art = (
        np.concatenate(rows)
        for rows in zip(*(differences(seed, args.device) for seed in range(8)), strict=True)
    )
    for name, found in (("engine to ART", engine), ("ART, rounded, to ART", art)):
        within = int((found <= LIMIT).sum())
        print(f"{name}: {within} of {len(found)} within {LIMIT}, largest {found.max():.2g}")
        keep(f"{name}: utterances of {len(found)} within {LIMIT}", within)
    verdict("median difference of the engine to ART", float(np.median(engine)), LIMIT)


if __name__ == "__main__":
    main()
