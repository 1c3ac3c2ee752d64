"""Arrays joined, split, reshaped, turned, padded, repeated."""

from __future__ import annotations

__all__: list[str] = []
