"""Sequences of unequal length; `torchkeras.utils` has the same function."""

from torchkeras.utils.sequences import pad_sequences

__all__ = ["pad_sequences"]
