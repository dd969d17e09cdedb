"""Layerwise noise-to-signal ratio (Wu, Liu and Lee 2020, equation 3).

For layer i and N pairs of utterances, `LNSR_i = sum_n |h'_i(n) - h_i(n)| / |h_i(n)|`, with
h the states (F, D) of the original and h' those of the adversarial utterance; i = 0 is the
input itself. The paper writes a sum and an L2 norm. The authors' script takes the *mean*,
and the *spectral* norm: `numpy.linalg.norm(..., ord=2)` of a matrix is its largest singular
value. Both are available here, because the two differ by much.

A layer norm gives every state the same length, so that the ratio cannot exceed 2 whatever
the attack does, and a mean that all states share makes every ratio small. The centred
variant subtracts the mean state of a data set from the signal; show it, and the same for
random noise of the same size, beside the ratio itself.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

Norm = Literal["frobenius", "spectral"]
NORMS: tuple[Norm, ...] = ("frobenius", "spectral")
States = Sequence[torch.Tensor]


class LayerRatio(NamedTuple):
    """LNSR of one layer.

    Attributes:
        mean: over pairs.
        total: sum over pairs, as equation 3 has it.
    """

    mean: float
    total: float


def matrix_norm(matrix: torch.Tensor, norm: Norm = "frobenius") -> torch.Tensor:
    """Frobenius norm, or largest singular value, of a matrix (F, D), in double precision.

    The singular value is the root of the largest eigenvalue of the smaller Gram matrix:
    1.3 to 4 times faster than a decomposition of the matrix, and as exact for the largest.

    Returns:
        a number on the device of the matrix; NaN where the matrix is not finite.

    Raises:
        ValueError: an unknown norm.

    Example:
        >>> matrix_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "spectral").item()
        4.0
    """
    # A Gram matrix squares the ratio of the singular values, which single precision does not hold.
    matrix = matrix.double()
    if norm == "frobenius":
        return torch.linalg.matrix_norm(matrix)
    if norm != "spectral":
        raise ValueError(f"norm '{norm}'; known are {', '.join(NORMS)}")
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    # The eigenvalues of NaN raise an error that says nothing of layers.
    finite = gram.isfinite().all()
    # Rounding can make an eigenvalue near zero negative, and that has no root.
    largest = torch.linalg.eigvalsh(torch.where(finite, gram, 0.0))[-1].clamp(min=0.0)
    return torch.where(finite, largest.sqrt(), torch.nan)


def noise_to_signal(
    clean: States, adversarial: States, norm: Norm = "frobenius", means: States | None = None
) -> list[float]:
    """Noise-to-signal ratio of every layer for one pair of utterances.

    Args:
        clean: states of the original, one (F, D) per layer, the input first.
        adversarial: states of the adversarial utterance, of the same shapes.
        norm: of the matrices.
        means: state (D,) of each layer to subtract from the signal, see `MeanStates`. It
            cancels out in the noise.

    Raises:
        ValueError: shapes or numbers of layers differ, the states of a layer are all zero,
            or one is not a finite number.

    Example:
        >>> noise_to_signal([torch.tensor([[3.0, 4.0]])], [torch.tensor([[3.0, 3.0]])])
        [0.2]
    """
    if len(clean) != len(adversarial):
        raise ValueError(f"{len(clean)} layers of the original, {len(adversarial)} adversarial")
    for layer, (c, a) in enumerate(zip(clean, adversarial, strict=True)):
        if c.shape != a.shape or c.ndim != 2:
            raise ValueError(f"layer {layer}: states of {tuple(c.shape)} and {tuple(a.shape)}")
    if means is not None and len(means) != len(clean):
        raise ValueError(f"{len(clean)} layers, but {len(means)} mean states")
    noise = [(a.double() - c.double()) for c, a in zip(clean, adversarial, strict=True)]
    signal = [c.double() if means is None else c.double() - means[i] for i, c in enumerate(clean)]
    # All layers at once: each transfer from the device waits for what was queued.
    norms = torch.stack([matrix_norm(matrix, norm) for matrix in (*noise, *signal)]).tolist()
    pairs = list(zip(norms[: len(clean)], norms[len(clean) :], strict=True))
    for layer, (of_noise, of_signal) in enumerate(pairs):
        if not math.isfinite(of_noise + of_signal):
            raise ValueError(f"layer {layer}: a state is not a finite number")
        if of_signal == 0.0:
            raise ValueError(f"layer {layer}: all states are zero, the ratio is not defined")
    return [of_noise / of_signal for of_noise, of_signal in pairs]


class MeanStates:
    """Mean state of each layer over all frames of a data set, one utterance at a time.

    Example:
        >>> means = MeanStates()
        >>> means.add([torch.tensor([[1.0, 2.0], [3.0, 4.0]])])
        >>> means.result()[0].tolist()
        [2.0, 3.0]
    """

    def __init__(self) -> None:
        self._sums: list[torch.Tensor] = []
        self._frames: list[int] = []

    def add(self, states: States) -> None:
        """Take in the states of an utterance, one (F, D) per layer; only their sums are kept.

        Raises:
            ValueError: the number of layers changes.
        """
        # In double precision: a data set may have millions of frames.
        sums = [layer.double().sum(dim=0) for layer in states]
        if self._sums and len(sums) != len(self._sums):
            raise ValueError(f"{len(sums)} layers after utterances of {len(self._sums)}")
        before = self._sums or [torch.zeros_like(layer) for layer in sums]
        self._sums = [a + b for a, b in zip(before, sums, strict=True)]
        # A model that stacks frames has fewer states than frames.
        frames = self._frames or [0] * len(states)
        self._frames = [count + len(layer) for count, layer in zip(frames, states, strict=True)]

    def result(self) -> list[torch.Tensor]:
        """Mean state (D,) of each layer, in double precision.

        Raises:
            ValueError: nothing was added.
        """
        if not self._frames:
            raise ValueError("a mean state needs at least one utterance")
        return [layer / count for layer, count in zip(self._sums, self._frames, strict=True)]


class LNSR:
    """Layerwise noise-to-signal ratio over a data set, one pair of utterances at a time.

    Keeps one number per pair and layer, never the states.

    Example:
        >>> lnsr = LNSR()
        >>> lnsr.add([torch.tensor([[2.0]])], [torch.tensor([[1.0]])])
        >>> lnsr.add([torch.tensor([[2.0]])], [torch.tensor([[4.0]])])
        >>> lnsr.result()[0]
        LayerRatio(mean=0.75, total=1.5)
    """

    def __init__(self, norm: Norm = "frobenius", means: States | None = None) -> None:
        """See `noise_to_signal` for the options."""
        if norm not in NORMS:
            raise ValueError(f"norm '{norm}'; known are {', '.join(NORMS)}")
        self.norm = norm
        self.means = means
        self._ratios: list[list[float]] = []

    def add(self, clean: States, adversarial: States) -> None:
        """Take in a pair, see `noise_to_signal`.

        Raises:
            ValueError: see `noise_to_signal`, or the number of layers changes.
        """
        ratios = noise_to_signal(clean, adversarial, self.norm, self.means)
        if self._ratios and len(ratios) != len(self._ratios[0]):
            raise ValueError(f"{len(ratios)} layers after pairs of {len(self._ratios[0])}")
        self._ratios.append(ratios)

    def result(self) -> list[LayerRatio]:
        """LNSR of every layer, the input first.

        Raises:
            ValueError: nothing was added.
        """
        if not self._ratios:
            raise ValueError("the ratio needs at least one pair of utterances")
        count = len(self._ratios)
        totals = [float(sum(layer)) for layer in zip(*self._ratios, strict=True)]
        return [LayerRatio(total / count, total) for total in totals]


def same_norm_noise(
    clean: torch.Tensor, adversarial: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The clean input under random signs of the same L2 norm as the adversarial noise.

    The control of every LNSR: what a network does to it, it does to any noise.

    Args:
        clean: input (F, D).
        adversarial: input (F, D).
        generator: of the signs, on the device of `clean`.

    Returns:
        (F, D).
    """
    draws = torch.rand(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    # Signs of one size have the wanted norm exactly, without a second pass.
    size = (adversarial - clean).norm() / clean.numel() ** 0.5
    return clean + torch.where(draws < 0.5, -size, size)
