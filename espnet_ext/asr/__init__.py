"""Speech recognition: the multi-task model, its losses, and greedy decoding."""

from espnet_ext import compat  # noqa: F401  before ESPnet, see there
