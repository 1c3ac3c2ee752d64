"""Nested structures of lists, tuples and dicts under Keras's names."""

from torchkeras._core.tree import flatten, is_nested, map_structure

__all__ = ["flatten", "is_nested", "map_structure"]
