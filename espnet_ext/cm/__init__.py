"""Countermeasures: models that tell bona fide speech from spoofed speech."""

CLASSES = ("spoof", "bonafide")
"""Names of the classes; the position is the id, as in the protocols of ASVspoof."""
