"""Nested structures of lists, tuples and dicts under Keras's names.

Plain dicts are walked in the order of their sorted keys, as in Keras, whereas the
functions of `torchkeras._core.tree` walk them in the order of insertion. Whatever the
pytrees of torch know is nested: named tuples, deques and registered classes as well.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from torchkeras._core import tree as pytrees
from torchkeras._core.errors import describe, invalid_argument
from torchkeras._core.missing import explain_missing

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]

Path = tuple[Any, ...]


class MAP_TO_NONE:  # noqa: N801 - Keras's name
    """What the function given to `traverse` returns to put None into the result."""


def is_nested(structure: Any) -> bool:
    """Say whether a value is a list, a tuple, a dict or another container of values.

    Example:
        >>> is_nested({"a": 1}), is_nested(1), is_nested(None)
        (True, False, False)
    """
    return not pytrees.tree_is_leaf(structure)


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a structure; those of a plain dict by its sorted keys.

    Args:
        structure: the structure. None is a leaf. An `OrderedDict` keeps its order.

    Example:
        >>> flatten({"b": [2, (3,)], "a": 1})
        [1, 2, 3]
    """
    return [leaf for _, leaf in _walk(structure)]


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """Return pairs of a path and a leaf, in the order of `flatten`.

    Returns:
        A path is a tuple of keys of dicts and indices into all else, named tuples too.

    Example:
        >>> flatten_with_path([{"a": 42}, 7])
        [((0, 'a'), 42), ((1,), 7)]
    """
    return list(_walk(structure))


def map_structure(
    func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True
) -> Any:
    """Apply a function to the corresponding leaves of structures of one shape.

    Args:
        func: takes one leaf of each structure.
        *structures: the structures.
        none_is_leaf: whether `func` is called on None; otherwise None stays None.

    Raises:
        TypeError: when `func` is not callable.
        ValueError: when the structures differ, or there is none.

    Example:
        >>> map_structure(lambda a, b: a + b, {"x": 1, "y": [2]}, {"y": [20], "x": 10})
        {'x': 11, 'y': [22]}
    """
    first = _first("map_structure", func, structures)
    for other in structures[1:]:
        assert_same_structure(first, other)

    def apply(*leaves: Any) -> Any:
        missing = [leaf is None for leaf in leaves]
        if none_is_leaf or not any(missing):
            return func(*leaves)
        if all(missing):
            return None
        raise ValueError(
            "map_structure: with `none_is_leaf=False` the structures must have None at "
            f"the same places, got the leaves {describe(leaves)}."
        )

    return pytrees.tree_map(apply, *structures)


def map_structure_up_to(
    shallow_structure: Any, func: Callable[..., Any], *structures: Any
) -> Any:
    """Apply a function to what stands where a shallower structure has its leaves.

    Args:
        shallow_structure: the structure that says how deep to go.
        func: takes one part of each structure, which may itself be nested.
        *structures: the structures, each at least as deep.

    Raises:
        TypeError: when `func` is not callable.
        ValueError: when a structure is not of that shape, or there is none.

    Example:
        >>> map_structure_up_to([None, [None]], len, [[1, 1], [[2, 2, 2]]])
        [2, [3]]
    """
    _first("map_structure_up_to", func, structures)
    return pytrees.tree_map(
        lambda _, *parts: func(*parts), shallow_structure, *structures
    )


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """Put leaves, in the order of `flatten`, into the shape of a structure.

    Args:
        structure: the structure; its leaves do not matter.
        flat_sequence: as many leaves as it has.

    Raises:
        TypeError: when `flat_sequence` cannot be iterated over.
        ValueError: when the numbers of leaves differ.

    Example:
        >>> pack_sequence_as({"b": 0, "a": (0, 0)}, [1, 2, 3])
        {'b': 3, 'a': (1, 2)}
    """
    owner = "pack_sequence_as"
    if not isinstance(flat_sequence, Iterable):
        expected = "a sequence of leaves"
        raise TypeError(
            invalid_argument(owner, "flat_sequence", expected, flat_sequence)
        )
    leaves = list(flat_sequence)
    spec = pytrees.tree_structure(structure)
    if len(leaves) != spec.num_leaves:
        raise ValueError(
            f"{owner}: `flat_sequence` must have {spec.num_leaves} leaves, as "
            f"`structure` has, got {len(leaves)}."
        )
    # The leaf at each place, in the order of the walk, tells where it goes.
    places = flatten(pytrees.tree_unflatten(range(len(leaves)), spec))
    by_place = dict(zip(places, leaves, strict=True))
    return pytrees.tree_unflatten([by_place[i] for i in range(len(leaves))], spec)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Call a function on a structure and all its parts, which it may replace.

    Args:
        func: takes a part, nested or not. Where it returns None the part stays, and is
            entered when going down; anything else replaces the part. `MAP_TO_NONE`
            replaces it by None.
        structure: the structure.
        top_down: whether a part comes before those inside it.

    Returns:
        The structure with the replacements.

    Raises:
        TypeError: when `func` is not callable.

    Example:
        >>> traverse(lambda x: -x if isinstance(x, int) else None, [1, {"a": (2, 3)}])
        [-1, {'a': (-2, -3)}]
    """
    _require_callable("traverse", func)

    def visit(part: Any) -> Any:
        if top_down:
            replacement = func(part)
            return visit_inside(part) if replacement is None else replaced(replacement)
        part = visit_inside(part)
        replacement = func(part)
        return part if replacement is None else replaced(replacement)

    def visit_inside(part: Any) -> Any:
        if not is_nested(part):
            return part
        keyed = list(_children(part))
        visited = {place: visit(child) for place, _, child in keyed}
        spec = pytrees.tree_structure(part, is_leaf=lambda x: x is not part)
        return pytrees.tree_unflatten([visited[i] for i in range(len(keyed))], spec)

    def replaced(replacement: Any) -> Any:
        return None if replacement is MAP_TO_NONE else replacement

    return visit(structure)


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Check that two structures are nested alike, whatever their leaves.

    Lists, tuples and named tuples differ from one another; a dict, an `OrderedDict` and
    a `defaultdict` of the same keys do not.

    Args:
        a: the first structure.
        b: the second structure.
        check_types: deprecated, without effect.

    Raises:
        ValueError: when they differ.

    Example:
        >>> assert_same_structure([(0, 1)], [("x", None)])
    """
    if check_types is not None:
        warnings.warn(
            "assert_same_structure: `check_types` has no effect, leave it out. Where a "
            "list may stand for a tuple, use `assert_same_paths`.",
            DeprecationWarning,
            stacklevel=2,
        )

    def check(left: Any, right: Any) -> None:
        if is_nested(right):
            raise ValueError(f"{describe(right)} stands in place of {describe(left)}.")

    try:
        pytrees.tree_map_(check, a, b)
    except ValueError as error:
        raise ValueError(
            "The structures are not nested alike: expected two of the same containers, "
            f"got {describe(a)} and {describe(b)}. {error}"
        ) from None


