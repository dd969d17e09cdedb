#!/usr/bin/env python3
"""Peak memory of an attack against its number of steps: it must not grow."""

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor

from common import get_parser, say, verdict

STEPS = (2, 20, 60)


def peak(steps: int, device: str) -> float:
    """Peak memory in MiB of an attack of so many steps, in a process of its own."""
    import numpy as np
    import torch
    from common import paper_attack, recognizer, speech, transcripts

    from espnet_ext.attack import PyTorchESPnet

    estimator = PyTorchESPnet(recognizer(device), 0.3)
    attack = paper_attack(estimator, steps)
    attack.generate(np.stack(speech(2, 2)), transcripts(2))
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Print the peak for each number of steps."""
    args = get_parser(__doc__).parse_args()
    peaks = []
    for steps in STEPS:
        # A process each: a peak never goes down again.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            peaks.append(pool.submit(peak, steps, args.device).result())
        say(f"MiB at {steps} steps", peaks[-1])
    verdict(f"peak at {STEPS[-1]} steps / at {STEPS[0]}", peaks[-1] / peaks[0], 1.02)


if __name__ == "__main__":
    main()
