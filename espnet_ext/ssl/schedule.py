"""The learning rate of BERT and Mockingjay."""

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from torch.optim.lr_scheduler import LRScheduler

from espnet_ext.errors import InputError


class LinearWarmupDecayLR(LRScheduler, AbsBatchStepScheduler):
    """Linear from 0 to `lr` of the optimiser, then linear to 0 (Liu et al. 2020, section 3.1).

    ESPnet's schedulers have no such shape; PyTorch's OneCycleLR has it, but stops
    the training with an error when there is one step more than was planned.

    Args:
        optimizer: set by ESPnet.
        total_steps: updates of the whole training; the rate is 0 afterwards.
        warmup: share of them in which the rate rises.
        last_epoch: set by ESPnet.

    Raises:
        InputError: no steps, or a share outside 0 to 1.

    Example:
        In a YAML::

            scheduler: linearwarmupdecaylr
            scheduler_conf:
                total_steps: 500000
                warmup: 0.07
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        total_steps: int = 500000,
        warmup: float = 0.07,
        last_epoch: int = -1,
    ):
        if total_steps < 1 or not 0.0 <= warmup < 1.0:
            raise InputError(
                f"scheduler_conf: total_steps {total_steps} must be positive and warmup {warmup} "
                "a share of them"
            )
        self.total_steps = total_steps
        self.warmup_steps = warmup * total_steps
        super().__init__(optimizer, last_epoch)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(total_steps={self.total_steps}, "
            f"warmup_steps={self.warmup_steps:g})"
        )

    def get_lr(self) -> list[float]:
        """Rates of the next update."""
        # The first update has a rate above 0. BertAdam's has 0: there, the warm-up is one update
        # later.
        step = self.last_epoch + 1
        rising = step / max(self.warmup_steps, 1.0)
        # Computed from the step alone, not from the rate before, so a training that goes on has the
        # same rates.
        falling = (self.total_steps - step + 1) / max(self.total_steps - self.warmup_steps, 1.0)
        return [lr * max(min(rising, falling, 1.0), 0.0) for lr in self.base_lrs]
