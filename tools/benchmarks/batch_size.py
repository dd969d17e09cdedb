#!/usr/bin/env python3
"""Time of an attack step for an utterance at growing batches: which is the cheapest."""

import resource
from collections.abc import Iterator

import torch
from common import compare, get_parser, keep, recognizer, speech, transcripts

from espnet_ext.asr.waveforms import pad
from espnet_ext.attack import PyTorchESPnet

SECONDS = 4


def sizes(most: int) -> Iterator[int]:
    """1, 2, 4, ... up to `most`."""
    size = 1
    while size <= most:
        yield size
        size *= 2


def step_time(estimator: PyTorchESPnet, batch: int, repeats: int, device: str) -> float:
    """Seconds of one gradient for one of `batch` utterances."""
    waves, lengths = pad(speech(*[SECONDS] * batch), estimator.device)
    with estimator.attack_mode():
        targets = estimator.targets(list(transcripts(batch)))
        cases = {"step": lambda: estimator.input_gradient(waves, lengths, targets)}
        return min(compare(cases, repeats, device)["step"]) / batch


def peak(device: str) -> int:
    """Bytes at the peak of memory; on a CPU of the process so far."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Print a row for each size, and the cheapest."""
    parser = get_parser(__doc__)
    parser.add_argument("--most", type=int, default=256, help="largest batch (default: 256)")
    args = parser.parse_args()
    loaded = recognizer(args.device)
    kinds = {
        "full precision": PyTorchESPnet(loaded, 0.3),
        "bfloat16": PyTorchESPnet(loaded, 0.3, autocast="bfloat16"),
    }
    print(f"utterances of {SECONDS} s, one step of one utterance, {args.device}:")
    print(f"{'batch':>6}" + "".join(f"{name:>18}{'memory':>12}" for name in kinds))
    found: dict[str, dict[int, float]] = {name: {} for name in kinds}
    for batch in sizes(args.most):
        row = f"{batch:>6}"
        for name, estimator in kinds.items():
            if args.device != "cpu":
                torch.cuda.reset_peak_memory_stats()
            try:
                seconds = step_time(estimator, batch, args.repeats, args.device)
            except torch.OutOfMemoryError:
                row += f"{'out of memory':>18}{'':>12}"
                continue
            found[name][batch] = seconds
            memory = peak(args.device) / 2**20
            row += f"{1000 * seconds:15.3f} ms{memory:8.0f} MiB"
            keep(name, seconds, unit="s", batch=batch, MiB=memory)
        print(row, flush=True)
    for name, times in found.items():
        best = min(times, key=lambda size: times[size])
        # The smallest batch that is nearly as cheap leaves memory for longer utterances.
        enough = min(size for size, seconds in times.items() if seconds <= 1.1 * times[best])
        print(f"{name}: cheapest at {best}, within a tenth of that at {enough}")


if __name__ == "__main__":
    main()
