"""Sums, means, extremes and other reductions, cumulative ones too."""

from __future__ import annotations

__all__: list[str] = []
