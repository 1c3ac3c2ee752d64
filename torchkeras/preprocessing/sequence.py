"""Sequences of unequal length; `torchkeras.utils` has the same function."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.utils.sequences import pad_sequences

__all__ = ["pad_sequences"]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
