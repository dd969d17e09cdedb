"""Attacks on speech models, through the Adversarial Robustness Toolbox (ART).

Example:
    >>> from espnet_ext.attack import ProjectedGradientDescentASR, PyTorchESPnet
    >>> estimator = PyTorchESPnet(recognizer, ctc_weight=0.3)            # doctest: +SKIP
    >>> ProjectedGradientDescentASR(estimator, snr=35).generate(x, y)    # doctest: +SKIP
"""

import importlib
from typing import Any

_PUBLIC = {
    "Budget": "budget",
    "ProjectedGradientDescentASR": "pgd",
    "PyTorchESPnet": "estimator",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    # On first use: choosing targets must not wait for PyTorch and ART.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
