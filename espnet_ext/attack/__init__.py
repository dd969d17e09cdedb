"""Attacks on speech models, through the Adversarial Robustness Toolbox (ART)."""
