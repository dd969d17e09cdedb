"""Attacks on speech models, through the Adversarial Robustness Toolbox (ART).

Example:
    >>> from espnet_ext.attack import ProjectedGradientDescentASR, PyTorchESPnet
    >>> estimator = PyTorchESPnet(recognizer, ctc_weight=0.3)            # doctest: +SKIP
    >>> ProjectedGradientDescentASR(estimator, snr=35).generate(x, y)    # doctest: +SKIP
    >>> from espnet_ext.attack import LinfPGD, PyTorchCountermeasure
    >>> estimator = PyTorchCountermeasure(countermeasure)                # doctest: +SKIP
    >>> LinfPGD(estimator, eps=0.1, steps=50).generate(feats, labels)    # doctest: +SKIP
"""

import importlib
from typing import Any

_PUBLIC = {
    "AutoPGD": "art_attacks",
    "Budget": "budget",
    "InputBatch": "linf",
    "LinfPGD": "linf",
    "ProjectedGradientDescentASR": "pgd",
    "PyTorchCountermeasure": "countermeasure",
    "PyTorchESPnet": "estimator",
    "RandomSigns": "linf",
    "Square": "art_attacks",
    "TransferRun": "transfer",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    # On first use: choosing targets must not wait for PyTorch and ART.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
