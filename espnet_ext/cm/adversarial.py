"""Adversarial training of countermeasures: the defence that others are compared with.

Goodfellow, Shlens and Szegedy (2015), section 6, train on clean and attacked inputs; Madry et al.
(2018) make these with PGD. Wu et al. (2020), "Defense against adversarial attacks on spoofing
countermeasures of ASV", do so for countermeasures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import zero_padding


@dataclass(frozen=True)
class AdversarialOptions:
    """How utterances are attacked while a countermeasure is trained.

    Args:
        eps: largest change of a feature, in the units of the normalised features; 0 for none.
            `eps_raw` in the `attack.json` of an attack gives its ε in these units.
        steps: steps of PGD from a random point of the ball; 1 is FGSM from there (Wong, Rice,
            Kolter 2020).
        alpha: length of a step, as a multiple of eps.
        share: share of the utterances that is attacked; the others are seen clean.
        warmup: training batches over which eps grows from zero. Attacked at full size from the
            start, a countermeasure may never leave chance (Wu et al. 2020 train on clean features
            first).

    Raises:
        InputError: a number is out of its range.
    """

    eps: float = 0.0
    steps: int = 1
    alpha: float = 1.25
    share: float = 0.5
    warmup: int = 0

    def __post_init__(self) -> None:
        least = min(self.eps, self.steps - 1, self.warmup)
        if least < 0 or self.alpha <= 0 or not 0 < self.share <= 1:
            raise InputError(
                f"adversarial: {self}; eps and warmup must be at least 0, steps at least 1, alpha "
                "positive, share above 0 and at most 1"
            )

    def attacked(
        self,
        feats: torch.Tensor,
        lengths: torch.Tensor,
        loss: Callable[[torch.Tensor], torch.Tensor],
        updates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attack the features of some utterances of a batch.

        What the model draws at random (crops, dropout) is the same in every step, and again the
        same when the caller then runs the model. The parameters of the model get no gradient.

        Args:
            feats: (B, F, D).
            lengths: (B,) frames.
            loss: function from features (B, F, D) to the loss of the batch, which is increased.
            updates: number of training batches so far; None where the warm-up is over.

        Returns:
            (B, F, D); the padding is unchanged.

        Example:
            >>> options = AdversarialOptions(eps=0.1, share=1.0)
            >>> x = torch.zeros(1, 2, 1)
            >>> options.attacked(x, torch.tensor([1]), lambda feats: feats.sum()).flatten()
            tensor([0.1000, 0.0000])
        """
        if not self.eps:
            return feats
        # Radius of the ball of each utterance, zero where the utterance stays clean.
        size = self.eps * (torch.rand(len(feats), 1, 1, device=feats.device) < self.share)
        if updates is not None and self.warmup:
            size = size * (updates / self.warmup).clamp(max=1.0)
        # PGD and one-step FGSM both begin at a random point: without it, training on FGSM may do no
        # more than hide the gradient at the clean point (Wong, Rice, Kolter 2020).
        change = zero_padding((2.0 * torch.rand_like(feats) - 1.0) * size, lengths)
        for _ in range(self.steps):
            change.requires_grad_()
            # With no argument, `fork_rng` would save the generators of all GPUs.
            devices = [feats.device] if feats.is_cuda else []
            with torch.enable_grad(), torch.random.fork_rng(devices):
                # With regard to the change alone: `backward` would also add to the gradients of the
                # parameters.
                (gradient,) = torch.autograd.grad(loss(feats + change), change)
            moved = change.detach() + self.alpha * size * gradient.sign()
            # Features have no range of their own, so nothing but the ball limits the change.
            change = zero_padding(moved.clamp(-size, size), lengths)
        return feats + change
