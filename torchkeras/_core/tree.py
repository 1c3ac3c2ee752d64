"""Nested structures of lists, tuples and dicts: torch's pytrees behind one door."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils import _pytree

# For the public `tree`, which takes all that torch knows as a structure.
MappingKey = _pytree.MappingKey
tree_flatten_with_path = _pytree.tree_flatten_with_path
tree_is_leaf = _pytree.tree_is_leaf
tree_map = _pytree.tree_map
tree_map_ = _pytree.tree_map_
tree_structure = _pytree.tree_structure
tree_unflatten = _pytree.tree_unflatten


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a nested structure, in order.

    Example:
        >>> flatten({"a": 1, "b": [2, (3,)]})
        [1, 2, 3]
    """
    if not is_nested(structure):  # the common case, without the walk
        return [structure]
    try:
        return _pytree.tree_leaves(structure)
    except RecursionError as error:
        raise explained(error, structure) from None


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """Apply `func` to the corresponding leaves of structures of one shape.

    Example:
        >>> map_structure(lambda a, b: a + b, [1, (2,)], [10, (20,)])
        [11, (22,)]
    """
    if not is_nested(structures[0]):
        return func(*structures)
    try:
        return _pytree.tree_map(func, *structures)
    except RecursionError as error:
        raise explained(error, structures) from None


def pack_sequence_as(structure: Any, leaves: Iterable[Any]) -> Any:
    """Put leaves, in the order of `flatten`, into the shape of a structure.

    Raises:
        ValueError: when their number is not that of the structure's leaves.

    Example:
        >>> pack_sequence_as({"b": 0, "a": (0, 0)}, [1, 2, 3])
        {'b': 1, 'a': (2, 3)}
    """
    return _pytree.tree_unflatten(list(leaves), _pytree.tree_structure(structure))


def flatten_with_structure(structure: Any) -> tuple[list[Any], Any]:
    """Return the leaves, and what `unflatten` puts leaves back by.

    Example:
        >>> leaves, made_of = flatten_with_structure([1, {"a": 2}])
        >>> unflatten([leaf + 1 for leaf in leaves], made_of)
        [2, {'a': 3}]
    """
    try:
        return _pytree.tree_flatten(structure)
    except RecursionError as error:
        raise explained(error, structure) from None


def unflatten(leaves: list[Any], structure: Any) -> Any:
    """Put leaves into the structure that `flatten_with_structure` returned."""
    return _pytree.tree_unflatten(leaves, structure)


def flatten_with_path(structure: Any) -> list[tuple[Any, Any]]:
    """Return the leaves, each after the keys and positions that lead to it."""
    return _pytree.tree_flatten_with_path(structure)[0]


def mappings_in(structure: Any) -> Iterator[dict[str, Any]]:
    """Yield the dicts in a structure, at any depth.

    Example:
        >>> list(mappings_in([1, {"a": ({"b": 2},)}]))
        [{'a': ({'b': 2},)}, {'b': 2}]
    """
    waiting = [structure]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)


def is_nested(structure: Any) -> bool:
    """Say whether a value is a list, a tuple or a dict.

    Example:
        >>> is_nested([1]), is_nested(1)
        (True, False)
    """
    return isinstance(structure, (list, tuple, dict))


def explained(error: RecursionError, structure: Any) -> Exception:
    """Return an error that says so if the structure was too deep to walk through."""
    level = [structure]
    for _ in range(200):
        level = [part for part in level if is_nested(part) and part][:1_000]
        level = [
            item
            for part in level
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return error
    return ValueError(
        "A structure of lists, tuples and dicts is nested too deep, or holds itself. "
        "Turn lists of numbers into an array: `np.asarray(x)`."
    )
