"""Nested structures of lists, tuples and dicts: torch's pytrees behind one door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils import _pytree


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a nested structure, in order.

    Example:
        >>> flatten({"a": 1, "b": [2, (3,)]})
        [1, 2, 3]
    """
    if not is_nested(structure):  # the common case, without the walk
        return [structure]
    return _pytree.tree_leaves(structure)


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """Apply `func` to the corresponding leaves of structures of one shape.

    Example:
        >>> map_structure(lambda a, b: a + b, [1, (2,)], [10, (20,)])
        [11, (22,)]
    """
    if not is_nested(structures[0]):
        return func(*structures)
    return _pytree.tree_map(func, *structures)


def is_nested(structure: Any) -> bool:
    """Say whether a value is a list, a tuple or a dict.

    Example:
        >>> is_nested([1]), is_nested(1)
        (True, False)
    """
    return isinstance(structure, (list, tuple, dict))
