"""What an optimizer is made with: options that all share, rates, numbers read back."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, SupportsFloat, TypedDict

import numpy as np
from torch import Tensor, optim

from torchkeras._core.errors import did_you_mean, number_in
from torchkeras._core.registry import deserialize_object
from torchkeras.optimizers.schedules import LearningRateSchedule

Rate = float | LearningRateSchedule | Callable[[], Any]

#: What the learning rate may be given as: a config stands for a schedule.
GivenRate = Rate | SupportsFloat | Mapping[str, Any]


class SharedOptions(TypedDict, total=False):
    """What every optimizer takes beside its own arguments and weight decay."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class Options(SharedOptions, total=False):
    """What every optimizer takes beside its own arguments."""

    weight_decay: float | None


#: The names of these options, in the order of Keras's arguments.
OPTIONS = ("weight_decay", *SharedOptions.__annotations__)

_ALIASES = {
    "lr": "learning_rate",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "betas": "beta_1` and `beta_2",
    "eps": "epsilon",
    "alpha": "rho",
    "clip_norm": "clipnorm",
    "clip_value": "clipvalue",
}


def refuse_unknown(cls: type, kwargs: dict[str, Any]) -> None:
    """Refuse arguments that an optimizer's class does not have.

    Raises:
        ValueError: when there are any, with the closest known ones.
    """
    owner = cls.__name__
    if kwargs.pop("decay", None) is not None:
        warnings.warn(
            f"{owner}: `decay` is ignored, as in Keras. Pass `learning_rate="
            "optimizers.schedules.InverseTimeDecay(...)` to lower the learning "
            "rate, `weight_decay=...` to decay the weights.",
            stacklevel=4,
        )
    if kwargs:
        name = next(iter(kwargs))
        hint = did_you_mean(name, [*inspect.signature(cls).parameters, *OPTIONS])
        if name in _ALIASES:
            hint = f" Keras calls it `{_ALIASES[name]}`."
        raise ValueError(f"{owner}: unknown argument(s) {sorted(kwargs)}.{hint}")


def full_signature(cls: type, base: type) -> inspect.Signature:
    """Return a constructor's signature with the base's options spelled out."""
    signature = inspect.signature(cls.__init__)
    own = list(signature.parameters.values())[1:]
    if not own or own[-1].name != "options":
        return signature.replace(parameters=own)
    taken = {parameter.name for parameter in own}
    shared = inspect.signature(base.__init__).parameters
    missing = [
        shared[name].replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name in OPTIONS
        if name not in taken
    ]
    keywords = own[-1].replace(name="kwargs")
    return signature.replace(parameters=[*own[:-1], *missing, keywords])


def at_least_zero(owner: str, name: str, value: float | None) -> float | None:
    """Check a hyperparameter that may be left out."""
    return None if value is None else number_in(owner, name, value, 0)


def checked_rate(owner: str, rate: GivenRate) -> Rate:
    """Return a learning rate that an optimizer can follow.

    Args:
        owner: the name of the optimizer's class.
        rate: a number, a schedule or its config, or a function without arguments.

    Raises:
        TypeError: for anything else.
        ValueError: for a number that is negative or not finite.
    """
    if isinstance(rate, Mapping):
        rate = deserialize_object(dict(rate))
    if callable(rate) and not isinstance(rate, (Tensor, np.generic)):
        return rate
    return number_in(owner, "learning_rate", rate, 0)


def set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Set the rate of every group; groups keep their ratio to the first."""
    first, *rest = optimizer.param_groups
    for group in rest:
        ratio = group["lr"] / first["lr"] if first["lr"] else 1.0
        group["lr"] = rate * ratio
    first["lr"] = rate


class _Number:
    """A number that was read from an optimizer, with the methods of a variable."""

    shape = ()
    dtype: ClassVar[str]

    _read: Callable[[], float] | None = None
    _write: Callable[[Any], None] | None = None

    def read_from(
        self, read: Callable[[], float], write: Callable[[Any], None]
    ) -> Self:
        """Say where the number comes from, and where `assign` writes it."""
        self._read, self._write = read, write
        return self

    def assign(self, value: SupportsFloat) -> None:
        """Set the number of the optimizer that this one was read from.

        Args:
            value: the new number.
        """
        if self._write is not None:
            self._write(value)

    def assign_add(self, value: float) -> None:
        """Add to what the optimizer has now.

        Args:
            value: what to add.
        """
        self.assign(self._now() + value)

    def assign_sub(self, value: float) -> None:
        """Subtract from what the optimizer has now.

        Args:
            value: what to subtract.
        """
        self.assign(self._now() - value)

    def _now(self) -> Any:
        return self if self._read is None else self._read()


class LearningRate(_Number, float):
    """The learning rate of an optimizer: a number that can be assigned to.

    Example:
        >>> rate = LearningRate(0.5)
        >>> rate + 1, float(rate.numpy())
        (1.5, 0.5)
    """

    dtype = "float32"

    @property
    def value(self) -> float:
        """The number."""
        return float(self)

    def numpy(self) -> np.float32:
        """Return the number as NumPy's."""
        return np.float32(self)

    def __reduce__(self) -> tuple[type, tuple[float]]:
        return float, (float(self),)


class Iterations(_Number, int):
    """The number of updates made: an integer with a variable's methods.

    Example:
        >>> count = Iterations(3)
        >>> count + 1, count.numpy().dtype
        (4, dtype('int64'))
    """

    dtype = "int64"

    @property
    def value(self) -> int:
        """The number."""
        return int(self)

    def numpy(self) -> np.int64:
        """Return the number as NumPy's."""
        return np.int64(self)

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return int, (int(self),)