def assert_same_paths(a: Any, b: Any) -> None:
    """Check that the leaves of two structures have the same paths.

    The kinds of sequences do not matter: a list and a tuple have the same paths.

    Args:
        a: the first structure.
        b: the second structure.

    Raises:
        ValueError: when a path of one is missing in the other.

    Example:
        >>> assert_same_paths([0, {"x": 1}], ("a", {"x": "b"}))
    """
    of_a, of_b = ({path for path, _ in _walk(structure)} for structure in (a, b))
    if of_a != of_b:
        only_a, only_b = sorted(of_a - of_b, key=repr), sorted(of_b - of_a, key=repr)
        raise ValueError(
            "assert_same_paths: `a` and `b` must have leaves at the same paths, got "
            f"{only_a} only in `a` and {only_b} only in `b`."
        )


def lists_to_tuples(structure: Any) -> Any:
    """Return the structure with tuples in place of its lists.

    Example:
        >>> lists_to_tuples([1, {"a": [2]}])
        (1, {'a': (2,)})
    """
    return traverse(
        lambda part: tuple(part) if isinstance(part, list) else None,
        structure,
        top_down=False,
    )


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """Apply a function to every shape in a structure.

    Args:
        func: takes a shape, or a leaf outside of one.
        structure: a structure whose lists and tuples of integers and None are shapes.

    Example:
        >>> map_shape_structure(len, {"x": (None, 3), "y": [(2, 2, 2), (1,)]})
        {'x': 2, 'y': [3, 1]}
    """
    _require_callable("map_shape_structure", func)
    return pytrees.tree_map(func, structure, is_leaf=_is_shape)


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        size is None or isinstance(size, int) for size in value
    )


def _children(structure: Any) -> Iterator[tuple[int, Any, Any]]:
    """Yield the place, the key and the value of what is directly in a structure."""
    keyed, _ = pytrees.tree_flatten_with_path(
        structure, is_leaf=lambda x: x is not structure
    )
    children = [
        (place, _key(path[0], place), child)
        for place, (path, child) in enumerate(keyed)
    ]
    if type(structure) in (dict, collections.defaultdict):
        children.sort(key=lambda child: child[1])
    yield from children


def _key(entry: Any, place: int) -> Any:
    return entry.key if isinstance(entry, pytrees.MappingKey) else place


def _walk(structure: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not is_nested(structure):
        yield path, structure
        return
    for _, key, child in _children(structure):
        yield from _walk(child, (*path, key))


def _first(owner: str, func: Any, structures: tuple[Any, ...]) -> Any:
    _require_callable(owner, func)
    if not structures:
        raise ValueError(f"{owner}: give at least one structure after `func`.")
    return structures[0]


def _require_callable(owner: str, func: Any) -> None:
    if not callable(func):
        raise TypeError(invalid_argument(owner, "func", "a function", func))


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
