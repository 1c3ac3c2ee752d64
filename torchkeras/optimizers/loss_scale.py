"""Dynamic loss scaling, for training in half precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from torchkeras._core import gate
from torchkeras._core.errors import invalid_argument, number_in, positive_integer
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras.optimizers import foreach
from torchkeras.optimizers.hyperparameters import (
    GivenRate,
    Iterations,
    LearningRate,
    Options,
)
from torchkeras.optimizers.keras_state import KerasState, StateVariable
from torchkeras.optimizers.optimizer import Optimizer, optimizers
from torchkeras.optimizers.stages import Stage, TorchState
from torchkeras.optimizers.weights import Weight
from torchkeras.optimizers.wrapped import get


@optimizers.register()
class LossScaleOptimizer(Optimizer):
    """An optimizer around another, which keeps small float16 gradients from vanishing.

    The loss is multiplied by a scale and gradients are divided by it. A step with
    infinite gradients is left out and halves the scale; a run of good ones doubles it:
    what `torch.amp.GradScaler` does.

    Args:
        inner_optimizer: the optimizer that makes the steps.
        initial_scale: the first scale.
        dynamic_growth_steps: how many good steps in a row double the scale.
        name: the name; the class's own in snake case by default.

    Raises:
        ValueError: for a scale or a number of steps that is not positive, and for
            options that belong to the inner optimizer.

    Example:
        >>> from torchkeras.optimizers import SGD
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=8.0)
        >>> optimizer.build([weight])
        >>> optimizer.scale_loss(weight.sum()).backward()
        >>> weight.grad.tolist()
        [8.0, 8.0]
        >>> optimizer.step()
        >>> weight.tolist()
        [0.5, 0.5]
    """

    inner_optimizer: Optimizer
    initial_scale: float
    dynamic_growth_steps: int

    _scale: float
    _good_steps: int

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 32768.0,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.inner_optimizer = get(inner_optimizer)
        _refuse_options(kwargs)
        super().__init__(0.0, name=name, **kwargs)
        owner = "LossScaleOptimizer"
        self.initial_scale = number_in(owner, "initial_scale", initial_scale, 0)
        if not self.initial_scale:
            expected = "a positive number"
            message = invalid_argument(owner, "initial_scale", expected, initial_scale)
            raise ValueError(message)
        steps = positive_integer(owner, "dynamic_growth_steps", dynamic_growth_steps)
        self.dynamic_growth_steps = steps
        self.inner_optimizer.loss_scale_factor = None
        self._scale = self.initial_scale
        self._good_steps = 0

    @property
    def dynamic_scale(self) -> float:
        """The scale of the next step."""
        return self._scale

    def build(self, variables: Iterable[Weight]) -> None:
        weights = list(variables)
        self.inner_optimizer.build(weights)
        self.built = True
        self._weights = self.inner_optimizer._weights
        self._optimized = self.inner_optimizer._optimized
        self._stages = self._make_stages()
        self.refresh()

    def spared_from_weight_decay(self) -> list[Tensor]:
        return self.inner_optimizer.spared_from_weight_decay()

    def _unbind(self) -> None:
        self.inner_optimizer._unbind()
        super()._unbind()

    def _make_stages(self) -> list[Stage]:
        return [self._unscale]

    def _unscale(self, params: list[Tensor], grads: list[Tensor]) -> bool:
        """Divide the gradients by the scale; False where one is not finite."""
        by_device: dict[torch.device, list[Tensor]] = {}
        for grad in grads:
            by_device.setdefault(grad.device, []).append(grad)
        found = []
        for device, some in by_device.items():
            infinite = torch.zeros((), device=device)
            inverse = torch.tensor(1.0 / self._scale, device=device)
            foreach.unscale_(some, infinite, inverse)
            found.append(infinite)
        finite = not any(float(infinite) for infinite in found)
        self._adjust(finite)
        return finite

    def _adjust(self, finite: bool) -> None:
        self._good_steps = self._good_steps + 1 if finite else 0
        if not finite:
            self._scale *= 0.5
        elif self._good_steps == self.dynamic_growth_steps:
            self._scale *= 2.0
            self._good_steps = 0

    def refresh(self) -> None:
        self.inner_optimizer.refresh()
        if self.built:
            self.torch = self.inner_optimizer.torch
            self._update = self.inner_optimizer.step
            self.parameters = self.inner_optimizer.parameters

    def scale_loss(self, loss: Tensor) -> Tensor:
        return loss * self._scale

    def finalize_variable_values(
        self, var_list: Iterable[Weight] | None = None
    ) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(
        self,
        var_list: Iterable[Weight] | None = None,
        var_names: Iterable[str] | None = None,
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    @property
    def learning_rate(self) -> LearningRate:
        """The learning rate of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: GivenRate) -> None:
        self.inner_optimizer.learning_rate = rate

    @property
    def iterations(self) -> Iterations:
        """How many updates the inner optimizer made."""
        return self.inner_optimizer.iterations

    def _steps(self) -> int:
        return self.inner_optimizer._steps()

    def _ensure_state(self) -> None:
        self.inner_optimizer._ensure_state()

    def _whole_state(self) -> TorchState:
        return self.inner_optimizer._whole_state()

    def _beside_torch(self) -> dict[str, Any]:
        scaling = {"scale": self._scale, "good_steps": self._good_steps}
        return {**self.inner_optimizer._beside_torch(), "loss_scale": scaling}

    def _beside_of_torch(self, state: Mapping[str, Any]) -> dict[str, Any]:
        inner = self.inner_optimizer._beside_of_torch(state)
        return {**inner, "loss_scale": self._beside_torch()["loss_scale"]}

    def _take_beside(self, kept: Mapping[str, Any]) -> None:
        self.inner_optimizer._take_beside(kept)
        self._scale = float(kept["loss_scale"]["scale"])
        self._good_steps = int(kept["loss_scale"]["good_steps"])
        self.refresh()

    def _keras_state(self, inside: bool = False) -> KerasState:
        return _LossScaleState(self, inside)

    def _settle(self) -> float:
        return self.inner_optimizer._settle()

    def _next_rate(self) -> float:
        return self.inner_optimizer._next_rate()

    def _after_load(self, rate: float) -> None:
        self.inner_optimizer._after_load(rate)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inner_optimizer": serialize_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    @gate.takes_config
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        inner = deserialize_object(
            config["inner_optimizer"], custom_objects, family=optimizers
        )
        return cls(**{**config, "inner_optimizer": inner})


