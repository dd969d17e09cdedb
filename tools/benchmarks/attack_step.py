#!/usr/bin/env python3
"""Time of an attack step: a bare loop, the engine, and ART on three estimators, in one run."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescent
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

from espnet_ext.asr.losses import evaluation_mode
from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.waveforms import pad
from espnet_ext.attack import PyTorchESPnet
from espnet_ext.precision import fast_in_half

STEPS = 10
HALF = "engine, bfloat16 gradients"


class EspressoStyle(PyTorchESPnet):
    """How ART's own speech estimators take gradients: with those of all parameters.

    As `PyTorchEspresso` does: training mode with BatchNorm frozen, a full backward pass
    whose parameter gradients are never cleared, padding and tokenising anew at each call.
    """

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """Gradient of the batch loss with respect to `x`."""
        model = self.recognizer.model
        model.train()
        self.set_frozen_norms()
        batch, lengths = pad(list(x), self.device)
        batch.requires_grad_()
        ids = [self.recognizer.text.encode(str(text)) for text in y]
        text, text_lengths = self._pad_text(ids)
        loss, _, _ = model(batch, lengths, text, text_lengths)
        loss.backward()
        return batch.grad.cpu().numpy()

    def set_frozen_norms(self) -> None:
        """Evaluation mode for BatchNorm alone."""
        for module in self.recognizer.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()

    def _pad_text(self, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [torch.tensor(row) for row in ids]
        text = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        return text.to(self.device), torch.tensor([len(r) for r in rows], device=self.device)


def bare_loop(
    estimator: PyTorchESPnet, x: Sequence[np.ndarray], y: Sequence[str], steps: int = STEPS
) -> torch.Tensor:
    """The least that a step can be: forward, gradient to the waveform, step, projection."""
    original, lengths = pad(list(x), estimator.device)
    adversarial = original.clone()
    with evaluation_mode(estimator.recognizer.model):
        targets = estimator.targets(list(y))
        for _ in range(steps):
            adversarial.requires_grad_()
            loss = estimator.utterance_losses(adversarial, lengths, targets).total.sum()
            (gradient,) = torch.autograd.grad(loss, adversarial)
            with torch.no_grad():
                step = 0.05 * gradient / gradient.norm(dim=-1, keepdim=True)
                delta = (adversarial - step).clamp(-1, 1) - original
                scale = (2.0 / delta.norm(dim=-1, keepdim=True)).clamp(max=1.0)
                adversarial = original + delta * scale
    return adversarial


def art(estimator: PyTorchESPnet, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ART's PGD with the same settings."""
    attack = ProjectedGradientDescent(
        estimator, norm=2, eps=2.0, eps_step=0.05, max_iter=STEPS, targeted=True, verbose=False
    )
    return attack.generate(x, y)


def main() -> None:
    """Print times and ratios."""
    args = get_parser(__doc__).parse_args()
    loaded: SpeechRecognizer = recognizer(args.device)
    x, y = np.stack(speech(4, 4, 4, 4)), transcripts(4)
    lean, espresso = PyTorchESPnet(loaded, 0.3), EspressoStyle(loaded, 0.3)
    engine = paper_attack(lean, STEPS)
    cases: dict[str, Callable[[], object]] = {
        "bare loop": lambda: bare_loop(lean, x, y),
        "engine": lambda: engine.generate(x, y),
        "ART, this project's estimator": lambda: art(lean, x, y),
        "ART, Espresso-style estimator": lambda: art(espresso, x, y),
    }
    if fast_in_half(lean.device):
        mixed = paper_attack(PyTorchESPnet(loaded, 0.3, autocast="bfloat16"), STEPS)
        cases[HALF] = lambda: mixed.generate(x, y)
    else:
        print("bfloat16 is left out: this CPU has neither AMX nor AVX512-BF16 and takes minutes")
    seconds = compare(cases, args.repeats, args.device)
    print(f"4 x 4 s, a step ({STEPS} in a run), {args.device}:")
    show(seconds, unit=STEPS)
    if HALF in cases:
        say("bfloat16 gradients / full precision", ratio(seconds, HALF, "engine"))
    verdict("engine / bare loop", ratio(seconds, "engine", "bare loop"), 1.05)
    slow = ratio(seconds, "ART, Espresso-style estimator", "engine")
    verdict("ART, Espresso-style estimator / engine", slow, 1.4, at_most=False)


if __name__ == "__main__":
    main()
