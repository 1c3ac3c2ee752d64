"""Which of its two arguments a function of the user's means to be the target.

Keras calls losses and metrics with ``(y_true, y_pred)``, torch with ``(input,
target)``. A parameter that is named as targets are gets the target. Where the names do
not tell, an `nn.Module` or a function of torch takes it second, as torch's own do, and
any other function first, as Keras's do.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

#: What targets are called, in lower case.
_TARGET_NAMES = frozenset(
    f"{name}{ending}"
    for name in (
        *("target", "label", "truth", "ground_truth", "groundtruth"),
        *("gt", "y_true", "true", "y_target", "targ", "tgt", "answer"),
    )
    for ending in ("", "s", "_", "_ids")
) | {"y", "ytrue", "y_t", "yt", "y_label", "y_labels", "true_labels", "y_gt"}


def is_torchs(function: Any) -> bool:
    """Say whether a callable is torch's kind: a module, or a function of torch.

    Example:
        >>> is_torchs(nn.functional.mse_loss), is_torchs(print)
        (True, False)
    """
    function = unwrapped(function)
    home = getattr(function, "__module__", None) or ""
    return isinstance(function, nn.Module) or home.split(".")[0] == "torch"


def unwrapped(function: Any) -> Any:
    """Return the function that a partial calls."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def takes_target_first(function: Any) -> bool:
    """Say whether the first argument of a loss or metric is the target.

    Example:
        >>> def one(y_true, y_pred): ...
        >>> def other(logits, labels): ...
        >>> takes_target_first(one), takes_target_first(other)
        (True, False)
        >>> takes_target_first(nn.functional.cross_entropy)
        False
    """
    first, second, *_ = (*map(_is_target, _positional(function)), False, False)
    return first if first != second else not is_torchs(function)


def _is_target(name: str) -> bool:
    return name.lower().lstrip("_") in _TARGET_NAMES


def _positional(function: Any) -> list[str]:
    """Return the names of the parameters that may be given by position."""
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # some that are written in C tell nothing
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


@dataclasses.dataclass(frozen=True)
class TargetFirst:
    """A function of ``(input, target)``, called with ``(y_true, y_pred)``."""

    function: Callable[..., Any]

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_pred, y_true)
