"""Spatial smoothing of spectrograms: median, mean and Gaussian filters.

The arithmetic is PyTorch's own (`median`, `conv2d`). The filters of libraries do not fit:
those of torchvision and kornia pad the batch and not the utterance, so that zeros of the
padding get into its last frames, and refuse utterances shorter than the window; SciPy's and
those of ART, which call SciPy, have no gradient. The tests compare with SciPy.
"""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch.autograd.function import FunctionCtx

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, zero_padding

FILTERS = ("median", "mean", "gaussian")
SIZES = (3, 5, 7)


class SmoothingFilter(torch.nn.Module):
    """Filter features over a square of frames and dimensions, one of the paper's defences.

    Wu, Liu, Lee (2020), section 4.3. The square is reflected at the first and last frame of
    the utterance and at the first and last dimension, without repeating the edge: `mode=
    "mirror"` of SciPy, "reflect" of PyTorch. (SciPy's "reflect", the default of ART's
    `SpatialSmoothing`, repeats it.) The paper names neither sizes nor padding.

    The mean and the Gaussian are linear; the gradient of the median goes to the element
    that was chosen. See `straight_through` for the attacker who does not trust the latter.

    Args:
        input_size: D.
        kind: "median", "mean" or "gaussian".
        size: side of the square: 3, 5 or 7.
        sigma: standard deviation of the Gaussian in frames and dimensions; it is cut off at the
            square and normalised to a sum of one. The other kinds ignore it.
        blocks: number of equal blocks of dimensions that are filtered separately, e.g. 2 for
            static features followed by their deltas. With 1, as the paper has it as far as is
            known, the last static dimensions and the first deltas are blended.

    Raises:
        InputError: an argument has none of these values.

    Example:
        >>> smooth = SmoothingFilter(input_size=80, kind="gaussian", size=5)
        >>> feats, lengths = smooth(torch.randn(2, 100, 80), torch.tensor([100, 70]))
        >>> feats.shape
        torch.Size([2, 100, 80])
    """

    kernel: torch.Tensor

    def __init__(
        self,
        input_size: int,
        kind: str = "median",
        size: int = 3,
        sigma: float = 1.0,
        blocks: int = 1,
    ):
        super().__init__()
        if kind not in FILTERS:
            raise InputError(f"filter kind '{kind}'; choose one of {', '.join(FILTERS)}")
        if size not in SIZES:
            raise InputError(f"filter size {size}; choose 3, 5 or 7")
        if not sigma > 0.0:
            raise InputError(f"sigma of a Gaussian filter must be positive, not {sigma}")
        if blocks < 1 or input_size % blocks:
            raise InputError(
                f"{input_size} dimensions cannot be divided into {blocks} equal blocks"
            )
        self.input_size, self.kind, self.size, self.blocks = input_size, kind, size, blocks
        self.straight_through = False
        kernel = torch.full((size,), 1.0 / size)  # weights of one axis, with a sum of one
        if kind == "gaussian":
            # A softmax of the exponents is the Gaussian, cut off and normalised.
            kernel = torch.softmax(-0.5 * ((torch.arange(size) - size // 2) / sigma) ** 2, dim=0)
        # Not saved: the same weights may be loaded with and without a filter before them.
        self.register_buffer("kernel", kernel, persistent=False)

    def output_size(self) -> int:
        """Dimensions of the filtered features: D."""
        return self.input_size

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"kind={self.kind}, size={self.size}, blocks={self.blocks}"

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """Filter each utterance as if it were alone.

        Args:
            feats: (B, F, D).
            lengths: (B,), frames of each utterance, at least 1.

        Returns:
            filtered features (B, F, D), zero in the padding, and `lengths`.
        """
        # (B, F, D) to (B * blocks, F, D / blocks)
        apart = feats.unflatten(2, (self.blocks, -1)).transpose(1, 2).flatten(0, 1)
        padded = mirror_pad(apart, lengths.repeat_interleave(self.blocks), self.size // 2)
        if self.kind == "median":
            windows = padded.unfold(1, self.size, 1).unfold(2, self.size, 1)
            # A square of odd size has one middle element. Of two, PyTorch would take the lower one.
            smooth = windows.flatten(-2).median(dim=-1).values
        else:  # a column and a row in turn: both kernels are products of two
            kernel = self.kernel.to(padded.dtype)
            over_frames = F.conv2d(padded.unsqueeze(1), kernel.view(1, 1, -1, 1))
            smooth = F.conv2d(over_frames, kernel.view(1, 1, 1, -1)).squeeze(1)
        smooth = smooth.unflatten(0, (-1, self.blocks)).transpose(1, 2).reshape(feats.shape)
        if self.straight_through:
            smooth = IdentityGradient.apply(feats, smooth)
        return zero_padding(smooth, lengths), lengths


def mirror_pad(feats: torch.Tensor, lengths: torch.Tensor, reach: int) -> torch.Tensor:
    """Extend each utterance by its own reflection, in frames and in dimensions.

    Args:
        feats: (B, F, D).
        lengths: (B,). An utterance shorter than `reach` is reflected again and again.
        reach: frames and dimensions on each side.

    Returns:
        (B, F + 2 reach, D + 2 reach); what follows an utterance's own extension is undefined.

    Example:
        >>> mirror_pad(torch.tensor([[[1.0], [2.0], [3.0], [0.0]]]), torch.tensor([3]), 1)[0, :, 1]
        tensor([2., 1., 2., 3., 2., 1.])
    """
    batch, frames, dims = feats.shape
    # By indices of each row: `pad` would reflect at the end of the batch, not of the utterance.
    rows = _mirrored(frames, lengths.to(feats.device).unsqueeze(1), reach)
    count = torch.full((), dims, device=feats.device)  # no transfer, unlike torch.tensor
    columns = _mirrored(dims, count, reach)
    taken = feats.gather(1, rows.unsqueeze(-1).expand(batch, -1, dims))
    return taken.index_select(2, columns)


def _mirrored(size: int, count: torch.Tensor, reach: int) -> torch.Tensor:
    """Positions -reach ... size + reach - 1, reflected into 0 ... count - 1."""
    # Of one frame there is no reflection; it is repeated.
    period = (2 * (count - 1)).clamp(min=1)
    place = torch.arange(-reach, size + reach, device=count.device).remainder(period)
    return torch.minimum(place, period - place)


class IdentityGradient(torch.autograd.Function):
    """The second argument, with a gradient as if it were the first.

    Example:
        >>> x = torch.tensor([1.0], requires_grad=True)
        >>> IdentityGradient.apply(x, torch.round(x)).sum().backward()
        >>> x.grad
        tensor([1.])
    """

    @staticmethod
    def forward(ctx: FunctionCtx, feats: torch.Tensor, smooth: torch.Tensor) -> torch.Tensor:
        """`smooth`, as it is."""
        return smooth.view_as(smooth)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient goes to `feats`."""
        return gradient, None


@contextlib.contextmanager
def straight_through(model: torch.nn.Module) -> Iterator[None]:
    """Inside the block, filters of `model` pass gradients on as if they did nothing.

    Backward pass differentiable approximation (Athalye, Carlini, Wagner 2018, section 4.1)
    with the identity: for the adaptive attack of the median filter, whose own gradient is
    zero for all but one element of the square. The output is not changed.

    Args:
        model: may hold any number of `SmoothingFilter`.

    Example:
        >>> with straight_through(model):                              # doctest: +SKIP
        ...     attack.generate(x, y)
    """
    filters = [m for m in model.modules() if isinstance(m, SmoothingFilter)]
    before = [f.straight_through for f in filters]
    try:
        for smoothing in filters:
            smoothing.straight_through = True
        yield
    finally:
        # Blocks may be nested: what was set before the outer one must come back.
        for smoothing, value in zip(filters, before, strict=True):
            smoothing.straight_through = value
