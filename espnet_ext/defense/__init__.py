"""Defences of countermeasures: modules between the features and the encoder.

A defence takes features (B, F, D) with their lengths (B,) and returns features of
`output_size()` dimensions with theirs. It is part of the model: it is saved with the model, and an
attacker who knows the model knows the defence.

Example:
    >>> from espnet_ext.defense import SmoothingFilter
    >>> SmoothingFilter(input_size=160, kind="median", size=3).output_size()
    160
"""

import importlib

_PUBLIC = {
    "MockingjayDefense": "mockingjay",
    "SmoothingFilter": "filters",
    "straight_through": "filters",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    # On first use: a filter needs nothing of ESPnet.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
