"""What is done to gradients before an update, and to weights after it.

An optimizer composes these once, when it is built; one without any pays nothing.
A stage takes parameters and their gradients, changes the gradients in place, and
returns False when there is to be no update yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras.optimizers import foreach

Stage = Callable[[list[Tensor], list[Tensor]], object]

#: What torch keeps for each parameter, by names.
TorchState = Mapping[Tensor, Mapping[str, Any]]

#: What the stages keep there, under Keras's names.
AVERAGE = "average"
SUM = "gradient_accumulator"


def run_stages(
    stages: Sequence[Stage],
    params: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None,
) -> bool:
    """Run stages on gradients, in place; return False when there is to be no update.

    Args:
        stages: the stages, in their order.
        params: the parameters.
        gradients: one for each of them; by default each one's ``.grad``.
    """
    if gradients is None:
        gradients = [p.grad for p in params]
    pairs = [(p, g) for p, g in zip(params, gradients, strict=True) if g is not None]
    some, grads = [p for p, _ in pairs], [g for _, g in pairs]
    return all(stage(some, grads) is not False for stage in stages)


def unscaling(factor: float) -> Stage:
    """Return the stage that undoes the scaling of the loss."""

    def unscale(params: list[Tensor], grads: list[Tensor]) -> None:
        foreach.div_(grads, factor)

    return unscale


def clipping(
    clipnorm: float | None,
    clipvalue: float | None,
    global_clipnorm: float | None,
    units: Sequence[Sequence[Tensor]],
) -> Stage | None:
    """Return the stage that clips gradients, None where nothing is clipped.

    Args:
        clipnorm: the largest norm for each weight.
        clipvalue: the largest absolute value.
        global_clipnorm: the largest norm of all together.
        units: the tensors that make up each weight.
    """
    if clipnorm:
        return _clip_by_norm(clipnorm, units)
    if global_clipnorm:
        return _clip_by_global_norm(global_clipnorm)
    if not clipvalue:
        return None

    def clip_by_value(params: list[Tensor], grads: list[Tensor]) -> None:
        foreach.clamp_min_(grads, -clipvalue)
        foreach.clamp_max_(grads, clipvalue)

    return clip_by_value


def _clip_by_norm(limit: float, units: Sequence[Sequence[Tensor]]) -> Stage:
    # A weight of Keras that torch keeps as several tensors has one norm.
    unit_of = {id(t): number for number, unit in enumerate(units) for t in unit}
    several = any(len(unit) > 1 for unit in units)

    def clip(params: list[Tensor], grads: list[Tensor]) -> None:
        norms = foreach.norm(grads)
        if several:
            norms = _joined([unit_of[id(p)] for p in params], norms)
        foreach.mul_(grads, [_scale(norm, limit) for norm in norms])

    return clip


def _joined(units: list[int], norms: Sequence[Tensor]) -> list[Tensor]:
    squares: dict[int, Tensor] = {}
    for unit, norm in zip(units, norms, strict=True):
        squares[unit] = squares.get(unit, 0) + norm.square()
    return [squares[unit].sqrt() for unit in units]


def _clip_by_global_norm(limit: float) -> Stage:
    def clip(params: list[Tensor], grads: list[Tensor]) -> None:
        norm = torch.stack([n.float() for n in foreach.norm(grads)]).norm()
        # As in Keras, an infinite norm makes NaNs: hiding it would hide a divergence.
        foreach.mul_(grads, _scale(norm, limit) + (norm - norm))

    return clip


def _scale(norm: Tensor, limit: float) -> Tensor:
    return limit / norm.clamp(min=limit)


class Accumulation:
    """The stage that sums gradients up and lets their mean through every few steps."""

    steps: int
    count: int
    _state: TorchState

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.count = 0
        self._state = {}

    def __call__(self, params: list[Tensor], grads: list[Tensor]) -> bool:
        """Add the gradients up; on every last step put their mean in their place."""
        sums = [self._state[p][SUM] for p in params]
        self.count += 1
        if self.count < self.steps:
            foreach.add_(sums, grads)
            return False
        foreach.add_(grads, sums)
        foreach.div_(grads, self.steps)
        for kept in self._state.values():
            kept[SUM].zero_()
        self.count = 0
        return True

    def follow(self, state: TorchState) -> None:
        """Keep the sums in this state from now on."""
        self._state = state


class Averages:
    """Exponential moving averages of weights.

    Args:
        params: the weights.
        momentum: how much of an average stays at each step.
        frequency: replace the weights every so many steps; None leaves them.
    """

    params: Sequence[Tensor]
    momentum: float
    frequency: int | None
    _values: list[Tensor]

    def __init__(
        self, params: Sequence[Tensor], momentum: float, frequency: int | None
    ) -> None:
        self.params = list(params)
        self.momentum = momentum
        self.frequency = frequency
        self._values = []

    def update(self, iterations: int) -> None:
        """Take the weights into the averages, after so many earlier updates."""
        # The first average is the weights themselves, as in Keras.
        momentum = self.momentum if iterations else 0.0
        foreach.lerp_(self._values, self.params, 1.0 - momentum)
        if self.frequency and (iterations + 1) % self.frequency == 0:
            self.overwrite()

    def follow(self, state: TorchState) -> None:
        """Keep the averages in this state from now on."""
        self._values = [state[p][AVERAGE] for p in self.params]

    @torch.no_grad()
    def overwrite(self) -> None:
        """Replace the weights by their averages."""
        foreach.copy_(self.params, self._values)
