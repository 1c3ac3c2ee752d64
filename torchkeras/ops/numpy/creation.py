"""New arrays: constants, ranges, windows, grids."""

from __future__ import annotations

__all__: list[str] = []
