#!/usr/bin/env python3
"""How often the 95 % intervals of `espnet_ext.metrics.bootstrap` hold the true value.

Values of each utterance and training run are drawn as paired differences of AdvTWER to the
baseline spread on fsdd (5 runs, 100 utterances, 10 to 50 steps, in points): utterances by 5
(found: 0 to 11), an utterance in one run by 28 (24 to 36) and runs by 0 to 8 (0 to 8). Speakers
spread as runs do.
"""

import argparse
from collections.abc import Callable

import numpy as np

from espnet_ext.metrics.bootstrap import rate

UTTERANCES = 100
UTTERANCE, RESIDUAL = 5.0, 28.0
SPREADS = (0.0, 2.0, 4.0, 8.0)
Draw = Callable[[np.random.Generator, float], dict[str, list[float]]]


def training_runs(count: int) -> Draw:
    """Values of `count` runs, of which each has its own mean."""

    def draw(generator: np.random.Generator, spread: float) -> dict[str, list[float]]:
        runs, utterances = np.repeat(range(count), UTTERANCES), np.tile(range(UTTERANCES), count)
        values = generator.normal(0.0, spread, count)[runs]
        values += generator.normal(0.0, UTTERANCE, UTTERANCES)[utterances]
        values += generator.normal(0.0, RESIDUAL, len(runs))
        return {"counts": list(values), "units": list(utterances), "runs": list(runs)}

    return draw


def speakers(count: int) -> Draw:
    """Values of one run, of which each speaker has its own mean."""

    def draw(generator: np.random.Generator, spread: float) -> dict[str, list[float]]:
        groups = np.arange(UTTERANCES) % count
        values = generator.normal(0.0, spread, count)[groups]
        values += generator.normal(0.0, np.hypot(UTTERANCE, RESIDUAL), UTTERANCES)
        return {"counts": list(values), "units": list(groups)}

    return draw


CASES = {
    **{f"{count} training runs": training_runs(count) for count in (2, 3, 5)},
    **{f"one run, {count} speakers": speakers(count) for count in (6, 20)},
}


def coverage(draw: Draw, spread: float, repetitions: int) -> float:
    """Percent of intervals that hold 0, the true value."""
    generator, held = np.random.default_rng(0), 0
    for _ in range(repetitions):
        drawn = draw(generator, spread)
        found = rate(over=[1.0] * len(drawn["counts"]), **drawn)
        held += found.low <= 0.0 <= found.high
    return 100.0 * held / repetitions


def main() -> None:
    """Print a line a case, a column a spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=500, help="draws of each case")
    args = parser.parse_args()
    print("spread".ljust(24), *(f"{spread:5.0f}" for spread in SPREADS))
    for name, draw in CASES.items():
        found = [coverage(draw, spread, args.repetitions) for spread in SPREADS]
        print(name.ljust(24), *(f"{value:5.1f}" for value in found), flush=True)


if __name__ == "__main__":
    main()
