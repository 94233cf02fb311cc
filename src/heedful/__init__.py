"""Heedful: language models that heed human feedback."""

__version__ = "0.1.0"
