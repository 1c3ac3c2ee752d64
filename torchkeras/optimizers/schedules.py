"""Learning rate schedules: functions of the step that an optimizer follows.

Each one is a formula over ``math`` for a Python number, which costs no tensor and no
wait for a device, and the same formula over tensors for an array of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import gate
from torchkeras._core.errors import invalid_argument, number_in
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import Registry

schedules = Registry("learning rate schedule", "keras.optimizers.schedules")


class LearningRateSchedule:
    """The base of schedules: define ``__call__(step)``, and `get_config` to save it.

    Example:
        >>> class Inverse(LearningRateSchedule):
        ...     def __call__(self, step):
        ...         return 0.1 / (step + 1)
        >>> Inverse()(4)
        0.02
    """

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at `step`.

        Args:
            step: how many steps were made before.
        """
        raise NotImplementedError(
            f"Learning rate schedule {type(self).__name__} has no `__call__(self, "
            "step)`. Define it to return the learning rate at that step."
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        raise NotImplementedError(
            f"Learning rate schedule {type(self).__name__} has no `get_config`. Define "
            "it to return the constructor's arguments, so that it can be saved."
        )

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a schedule from what `get_config` returned.

        Args:
            config: the constructor's arguments.
        """
        return cls(**config)


class _Formula(LearningRateSchedule):
    """A schedule given by `rate`, whose attributes are the constructor's arguments."""

    name: str

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at `step`: a float for a number, else a tensor."""
        if isinstance(step, (np.ndarray, Tensor)) and step.ndim:
            steps = torch.as_tensor(step)
            rates = [self.rate(float(s)) for s in steps.flatten().tolist()]
            return torch.tensor(rates, device=steps.device).reshape(steps.shape)
        return self.rate(float(step))

    def rate(self, step: float) -> float:
        """Return the learning rate at one step.

        Args:
            step: how many steps were made before.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))


def _steps(owner: Any, argument: str, value: Any) -> Any:
    name = type(owner).__name__
    if number_in(name, argument, value, 0) == 0:
        raise ValueError(invalid_argument(name, argument, "positive", value))
    return value


