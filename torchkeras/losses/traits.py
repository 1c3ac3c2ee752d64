"""What is known of a function of targets and outputs, stated where it is defined."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Traits:
    """What is known of a function that gives a value per sample.

    Args:
        elementwise: it is the mean over the last axis of what is computed for each
            number by itself.
        per_sample: the value of a sample does not depend on the batch it comes in.
        labels: its targets are labels, which a float would round.
        classes: the labels are numbers of classes, and an output has a score for each.
        link: the activation whose outputs it takes, if it takes logits in their place:
            ``"sigmoid"`` or ``"softmax"``.
        mean: the mean over all values in one kernel.
    """

    elementwise: bool = False
    per_sample: bool = False
    labels: bool = False
    classes: bool = False
    link: str = ""
    mean: Callable[..., Tensor] | None = None


_NONE = Traits()
_TRAITS: dict[Callable[..., Any], Traits] = {}


def declare(**traits: Any) -> Callable[[F], F]:
    """Note what is known of a function; what is elementwise is per sample too."""
    known = Traits(**traits)
    if known.classes:
        known = dataclasses.replace(known, labels=True)
    if known.elementwise:
        known = dataclasses.replace(known, per_sample=True)

    def note(function: F) -> F:
        _TRAITS[function] = known
        return function

    return note


def traits_of(function: Any) -> Traits:
    """Return what is known of a function, of a partial only what it takes.

    Example:
        >>> from torchkeras.losses import sparse_categorical_crossentropy as loss
        >>> traits_of(loss).labels, traits_of(functools.partial(loss, axis=1)).labels
        (True, True)
        >>> traits_of(len).labels
        False
    """
    if isinstance(function, functools.partial):
        known = traits_of(function.func)
        return Traits(labels=known.labels, classes=known.classes, link=known.link)
    return _TRAITS.get(function, _NONE) if inspect.isfunction(function) else _NONE
