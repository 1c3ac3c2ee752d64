"""Nested structures against Keras's."""

import collections
import operator
from typing import Any

import keras
import numpy as np
import pytest

from torchkeras import tree
from torchkeras._core import tree as core_tree

Point = collections.namedtuple("Point", ["x", "y"])
Other = collections.namedtuple("Other", ["x", "y"])

STRUCTURES = [
    1,
    None,
    "text",
    np.float32(3.0),
    [],
    (),
    {},
    [None],
    [1],
    [[1]],
    [1, (2, [3, None])],
    {"b": 1, "a": 2},
    [{"b": (1, 2), "a": [3]}, 4],
    {"b": [3, 4], "a": None},
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.defaultdict(list, {"b": 1, "a": 2}),
    collections.deque([1, 2]),
    Point(1, 2),
    [Point(1, (2, 3))],
    {3: "c", 1: "a"},
]


def twice(x):
    return None if x is None else x * 2


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
class TestOneStructure:
    def test_is_nested(self, structure):
        assert tree.is_nested(structure) == keras.tree.is_nested(structure)

    def test_flatten(self, structure):
        assert tree.flatten(structure) == keras.tree.flatten(structure)

    def test_flatten_with_path(self, structure):
        expected = keras.tree.flatten_with_path(structure)
        assert tree.flatten_with_path(structure) == expected

    @pytest.mark.parametrize("none_is_leaf", [True, False])
    def test_map_structure(self, structure, none_is_leaf):
        ours, theirs = (
            t.map_structure(twice, structure, none_is_leaf=none_is_leaf)
            for t in (tree, keras.tree)
        )
        assert ours == theirs
        assert type(ours) is type(theirs)

    def test_pack_sequence_as(self, structure):
        leaves = [f"leaf {i}" for i in range(len(tree.flatten(structure)))]
        packed = tree.pack_sequence_as(structure, leaves)
        assert packed == keras.tree.pack_sequence_as(structure, leaves)
        assert tree.flatten(packed) == leaves
        tree.assert_same_structure(packed, structure)

    @pytest.mark.parametrize("top_down", [True, False])
    def test_traverse(self, structure, top_down):
        seen = [], []
        for parts, t in zip(seen, (tree, keras.tree), strict=True):
            assert t.traverse(parts.append, structure, top_down=top_down) == structure
        assert seen[0] == seen[1]

    @pytest.mark.parametrize("top_down", [True, False])
    def test_traverse_replaces(self, structure, top_down):
        results = []
        for t in (tree, keras.tree):

            def func(part, t=t):
                if isinstance(part, (list, dict)):
                    return None if len(part) > 1 else "replaced"
                return t.MAP_TO_NONE if part == 2 else None

            results.append(t.traverse(func, structure, top_down=top_down))
        assert results[0] == results[1]

    def test_lists_to_tuples(self, structure):
        expected = keras.tree.lists_to_tuples(structure)
        assert tree.lists_to_tuples(structure) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1, (2,)], ["x", ("y",)]),
        ([1, 2], (1, 2)),
        ([1], [1, 2]),
        ([1], [[1]]),
        ([[1]], [1]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1, "b": 2}, collections.OrderedDict([("b", 1), ("a", 2)])),
        (Point(1, 2), Point(3, 4)),
        (Point(1, 2), Other(3, 4)),
        (Point(1, 2), [3, 4]),
        (None, 1),
        (None, [1]),
        ([], ()),
        ([None], [1]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["assert_same_structure", "assert_same_paths"])
def test_comparisons(a, b, name):
    def accepts(function):
        try:
            function(a, b)
        except ValueError:
            return False
        return True

    assert accepts(getattr(tree, name)) == accepts(getattr(keras.tree, name))


def test_map_structure_over_several():
    a, b = {"x": 1, "y": [2, (3,)]}, {"y": [20, (30,)], "x": 10}
    expected = keras.tree.map_structure(operator.add, a, b)
    assert (
        tree.map_structure(operator.add, a, b)
        == expected
        == {
            "x": 11,
            "y": [22, (33,)],
        }
    )