class _LossScaleState(KerasState):
    """What Keras lists of loss scaling: its own, then the inner optimizer's."""

    scaling: LossScaleOptimizer

    def __init__(self, optimizer: LossScaleOptimizer, inside: bool = False) -> None:
        super().__init__(optimizer, inside)
        self.scaling = optimizer

    def before_build(self) -> list[StateVariable]:
        inner = self.scaling.inner_optimizer._keras_state(inside=True)
        return [*self._never_used(), *inner.before_build()]

    def of_state(self, state: TorchState) -> list[StateVariable]:
        inner = self.scaling.inner_optimizer._keras_state(inside=True)
        return [
            *self._never_used(),
            StateVariable("step_counter", self._read_steps, self._write_steps),
            StateVariable("dynamic_scale", self._read_scale, self._write_scale),
            *inner.of_state(state),
        ]

    def _never_used(self) -> list[StateVariable]:
        return [_unused("iteration", 0), _unused("learning_rate", 0.0)]

    def _read_steps(self) -> Tensor:
        return torch.tensor(self.scaling._good_steps, dtype=torch.int32)

    def _write_steps(self, value: Tensor) -> None:
        self.scaling._good_steps = int(value)

    def _read_scale(self) -> Tensor:
        return torch.tensor(self.scaling._scale)

    def _write_scale(self, value: Tensor) -> None:
        self.scaling._scale = float(value)


def _unused(name: str, value: float) -> StateVariable:
    """Return a variable that Keras keeps of the outer optimizer, and does not use."""
    dtype = torch.int32 if isinstance(value, int) else torch.float32

    def ignore(given: Tensor) -> None:
        """Nothing follows from its value."""

    return StateVariable(name, lambda: torch.tensor(value, dtype=dtype), ignore)


def _refuse_options(kwargs: dict[str, Any]) -> None:
    if not kwargs.pop("dynamic", True):
        raise ValueError(
            "LossScaleOptimizer: `dynamic` must be True. For a fixed scale, pass "
            "`loss_scale_factor` to the inner optimizer instead."
        )
    from_inner = [k for k in kwargs if k in Options.__annotations__ and k != "name"]
    if from_inner:
        raise ValueError(
            f"LossScaleOptimizer: {from_inner} must be given to the inner optimizer."
        )
