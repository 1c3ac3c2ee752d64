"""The outputs of a model in one order, and what belongs to each of them.

A model gives a tensor, or lists and dicts of them; targets, weights, losses and metrics
come in the same structure, by the outputs' names or in their order. This is the one
place that brings them together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torchkeras._core.errors import did_you_mean

#: A structure of outputs with the number of each in its place.
Numbered = Any


@dataclasses.dataclass(frozen=True)
class Argument:
    """How an argument is shared out.

    Args:
        name: the name of the argument, for messages.
        single: what belongs to one output.
        for_all: whether a value that is no structure belongs to every output.
        takes_lists: whether a list may belong to one output.
        follows_losses: whether there may be as many as there are losses.
    """

    name: str
    single: str
    for_all: bool = False
    takes_lists: bool = False
    follows_losses: bool = False


LOSS = Argument("loss", "loss", for_all=True)
LOSS_WEIGHTS = Argument("loss_weights", "weight", for_all=True)
METRICS = Argument("metrics", "list of metrics", takes_lists=True)
WEIGHTED_METRICS = dataclasses.replace(METRICS, name="weighted_metrics")
TARGETS = Argument("y", "target", follows_losses=True)
SAMPLE_WEIGHT = Argument("sample_weight", "array of weights", for_all=True)
_OUTPUTS = Argument("y_pred", "tensor")


class Outputs:
    """The outputs of a model in one order, by number, name and place.

    Args:
        names: the structure of the outputs with their names in it, where it is known
            before the first batch.
        loss: `compile`'s argument: an output without a loss needs no target.

    Example:
        >>> outputs = Outputs({"a": "dense", "b": ["left", "right"]})
        >>> outputs.names
        ['a', 'b/left', 'b/right']
        >>> outputs.share(TARGETS, {"b": [1, 2]})
        [None, 1, 2]
    """

    def __init__(self, names: Any = None, loss: Any = None) -> None:
        self._given_names = names
        self._loss = loss
        #: The numbers of the outputs that have a loss.
        self._with_loss: list[int] = []
        self._numbered: Numbered = None
        self._paths: set[Any] = set()
        #: The names in the logs, the path of an output where it is in a dict.
        self.names: list[str] = []
        self._by_name: dict[str, int] = {}
        if names is not None:
            self.bind(names)

    @property
    def known(self) -> bool:
        """Whether the structure is known."""
        return bool(self.names)

    def bind(self, structure: Any) -> None:
        """Take the outputs as they are in a structure.

        Raises:
            ValueError: when their number is not what it was.
        """
        paths = [path for path, _ in _leaves(structure)]
        if set(paths) == self._paths:
            return
        self._paths = set(paths)
        self._numbered, count = _number(structure, 0)
        own = [leaf for _, leaf in _leaves(self._given_names)]
        if len(own) != count or own == [None]:
            own = [f"output_{i}" for i in range(count)]
        self.names = [_name(*pair) for pair in zip(paths, own, strict=True)]
        self._by_name = {name: i for i, name in enumerate(own)}
        self._by_name |= {name: i for i, name in enumerate(self.names)}
        losses = self.share(LOSS, self._loss)
        self._with_loss = [i for i, loss in enumerate(losses) if loss is not None]

    def flat(
        self, y_true: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Return targets, outputs and weights by output, None where there is none.

        Raises:
            ValueError: when they cannot be told apart.
        """
        before = len(self.names)
        self.bind(y_pred)
        if before not in (0, len(self.names)):
            raise ValueError(
                f"The model gave {before} output(s) at first and {len(self.names)} now."
            )
        return (
            self.share(TARGETS, y_true),
            self.share(_OUTPUTS, y_pred),
            self.share(SAMPLE_WEIGHT, sample_weight),
        )

    def share(self, argument: Argument, value: Any) -> list[Any]:
        """Share an argument out among the outputs, None for those that get nothing.

        Args:
            argument: how it is shared out.
            value: a structure like that of the outputs or a part of it, a dict by their
                names, a list in their order, or one value.

        Raises:
            ValueError: when it does not fit the outputs, naming it and them.
        """
        places: list[Any] = [None] * len(self.names)
        if (
            argument.follows_losses
            and len(parts := _parts(value)) == len(self._with_loss) != len(places)
            and not isinstance(value, Mapping)
        ):
            for number, part in zip(self._with_loss, parts, strict=True):
                places[number] = part
            return places
        self._place(argument, self._numbered, value, places)
        return places

    def _place(
        self, argument: Argument, at: Numbered, value: Any, places: list[Any]
    ) -> None:
        if value is None:
            return
        leaves = [number for _, number in _leaves(at)]
        if argument.takes_lists and len(leaves) == 1 and _is_plain_list(value):
            places[leaves[0]] = list(value)
        elif _is_nested(value):
            for child, part in self._pairs(argument, at, value, leaves):
                self._place(argument, child, part, places)
        elif len(leaves) == 1 or argument.for_all:
            for number in leaves:
                places[number] = value
        else:
            raise ValueError(self._wrong_number(argument, 1, leaves))

    def _pairs(
        self, argument: Argument, at: Numbered, value: Any, leaves: list[int]
    ) -> Iterable[tuple[Numbered, Any]]:
        """Return the parts of a structure and of the outputs that belong together."""
        if isinstance(value, Mapping):
            children = self._children(argument, at, value)
            return [(children[key], part) for key, part in value.items()]
        parts = _parts(at)
        if len(value) != len(parts):
            parts = leaves
        if len(value) != len(parts):
            raise ValueError(self._wrong_number(argument, len(value), leaves))
        return zip(parts, value, strict=True)

    def _children(
        self, argument: Argument, at: Numbered, value: Mapping[Any, Any]
    ) -> Mapping[Any, Numbered]:
        """Return what the keys of a dict stand for: places, or names of outputs."""
        if isinstance(at, Mapping) and all(key in at for key in value):
            return at
        numbers = [number for _, number in _leaves(at)]
        named = {k: i for k, i in self._by_name.items() if i in numbers}
        unknown = [key for key in value if key not in named]
        if not unknown:
            return named
        if len(numbers) == len(value) == 1 and self._given_names is None:
            return dict.fromkeys(value, numbers[0])  # the only one, whatever its name
        names = [self.names[number] for number in numbers]
        raise ValueError(
            f"`{argument.name}` has keys {unknown} that are no outputs."
            f"{did_you_mean(str(unknown[0]), names)} The outputs are {names}."
        )

    def _wrong_number(self, argument: Argument, given: int, leaves: list[int]) -> str:
        names = [self.names[number] for number in leaves]
        entries = "1 entry" if given == 1 else f"{given} entries"
        return (
            f"`{argument.name}` has {entries} for {len(names)} output(s) {names}. Give "
            f"one {argument.single} for each output, in a list or in a dict by name."
        )


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, Mapping))


