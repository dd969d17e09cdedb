#!/usr/bin/env python3
"""Time of an attack step on an LCNN: a bare loop, the project's PGD, and ART's, in one run."""

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescent
from common import compare, get_parser, ratio, say, show, verdict

from espnet_ext.attack import Budget, Evasion, Pgd, PyTorchCountermeasure
from espnet_ext.cm.lcnn import SMALL
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.tasks.countermeasure import CountermeasureTask

STEPS, EPS = 10, 0.1
SHAPE = (8, 240, 160)


def countermeasure(device: str) -> CountermeasureModel:
    """A random LCNN of the small configuration, on 240 frames of mel-160 with A-softmax."""
    torch.manual_seed(0)
    arguments = CountermeasureTask.get_parser().parse_args([])
    arguments.encoder, arguments.encoder_conf = "lcnn", {"channels": list(SMALL)}
    arguments.cm_loss, arguments.segment_conf = "asoftmax", {"num_frames": SHAPE[1]}
    return CountermeasureTask.build_model(arguments).to(device).eval()


def bare_loop(model: CountermeasureModel, x: np.ndarray, y: np.ndarray, device: str) -> None:
    """The least that a step can be: forward, gradient to the features, step, projection."""
    original = torch.from_numpy(x).to(device)
    labels = torch.from_numpy(y).to(device)
    lengths = torch.full((len(x),), x.shape[1], device=device)
    adversarial = original.clone()
    for _ in range(STEPS):
        adversarial.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model.logits(adversarial, lengths), labels)
        (gradient,) = torch.autograd.grad(loss, adversarial)
        with torch.no_grad():
            moved = adversarial + 0.25 * EPS * gradient.sign()
            adversarial = original + (moved - original).clamp(-EPS, EPS)
    adversarial.cpu()


def main() -> None:
    args = get_parser(__doc__).parse_args()
    model = countermeasure(args.device).requires_grad_(False)
    generator = np.random.default_rng(0)
    x = generator.standard_normal(SHAPE).astype(np.float32)
    y = np.arange(len(x)) % 2
    estimator = PyTorchCountermeasure(model, SHAPE[1:])
    ours, best = (
        Evasion(
            estimator,
            Pgd(steps=(STEPS,), alpha=0.25, schedule="constant", start="clean", best=keep),
            Budget(np.inf, EPS),
            len(x),
        )
        for keep in (False, True)
    )
    art = ProjectedGradientDescent(
        estimator, norm=np.inf, eps=EPS, eps_step=0.25 * EPS, max_iter=STEPS, verbose=False
    )
    seconds = compare(
        {
            "bare loop": lambda: bare_loop(model, x, y, args.device),
            "engine": lambda: ours.generate(x, y),
            "engine, best": lambda: best.generate(x, y),
            "ART": lambda: art.generate(x, y),
        },
        args.repeats,
        args.device,
    )
    print(f"LCNN, {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]}, a step ({STEPS} in a run), {args.device}:")
    show(seconds, unit=STEPS)
    verdict("engine / bare loop", ratio(seconds, "engine", "bare loop"), 1.1)
    verdict("the same, best step kept", ratio(seconds, "engine, best", "bare loop"), 1.1)
    say("ART / bare loop", ratio(seconds, "ART", "bare loop"))
    difference = np.abs(ours.generate(x, y) - art.generate(x, y)).max()
    say("largest difference to ART's iterates", float(difference))


if __name__ == "__main__":
    main()
