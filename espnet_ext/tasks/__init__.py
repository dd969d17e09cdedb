"""ESPnet tasks: what can be configured, which data a model needs, and how it is loaded."""

from espnet_ext import compat  # noqa: F401  before ESPnet, see there
