"""Functions of one array, value by value."""

from __future__ import annotations

__all__: list[str] = []
