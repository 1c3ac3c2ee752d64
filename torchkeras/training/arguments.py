"""What the arguments of `compile`, `fit` and their kin may be: one table, by name."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from torchkeras import optimizers
from torchkeras._core.errors import count, invalid_argument, number_in
from torchkeras.callbacks.callback_list import check_callbacks

#: Takes the method, the argument's name and its value, and returns the value to use.
Rule = Callable[[str, str, Any], Any]


def checked(owner: str, given: Mapping[str, Any]) -> Any:
    """Check the arguments of a method by the table, and return them as attributes.

    Args:
        owner: the method, for messages.
        given: the arguments by name; those that the table does not know are data.

    Raises:
        TypeError: for a value of a wrong type, naming the argument.
        ValueError: for one out of its range.

    Example:
        >>> checked("fit", {"epochs": 2.0, "shuffle": None}).epochs
        2
        >>> checked("fit", {"verbose": 7})
        Traceback (most recent call last):
        ValueError: fit: `verbose` must be 0, 1, 2 or 'auto', got 7.
    """
    values = dict(given)
    for name in given:
        if (rule := RULES.get(name)) is not None:
            values[name] = rule(owner, name, values[name])
    return types.SimpleNamespace(**values)


def leaves_of(name: str, structure: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in lists, tuples and dicts, with its place: ``loss['a'][0]``."""
    if isinstance(structure, Mapping) and "class_name" not in structure:
        for key, part in structure.items():
            yield from leaves_of(f"{name}[{key!r}]", part)
    elif isinstance(structure, (list, tuple)):
        for index, part in enumerate(structure):
            yield from leaves_of(f"{name}[{index}]", part)
    else:
        yield name, structure


def _type_of(value: Any) -> str:
    return f"It is of type {type(value).__name__}."


# Kinds of arguments


def _whole(least: int = 1, optional: bool = False) -> Rule:
    def rule(owner: str, argument: str, value: Any) -> int | None:
        if optional and value is None:
            return None
        return count(owner, argument, value, least)

    return rule


def _flag(owner: str, argument: str, value: Any) -> bool:
    if isinstance(value, (bool, int, np.bool_, np.integer)) and value in (0, 1):
        return bool(value)
    if value is None:  # as older code says it
        return False
    raise TypeError(invalid_argument(owner, argument, "True or False", value))


def _flag_or(word: str) -> Rule:
    def rule(owner: str, argument: str, value: Any) -> bool | str:
        if isinstance(value, str):
            if value == word:
                return value
            expected = f"True, False or {word!r}"
            raise ValueError(invalid_argument(owner, argument, expected, value))
        return _flag(owner, argument, value)

    return rule


def _verbose(owner: str, argument: str, value: Any) -> int | str:
    if type(value) is int and 0 <= value <= 2:
        return value
    if value is None:
        return 0
    if isinstance(value, str) and value == "auto":
        return value
    expected = "0, 1, 2 or 'auto'"
    if isinstance(value, str) or not hasattr(value, "__int__"):
        raise TypeError(invalid_argument(owner, argument, expected, value))
    if value not in (0, 1, 2):
        raise ValueError(invalid_argument(owner, argument, expected, value))
    return int(value)


def _fraction(owner: str, argument: str, value: Any) -> float:
    if value is None:
        return 0.0
    return number_in(owner, argument, value, 0.0, 1.0, open_high=True)


def _frequency(owner: str, argument: str, value: Any) -> int | list[int]:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [count(owner, f"{argument}[{i}]", v) for i, v in enumerate(value)]
    return count(owner, argument, value)


def _class_weight(owner: str, argument: str, value: Any) -> dict[int, float] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        expected = "a dict of a weight for each class, such as {0: 1.0, 1: 5.0}"
        hint = "Write class_weight=dict(enumerate(weights))."
        raise TypeError(invalid_argument(owner, argument, expected, value, hint))
    weights = {}
    for label, weight in value.items():
        if not hasattr(label, "__int__") or int(label) != label:
            expected = "a dict whose keys are the numbers of classes"
            raise TypeError(
                invalid_argument(owner, argument, expected, label, _type_of(label))
            )
        place = f"{argument}[{label!r}]"
        weights[int(label)] = number_in(owner, place, weight)
    return weights


def _callbacks(owner: str, argument: str, value: Any) -> Any:
    check_callbacks(f"{owner}: ", argument, value)
    return value


def _factors(owner: str, argument: str, value: Any) -> Any:
    for place, factor in leaves_of(argument, value):
        # A tensor may be on an accelerator, and may be changed later on.
        if factor is not None and not isinstance(factor, Tensor):
            number_in(owner, place, factor)
    return value


def _objectives(what: str) -> Rule:
    def rule(owner: str, argument: str, value: Any) -> Any:
        for place, leaf in leaves_of(argument, value):
            usable = callable(leaf) or hasattr(leaf, "update")  # as torchmetrics has it
            if leaf is None or isinstance(leaf, (str, Mapping)) or usable:
                continue
            expected = f"a name, {what}, a function or None"
            raise TypeError(
                invalid_argument(owner, place, expected, leaf, _type_of(leaf))
            )
        return value

    return rule


def _metrics(owner: str, argument: str, value: Any) -> Any:
    if value is not None and not isinstance(value, (list, tuple, Mapping)):
        hint = f"Write {argument}=[{value!r}]."
        expected = "a list, a tuple or a dict"
        raise ValueError(invalid_argument(owner, argument, expected, value, hint))
    return _objectives("a metric")(owner, argument, value)


#: Every argument of a public method of training that is not data.
RULES: dict[str, Rule] = {
    "auto_scale_loss": _flag,
    "batch_size": _whole(optional=True),
    "callbacks": _callbacks,
    "class_weight": _class_weight,
    "epochs": _whole(least=0),
    "initial_epoch": _whole(least=0),
    "jit_compile": _flag_or("auto"),
    "loss": _objectives("a loss"),
    "loss_weights": _factors,
    "metrics": _metrics,
    "optimizer": lambda owner, argument, value: optimizers.get(value),
    "return_dict": _flag,
    "run_eagerly": _flag,
    "shuffle": _flag_or("batch"),
    "steps": _whole(optional=True),
    "steps_per_epoch": _whole(optional=True),
    "steps_per_execution": _whole(),
    "validation_batch_size": _whole(optional=True),
    "validation_freq": _frequency,
    "validation_split": _fraction,
    "validation_steps": _whole(optional=True),
    "verbose": _verbose,
    "weighted_metrics": _metrics,
}