def _is_plain_list(value: Any) -> bool:
    """Say whether a value is a list, and not only the cover of another structure."""
    if not isinstance(value, (list, tuple)):
        return False
    return len(value) != 1 or not _is_nested(value[0])


def _parts(structure: Any) -> list[Any]:
    """Return what is directly in a structure; what is none is its only part."""
    if isinstance(structure, Mapping):
        return list(structure.values())
    return list(structure) if isinstance(structure, (list, tuple)) else [structure]


def _number(structure: Any, first: int) -> tuple[Numbered, int]:
    """Return a structure of numbers that count on from `first`, and the next one."""
    if not _is_nested(structure):
        return first, first + 1
    numbered = []
    for part in _parts(structure):
        number, first = _number(part, first)
        numbered.append(number)
    if isinstance(structure, Mapping):
        return dict(zip(structure, numbered, strict=True)), first
    return numbered, first


def _leaves(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield the path and the value of each leaf."""
    if not _is_nested(structure):
        yield path, structure
        return
    keys = structure if isinstance(structure, Mapping) else range(len(structure))
    for key, part in zip(keys, _parts(structure), strict=True):
        yield from _leaves(part, (*path, key))


def _name(path: tuple[Any, ...], own: str) -> str:
    """Return the name of an output: its path, in which its own name is for a number."""
    if not path or isinstance(path[-1], int):
        path = (*path[:-1], own)
    return "/".join(map(str, path))
