"""Loaded models as attacks see them: one protocol, one file a kind of model."""
