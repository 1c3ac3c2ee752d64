"""Preparation of data, under the names that older scripts use."""

from torchkeras.preprocessing import sequence

__all__ = ["sequence"]
