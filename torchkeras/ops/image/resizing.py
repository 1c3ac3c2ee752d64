"""Images resized, cropped, padded, cut into patches."""

from __future__ import annotations

__all__: list[str] = []