def test_map_structure_up_to():
    shallow, deep = [None, {"a": None}], [[1, 2], {"a": (3, 4)}]
    expected = keras.tree.map_structure_up_to(shallow, str, deep)
    assert tree.map_structure_up_to(shallow, str, deep) == expected
    assert tree.map_structure_up_to([0, 0], operator.add, [[1], 2], [[3], 4]) == [
        [1, 3],
        6,
    ]


def test_map_shape_structure():
    shapes = {"x": (None, 3), "y": [(1, 2, 3), [4, 5]], "z": ()}
    expected = keras.tree.map_shape_structure(len, shapes)
    assert tree.map_shape_structure(len, shapes) == expected


def test_all_dicts_are_sorted():
    """Keras sorts the outermost dict only, against its own documentation."""
    structure = {"b": {"d": 1, "c": 2}, "a": 3}
    assert tree.flatten(structure) == [3, 2, 1]
    packed = tree.pack_sequence_as(structure, ["a", "c", "d"])
    assert packed == {"b": {"d": "d", "c": "c"}, "a": "a"}


def test_dicts_keep_the_order_of_insertion():
    structure = {"b": 1, "a": [2]}
    assert list(tree.pack_sequence_as(structure, [1, 2])) == ["b", "a"]
    assert list(tree.map_structure(twice, structure)) == ["b", "a"]
    assert list(tree.traverse(lambda part: None, structure)) == ["b", "a"]


def test_paths_into_named_tuples_are_indices():
    """Keras numbers the fields in the order of the alphabet."""
    reverse = collections.namedtuple("Reverse", ["y", "x"])
    assert tree.flatten_with_path(reverse(1, 2)) == [((0,), 1), ((1,), 2)]


def test_internal_functions_keep_the_order_of_insertion():
    structure = {"b": 1, "a": [2]}
    assert core_tree.flatten(structure) == [1, 2]
    assert core_tree.pack_sequence_as(structure, [1, 2]) == structure


@pytest.mark.parametrize("name", ["map_structure", "map_structure_up_to"])
def test_refuse_structures_that_differ(name):
    arguments = {
        "map_structure": (operator.add, [1], [1, 2]),
        "map_structure_up_to": ([1], operator.add, [1, 2], [3, 4]),
    }
    with pytest.raises(ValueError, match=r"structure|arity|length"):
        getattr(tree, name)(*arguments[name])


def test_refuse_deeper_structures():
    with pytest.raises(ValueError, match="in place of 1"):
        tree.map_structure(operator.add, [1], [[2]])


def test_refuse_no_structure():
    with pytest.raises(ValueError, match="map_structure: give at least one"):
        tree.map_structure(len)
    with pytest.raises(ValueError, match="map_structure_up_to: give at least one"):
        tree.map_structure_up_to([1], len)


def test_refuse_what_is_no_function():
    number: Any = 3
    for call in (tree.map_structure, tree.traverse, tree.map_shape_structure):
        with pytest.raises(TypeError, match="`func` must be a function, got 3"):
            call(number, [1])


def test_refuse_none_in_some_places_only():
    with pytest.raises(ValueError, match="None at the same places"):
        tree.map_structure(operator.add, [1], [None], none_is_leaf=False)


def test_refuse_a_wrong_number_of_leaves():
    with pytest.raises(ValueError, match=r"must have 2 leaves.*got 1"):
        tree.pack_sequence_as([0, 0], [1])
    number: Any = 1
    with pytest.raises(TypeError, match="`flat_sequence` must be a sequence"):
        tree.pack_sequence_as([0], number)


def test_warn_of_check_types():
    with pytest.warns(DeprecationWarning, match="`check_types` has no effect"):
        tree.assert_same_structure([1], [2], check_types=True)


def test_name_the_paths_that_differ():
    with pytest.raises(ValueError, match=r"\('a',\).*only in `a`.*\('b',\)"):
        tree.assert_same_paths({"a": 1}, {"b": 1})
