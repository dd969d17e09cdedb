"""Kaldi data directories, audio, and files that are whole or absent."""
