"""Colors, filters and measures of images."""

from __future__ import annotations

__all__: list[str] = []
