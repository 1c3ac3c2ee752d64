"""All or nothing: what a change that fails has done to the state is undone."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from torchkeras._core import turns
from torchkeras._core.context import context
from torchkeras._core.interrupts import interrupts_waiting

_R = TypeVar("_R")


class Undo:
    """What things were, to make them so again.

    Example:
        >>> values, undo = torch.zeros(2), Undo()
        >>> undo.note(values)
        >>> _ = values.fill_(1)
        >>> undo.restore()
        >>> values
        tensor([0., 0.])
    """

    def __init__(self) -> None:
        #: Things by their ids, with copies of what they held.
        self._noted: dict[int, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, *tensors: Tensor) -> None:
        """Note the values of tensors before they are changed: copied, to the host."""
        for tensor in tensors:
            if id(tensor) not in self._noted:
                copy = tensor.detach().to("cpu", copy=True)
                self._noted[id(tensor)] = tensor, copy

    def note_state(self, owner: Any) -> None:
        """Note all that an object holds before it is changed, but for weights.

        Containers and objects inside are looked into, modules and functions are not.

        Args:
            owner: such as an optimizer.
        """
        waiting = [owner]
        while waiting:
            thing = waiting.pop()
            if id(thing) in self._noted or isinstance(thing, _NO_STATE):
                continue
            if isinstance(thing, Tensor):
                if not thing.requires_grad:
                    self.note(thing)
            elif isinstance(thing, (dict, list)):
                self._noted[id(thing)] = thing, thing.copy()
                waiting += thing.values() if isinstance(thing, dict) else thing
            elif isinstance(thing, tuple):
                waiting += thing
            elif hasattr(thing, "__dict__"):
                waiting.append(thing.__dict__)

    @torch.no_grad()
    def restore(self, first: int = 0) -> None:
        """Make what was noted as it was.

        Args:
            first: how many things to leave, those that were noted first.
        """
        noted = list(self._noted.items())[first:]
        for key, (thing, before) in reversed(noted):
            if isinstance(thing, Tensor):
                thing.copy_(before)
            elif isinstance(thing, dict):
                thing.clear()
                thing.update(before)
            else:
                thing[:] = before
            del self._noted[key]


#: What is looked into by nobody: networks, and code.
_NO_STATE = (
    nn.Module,
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
)


def all_at_once(change: Callable[[Undo], _R]) -> _R:
    """Change the state while no other thread is in a step: all of it, or nothing.

    A Ctrl-C waits until the change is made. One within another is a part of it, which
    is undone alone where it fails.

    Args:
        change: makes the change. It gets what notes a thing before that is changed.

    Returns:
        What `change` returns.

    Example:
        >>> import contextlib
        >>> values = [1, 2]
        >>> def change(undo):
        ...     undo.note_state(values)
        ...     values[0] = 5
        ...     values[1] = 1 // 0
        >>> with contextlib.suppress(ZeroDivisionError):
        ...     all_at_once(change)
        >>> values
        [1, 2]
    """
    return turns.alone(_all_at_once, change)


def _all_at_once(change: Callable[[Undo], _R]) -> _R:
    outer = context.undo
    undo = Undo() if outer is None else outer
    before = len(undo)
    with interrupts_waiting():
        try:
            context.undo = undo
            return change(undo)
        except BaseException:
            undo.restore(before)
            raise
        finally:
            context.undo = outer
