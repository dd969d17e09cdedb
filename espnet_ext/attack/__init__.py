"""Attacks on speech models, through the Adversarial Robustness Toolbox (ART).

Example:
    >>> from espnet_ext.attack import Budget, Evasion, Pgd, PyTorchESPnet
    >>> estimator = PyTorchESPnet(recognizer, ctc_weight=0.3)            # doctest: +SKIP
    >>> attack = Evasion(estimator, Pgd(steps=100), Budget(2, 35, "snr"))    # doctest: +SKIP
    >>> attack.generate(waveforms, transcripts)                          # doctest: +SKIP
"""

import importlib
from typing import Any

_PUBLIC = {
    "AttackRun": "attack.run",
    "Budget": "attack.budget",
    "Evasion": "attack.evasion",
    "Fgsm": "attack.methods.fgsm",
    "Noise": "attack.methods.noise",
    "Pgd": "attack.methods.pgd",
    "PyTorchCountermeasure": "victims.countermeasure",
    "PyTorchESPnet": "victims.recognizer",
    "register": "attack.methods",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    # On first use: choosing targets must not wait for PyTorch and ART.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"espnet_ext.{_PUBLIC[name]}"), name)
