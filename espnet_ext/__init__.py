"""Attack, defend and measure ESPnet2 speech models.

The package is imported by every command, `--help` included, so this module
imports nothing heavy.
"""

__version__ = "0.1.0"
