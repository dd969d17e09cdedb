"""Acoustic front ends: differentiable to the waveform, the same for an utterance in any batch."""
