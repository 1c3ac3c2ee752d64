"""Images moved by affine, perspective and elastic maps."""

from __future__ import annotations

__all__: list[str] = []
