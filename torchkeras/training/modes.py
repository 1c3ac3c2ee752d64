"""Who uses a model: its mode and its sums are one, whatever number of threads it has.

Layers look up their mode when they are called. A thread that trains keeps its model in
training mode; another one that predicts with the model, or with one that has layers in
common, borrows the mode for a batch at a time, while no other thread is in a step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import threading
from collections.abc import Callable, Generator
from typing import Any

from torch import nn

from torchkeras._core import turns
from torchkeras._core.context import context
from torchkeras.layers._state import turn_to_mode

_mode_of = operator.attrgetter("training")


@dataclasses.dataclass(frozen=True, eq=False)
class _Use:
    thread: int
    model: Any
    trains: bool

    def is_elsewhere(self) -> bool:
        return self.thread != threading.get_ident()


#: The trainings and evaluations under way.
_uses: list[_Use] = []


@contextlib.contextmanager
def using(caller: str, model: Any, trains: bool) -> Generator[None]:
    """Have the sums of a model, and its mode if it is trained, for this thread.

    Args:
        caller: the public call, for messages.
        model: the model.
        trains: whether it is trained.

    Raises:
        RuntimeError: when another thread has them.
    """
    use = _Use(threading.get_ident(), model, trains)
    try:
        turns.alone(_begin, caller, use)
        yield
    finally:
        if use in _uses:
            _uses.remove(use)


def _begin(caller: str, use: _Use) -> None:
    check_unused(caller, use.model)
    _uses.append(use)


def check_unused(caller: str, model: Any) -> None:
    """Refuse to train or evaluate a model while another thread does.

    Raises:
        RuntimeError: when one does.
    """
    if any(use.model is model and use.is_elsewhere() for use in tuple(_uses)):
        raise RuntimeError(
            f"{caller}: the model '{model.name}' is being trained or evaluated by "
            "another thread, and has one set of sums for its loss and metrics. Wait "
            "for that thread, or use a copy: `clone_model`, then `set_weights`."
        )


def _trained_elsewhere() -> set[nn.Module]:
    uses = [use for use in tuple(_uses) if use.trains and use.is_elsewhere()]
    return {module for use in uses for module in use.model.modules()}


# The mode


def switch(model: Any, training: bool) -> None:
    """Set the mode of a model, but inference of no layer that another thread trains.

    Args:
        model: the model.
        training: whether to set training mode.
    """
    turns.alone(_switch, model, training, model.train, {})


def _switch(
    model: Any,
    training: bool,
    turn_to: Callable[[bool], object],
    before: dict[nn.Module, bool | None],
) -> None:
    """Set the mode, having noted in `before` what to put back, None for nothing.

    What another thread trains is put into inference mode by who ends last.
    """
    elsewhere = _trained_elsewhere()
    kept = set() if training else elsewhere
    modes = {module: module.training for module in model.modules()}
    for module, mode in modes.items():
        before[module] = None if module in kept else mode and module not in elsewhere
    turn_to(training)
    for module in kept & modes.keys():
        module.training = modes[module]


class Mode:
    """What sets a model to training or inference mode for a while.

    A prediction of one sample would spend more on a generator than on a layer.

    Args:
        model: the model.
        training: whether to set training mode.
    """

    __slots__ = ("before", "model", "told", "training")

    def __init__(self, model: Any, training: bool) -> None:
        self.model = model
        self.training = training
        self.told = context.training
        #: The modes to put back, of a model that is in another one.
        self.before: dict[nn.Module, bool | None] | None = None

    def __enter__(self) -> None:
        context.training = self.training
        if self.model.training != self.training:
            turns.alone(self._switch)

    def __exit__(self, *_: object) -> None:
        context.training = self.told
        if self.before:
            turns.alone(self._restore, self.before)

    def _switch(self) -> None:
        if self.model.training != self.training:  # still, now that nobody else is here
            self.before = {}
            turn_to = functools.partial(turn_to_mode, self.model)
            _switch(self.model, self.training, turn_to, self.before)

    def _restore(self, before: dict[nn.Module, bool | None]) -> None:
        """Put modes back; layers that were made meanwhile get that of the model."""
        kept = _trained_elsewhere()
        for module in self.model.modules():
            mode = before.get(module, before[self.model])
            if mode is not None and module not in kept:
                module.training = mode


def undisturbed(
    model: Any, step: Callable[[list[Any]], Any]
) -> Callable[[list[Any]], Any]:
    """Return a step that computes in one mode, whatever other threads set.

    It is the mode of the first batch, and to be called in a turn of this thread.

    Args:
        model: the model.
        step: the step, in inference.
    """
    modules: list[nn.Module] = []
    expected: list[bool] = []
    takers = len(turns.living), turns.Turn.made

    def run(batch: list[Any]) -> Any:
        if takers == (1, turns.Turn.made):  # no other thread has made a step so far
            return step(batch)
        modules[:] = modules or model.modules()
        modes = list(map(_mode_of, modules))
        if not expected:
            others = modes[0] or _uses
            expected[:] = _in_inference(modules, modes) if others else modes
        if modes == expected:
            return step(batch)
        return turns.alone(_borrow, modules, expected, step, batch)

    return run


def _in_inference(modules: list[nn.Module], modes: list[bool]) -> list[bool]:
    """Return the modes of modules but for what other threads set."""
    if modes[0]:  # the model was in inference mode a moment ago
        return [False] * len(modes)
    kept = _trained_elsewhere()
    return [m and module not in kept for m, module in zip(modes, modules, strict=True)]


def _borrow(
    modules: list[nn.Module],
    modes: list[bool],
    step: Callable[[list[Any]], Any],
    batch: list[Any],
) -> Any:
    before = list(map(_mode_of, modules))
    try:
        _set(modules, modes)
        return step(batch)
    finally:
        _set(modules, before)


def _set(modules: list[nn.Module], modes: list[bool]) -> None:
    for module, training in zip(modules, modes, strict=True):
        module.training = training