@schedules.register()
class ExponentialDecay(_Formula):
    """Multiply the rate by `decay_rate` every `decay_steps` steps.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps one decay takes.
        decay_rate: the factor.
        staircase: decay in jumps instead of continuously.
        name: the name of the schedule.

    Raises:
        ValueError: when `decay_steps` is not positive.

    Example:
        >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(10)
        0.05
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def rate(self, step: float) -> float:
        p = step / self.decay_steps
        p = math.floor(p) if self.staircase else p
        return self.initial_learning_rate * self.decay_rate**p


@schedules.register()
class InverseTimeDecay(_Formula):
    """Divide the rate by ``1 + decay_rate * step / decay_steps``.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps count as one.
        decay_rate: how fast the divisor grows.
        staircase: decay in jumps instead of continuously.
        name: the name of the schedule.

    Raises:
        ValueError: when `decay_steps` is not positive.

    Example:
        >>> InverseTimeDecay(0.1, decay_steps=1, decay_rate=1.0)(1)
        0.05
    """

    initial_learning_rate: float
    decay_steps: int
    decay_rate: float
    staircase: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def rate(self, step: float) -> float:
        p = step / self.decay_steps
        p = math.floor(p) if self.staircase else p
        return self.initial_learning_rate / (1 + self.decay_rate * p)


@schedules.register()
class PiecewiseConstantDecay(_Formula):
    """Take one of several rates, according to boundaries between steps.

    Args:
        boundaries: the last step of each rate but the last, in ascending order.
        values: the rates, one more than boundaries.
        name: the name of the schedule.

    Raises:
        ValueError: when the numbers of boundaries and values do not fit.

    Example:
        >>> drops = PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001])
        >>> drops(100), drops(101), drops(500)
        (0.1, 0.01, 0.001)
    """

    boundaries: Sequence[float]
    values: Sequence[float]

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "PiecewiseConstantDecay: `values` must have one element more than "
                f"`boundaries`, got {len(values)} values and {len(boundaries)} "
                "boundaries."
            )
        self.boundaries = list(boundaries)
        self.values = list(values)
        self.name = name

    def rate(self, step: float) -> float:
        passed = sum(step > boundary for boundary in self.boundaries)
        return self.values[passed]


@schedules.register()
class PolynomialDecay(_Formula):
    """Go from the initial to the end rate along a polynomial.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps it takes.
        end_learning_rate: the rate from then on.
        power: the power of the polynomial; 1.0 is a straight line.
        cycle: start again, over a longer span, each time the end is reached.
        name: the name of the schedule.

    Raises:
        ValueError: when `decay_steps` is not positive.

    Example:
        >>> PolynomialDecay(0.1, decay_steps=10, end_learning_rate=0.0)(5)
        0.05
    """

    initial_learning_rate: float
    decay_steps: int
    end_learning_rate: float
    power: float
    cycle: bool

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def rate(self, step: float) -> float:
        span = self.decay_steps
        if self.cycle:
            span *= max(1, math.ceil(step / span))
        remaining = 1 - min(step, span) / span
        height = self.initial_learning_rate - self.end_learning_rate
        return height * remaining**self.power + self.end_learning_rate


@schedules.register()
class CosineDecay(_Formula):
    """Go down along half a cosine, after an optional linear warmup.

    Source: `SGDR <https://arxiv.org/abs/1608.03983>`_, without restarts.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: how many steps the cosine takes.
        alpha: the rate at the end, as a fraction of the rate it decays from.
        name: the name of the schedule.
        warmup_target: the rate that the warmup goes up to; None for no warmup.
        warmup_steps: how many steps the warmup takes.

    Raises:
        ValueError: when `decay_steps` is not positive.

    Example:
        >>> warm = CosineDecay(0.0, decay_steps=10, warmup_target=0.1, warmup_steps=4)
        >>> warm(2), warm(4), warm(14)
        (0.05, 0.1, 0.0)
    """

    initial_learning_rate: float
    decay_steps: int
    alpha: float
    warmup_target: float | None
    warmup_steps: int

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def rate(self, step: float) -> float:
        peak = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                rise = self.warmup_target - peak
                return peak + rise * step / self.warmup_steps
            peak = self.warmup_target
            step -= self.warmup_steps
        return peak * _cosine(min(step / self.decay_steps, 1.0), 1.0, self.alpha)


@schedules.register()
class CosineDecayRestarts(_Formula):
    """Go down along half a cosine again and again, each time slower.

    Source: `SGDR <https://arxiv.org/abs/1608.03983>`_.

    Args:
        initial_learning_rate: the rate at step 0.
        first_decay_steps: how many steps the first period takes.
        t_mul: how much longer each period is than the one before.
        m_mul: how much higher each period starts than the one before.
        alpha: the lowest rate, as a fraction of the initial one.
        name: the name of the schedule.

    Raises:
        ValueError: when `first_decay_steps` is not positive.

    Example:
        >>> restarts = CosineDecayRestarts(0.1, first_decay_steps=10)
        >>> restarts(5), restarts(10)
        (0.05, 0.1)
    """

    initial_learning_rate: float
    first_decay_steps: int
    t_mul: float
    m_mul: float
    alpha: float

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _steps(self, "first_decay_steps", first_decay_steps)
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def rate(self, step: float) -> float:
        fraction = step / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = math.floor(fraction)
            fraction -= restarts
        else:
            grown = 1 - fraction * (1 - self.t_mul)
            # The tolerance keeps log(8) / log(2) from being a little under 3.
            restarts = math.floor(math.log(grown) / math.log(self.t_mul) + 1e-9)
            length = self.t_mul**restarts
            fraction = (fraction - (1 - length) / (1 - self.t_mul)) / length
        height = self.m_mul**restarts
        return self.initial_learning_rate * _cosine(fraction, height, self.alpha)


def _cosine(fraction: float, height: float, alpha: float) -> float:
    cosine = 0.5 * height * (1 + math.cos(math.pi * fraction))
    return (1 - alpha) * cosine + alpha


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return the Keras form of a schedule.

    Args:
        learning_rate_schedule: the schedule.

    Example:
        >>> serialize(ExponentialDecay(0.1, 10, 0.5))["class_name"]
        'ExponentialDecay'
    """
    return schedules.serialize(learning_rate_schedule)


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> LearningRateSchedule:
    """Return the schedule that a config stands for.

    Args:
        config: what `serialize` returned.
        custom_objects: classes by their names, for what the config names.

    Raises:
        ValueError: for an unknown class.

    Example:
        >>> deserialize(serialize(ExponentialDecay(0.1, 10, 0.5)))(10)
        0.05
    """
    return schedules.deserialize(config, custom_objects)


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
