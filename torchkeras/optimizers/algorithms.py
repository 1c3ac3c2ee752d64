"""The optimizers of Keras, by their names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from torchkeras._core.errors import invalid_argument, number_in, positive_integer
from torchkeras._core.variable import WeightView
from torchkeras.optimizers import foreach, rules
from torchkeras.optimizers.hyperparameters import Options, Rate, SharedOptions
from torchkeras.optimizers.keras_state import Moment, StateVariable, moment_of
from torchkeras.optimizers.kernels import Group, fastest
from torchkeras.optimizers.optimizer import Optimizer, optimizers
from torchkeras.optimizers.stages import TorchState
from torchkeras.optimizers.weights import Weight, ids_of, tensors_of, variable_name

Groups = list[Group]


def _fastest(groups: Groups) -> dict[str, bool]:
    return fastest([p for group in groups for p in group["params"]])


def _fraction(owner: Optimizer, name: str, value: float) -> float:
    return number_in(type(owner).__name__, name, value, 0, 1, open_high=True)


def _at_least_zero(owner: Optimizer, name: str, value: float) -> float:
    return number_in(type(owner).__name__, name, value, 0)


@optimizers.register()
class SGD(Optimizer):
    """Gradient descent, with momentum where asked: `torch.optim.SGD`.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        momentum: how much of the last step goes into the next, in ``[0, 1]``.
        nesterov: look ahead along the momentum.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> SGD(0.1, momentum=0.9, nesterov=True).get_config()["momentum"]
        0.9
    """

    momentum: float
    nesterov: bool
    _buffer_rate: float | None

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = number_in("SGD", "momentum", momentum, 0, 1)
        self.nesterov = bool(nesterov)
        self._buffer_rate = None

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        nesterov = self.nesterov and self.momentum > 0
        options = {"momentum": self.momentum, "nesterov": nesterov, **_fastest(groups)}
        return torch.optim.SGD(groups, **options)

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        if not self.momentum:
            return ()
        conversions = self._steps_of, self._gradients_of
        return ((Moment("momentum", "momentum_buffer", 0.0, *conversions),),)

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        state = super()._new_state(parameter, group)
        del state["step"]
        return state

    def _before_update(self) -> None:
        # Keras's momentum holds steps, torch's holds gradients: after a change of the
        # learning rate, the steps already in it keep the rate they were made with.
        if self.momentum:
            rate = self.torch.param_groups[0]["lr"]
            if rate != self._buffer_rate:
                self._bring_to(rate)

    def _bring_to(self, rate: float) -> None:
        """Make the momentum the one of a learning rate."""
        old, self._buffer_rate = self._buffer_rate, rate
        if old is None or not rate or rate == old:
            return
        states = self.torch.state.values()
        buffers = [b for s in states if (b := s.get("momentum_buffer")) is not None]
        if buffers:
            foreach.mul_(buffers, old / rate)

    def _settle(self) -> float:
        rate = super()._settle()
        if self.built and self.momentum:
            self._bring_to(_rate_of_buffer(rate))
        return rate

    def _after_load(self, rate: float) -> None:
        self._buffer_rate = _rate_of_buffer(rate)

    def _steps_of(self, gradients: Tensor) -> Tensor:
        return gradients * -(self._buffer_rate or 0.0)

    def _gradients_of(self, steps: Tensor) -> Tensor:
        return steps / -_rate_of_buffer(self._next_rate())


def _rate_of_buffer(rate: float) -> float:
    """Return the rate at which SGD's momentum is kept, before an update at this one.

    Any serves to turn steps into gradients and back, except none.
    """
    return rate or 1.0


@optimizers.register()
class Adam(Optimizer):
    """Steps scaled by running moments of the gradient: `torch.optim.Adam`.

    Source: `Adam <https://arxiv.org/abs/1412.6980>`_. Keras adds epsilon before it
    corrects the bias of the second moment, torch after: torch's ``eps`` is set at each
    step to what makes the two the same.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: the decay of the first moment.
        beta_2: the decay of the second moment.
        epsilon: what keeps divisions finite.
        amsgrad: scale by the largest second moment so far.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Adam(1e-4, amsgrad=True).get_config()["amsgrad"]
        True
    """

    decays_itself: ClassVar[bool] = True
    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = _fraction(self, "beta_1", beta_1)
        self.beta_2 = _fraction(self, "beta_2", beta_2)
        self.epsilon = _at_least_zero(self, "epsilon", epsilon)
        self.amsgrad = bool(amsgrad)

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        options = {
            "betas": (self.beta_1, self.beta_2),
            "eps": self.epsilon,
            "weight_decay": 0.0,
            "amsgrad": self.amsgrad,
            **_fastest(groups),
        }
        if self.weight_decay is None:
            return torch.optim.Adam(groups, **options)
        return torch.optim.AdamW(groups, **options)

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        moments = (Moment("momentum", "exp_avg"), Moment("velocity", "exp_avg_sq"))
        largest = (Moment("velocity_hat", "max_exp_avg_sq"),)
        return (moments, largest) if self.amsgrad else (moments,)

    def _before_update(self) -> None:
        correction = math.sqrt(1 - self.beta_2 ** (self._updates_made() + 1))
        for group in self.torch.param_groups:
            group["eps"] = self.epsilon / correction


@optimizers.register()
class AdamW(Adam):
    """Adam with decoupled weight decay: `torch.optim.AdamW`.

    Source: `Decoupled Weight Decay Regularization <https://arxiv.org/abs/1711.05101>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        weight_decay: the factor of weight decay.
        beta_1: the decay of the first moment.
        beta_2: the decay of the second moment.
        epsilon: what keeps divisions finite.
        amsgrad: scale by the largest second moment so far.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range, for no weight decay.

    Example:
        >>> AdamW(1e-4).weight_decay
        0.004
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[SharedOptions],
    ) -> None:
        decay = number_in("AdamW", "weight_decay", weight_decay, 0)
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay=decay,
            **options,
        )


@optimizers.register()
class RMSprop(Optimizer):
    """Steps scaled by a running mean of squared gradients.

    Source: Hinton's `lecture 6e
    <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        rho: the decay of the mean.
        momentum: how much of the last step goes into the next.
        epsilon: what keeps divisions finite.
        centered: scale by the variance instead of the mean of squares.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> RMSprop(1e-4, momentum=0.9).get_config()["rho"]
        0.9
    """

    rho: float
    momentum: float
    epsilon: float
    centered: bool

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = _fraction(self, "rho", rho)
        self.momentum = number_in("RMSprop", "momentum", momentum, 0, 1)
        self.epsilon = _at_least_zero(self, "epsilon", epsilon)
        self.centered = bool(centered)

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.RMSprop(
            groups,
            rho=self.rho,
            momentum=self.momentum,
            eps=self.epsilon,
            centered=self.centered,
        )

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return tuple((Moment(key, key),) for key in self._keys())

    def _keys(self) -> tuple[str, ...]:
        return rules.RMSprop.keys(
            {"momentum": self.momentum, "centered": self.centered}
        )


@optimizers.register()
class Adagrad(Optimizer):
    """Steps scaled by the sum of squared gradients: `torch.optim.Adagrad`.

    Source: `Adaptive Subgradient Methods
    <https://jmlr.org/papers/v12/duchi11a.html>`_. Keras adds epsilon under the root:
    torch's sum starts with it.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        initial_accumulator_value: what the sum starts with.
        epsilon: what keeps divisions finite.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Adagrad().initial_accumulator_value
        0.1
    """

    initial_accumulator_value: float
    epsilon: float

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        initial = _at_least_zero(
            self, "initial_accumulator_value", initial_accumulator_value
        )
        self.initial_accumulator_value = initial
        self.epsilon = _at_least_zero(self, "epsilon", epsilon)

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        initial = self.initial_accumulator_value + self.epsilon
        options = {"initial_accumulator_value": initial, "eps": 0.0}
        return torch.optim.Adagrad(groups, **options, **_fastest(groups))

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return (
            (
                Moment(
                    "accumulator",
                    "sum",
                    self.initial_accumulator_value + self.epsilon,
                    to_keras=lambda value: value - self.epsilon,
                    to_torch=lambda value: value + self.epsilon,
                ),
            ),
        )


@optimizers.register()
class Adadelta(Optimizer):
    """Steps scaled by running means, of gradients and of steps: `torch.optim.Adadelta`.

    Source: `ADADELTA <https://arxiv.org/abs/1212.5701>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        rho: the decay of the means.
        epsilon: what keeps divisions finite.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Adadelta(1.0).rho
        0.95
    """

    rho: float
    epsilon: float

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = _fraction(self, "rho", rho)
        self.epsilon = _at_least_zero(self, "epsilon", epsilon)

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        options = {"rho": self.rho, "eps": self.epsilon, "foreach": True}
        return torch.optim.Adadelta(groups, **options)

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        gradient = Moment("accumulated_grad", "square_avg")
        return ((gradient, Moment("accumulated_delta_var", "acc_delta")),)


class _TwoMoments(Optimizer):
    """The base of the algorithms whose arguments are Adam's, without AMSGrad."""

    beta_1: float
    beta_2: float
    epsilon: float

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = _fraction(self, "beta_1", beta_1)
        self.beta_2 = _fraction(self, "beta_2", beta_2)
        self.epsilon = _at_least_zero(self, "epsilon", epsilon)

    def _options(self) -> dict[str, Any]:
        return {"betas": (self.beta_1, self.beta_2), "eps": self.epsilon}


@optimizers.register()
class Adamax(_TwoMoments):
    """Adam with the largest gradient in the place of the second moment.

    Source: `Adam <https://arxiv.org/abs/1412.6980>`_, section 7.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: the decay of the first moment.
        beta_2: the decay of the norm.
        epsilon: what keeps divisions finite.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Adamax(0.002).beta_2
        0.999
    """

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.Adamax(groups, **self._options())

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return ((Moment("momentum", "momentum"), Moment("norm", "norm")),)


@optimizers.register()
class Nadam(_TwoMoments):
    """Adam that looks ahead along its momentum: `torch.optim.NAdam`.

    Source: `Incorporating Nesterov Momentum into Adam
    <https://cs229.stanford.edu/proj2015/054_report.pdf>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: the decay of the first moment.
        beta_2: the decay of the second moment.
        epsilon: what keeps divisions finite.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Nadam(0.002).beta_1
        0.9
    """

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        # Keras counts each step once in the decay of the momentum, torch 0.004 times.
        options = {**self._options(), "momentum_decay": 1.0, "foreach": True}
        return torch.optim.NAdam(groups, **options)

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return ((Moment("momentum", "exp_avg"), Moment("velocity", "exp_avg_sq")),)

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        state = super()._new_state(parameter, group)
        return {**state, "mu_product": torch.ones(())}

    def _moment_variables(self, state: TorchState) -> list[StateVariable]:
        products = [values["mu_product"] for values in state.values()]

        def read() -> Tensor:
            return products[0] if products else torch.ones(())

        def write(value: Tensor) -> None:
            for product in products:
                product.copy_(value)

        product = StateVariable("u_product", read, write, loose=True)
        return [*super()._moment_variables(state), product]

    def _count_from(self, iterations: int) -> None:
        super()._count_from(iterations)
        # Where no product is given, it is that of so many steps.
        product = torch.ones(())
        for step in range(1, self._updates_made() + 1):
            product *= self.beta_1 * (1 - 0.5 * 0.96**step)
            if not product:
                break
        for values in self.torch.state.values() if self.built else ():
            if "mu_product" in values:
                values["mu_product"].copy_(product)


@optimizers.register()
class Lamb(_TwoMoments):
    """Adam with a rate for each layer, for very large batches.

    Source: `Large Batch Optimization <https://arxiv.org/abs/1904.00962>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: the decay of the first moment.
        beta_2: the decay of the second moment.
        epsilon: what keeps divisions finite.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Lamb(0.01).epsilon
        1e-07
    """

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.Lamb(groups, **self._options())

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return ((Moment("momentum", "momentum"), Moment("velocity", "velocity")),)


@optimizers.register()
class Lion(Optimizer):
    """Steps of one size, in the direction of the sign of a momentum.

    Source: `Symbolic Discovery of Optimization Algorithms
    <https://arxiv.org/abs/2302.06675>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments; a tenth
            of Adam's is a good one.
        beta_1: how much of the momentum goes into a step, in ``(0, 1]``.
        beta_2: the decay of the momentum.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Lion(1e-4).beta_2
        0.99
    """

    beta_1: float
    beta_2: float

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = number_in("Lion", "beta_1", beta_1, 0, 1)
        if self.beta_1 == 0:
            expected = "in (0, 1]: without momentum, use the sign of the gradient"
            raise ValueError(invalid_argument("Lion", "beta_1", expected, beta_1))
        self.beta_2 = number_in("Lion", "beta_2", beta_2, 0, 1)

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.Lion(groups, betas=(self.beta_1, self.beta_2))

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return ((Moment("momentum", "momentum"),),)


@optimizers.register()
class Ftrl(Optimizer):
    """Follow the regularized leader: sparse linear models from online data.

    Source: `Ad Click Prediction
    <https://research.google/pubs/ad-click-prediction-a-view-from-the-trenches/>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        learning_rate_power: how the rate falls with the sum of squared gradients.
        initial_accumulator_value: what the sum starts with.
        l1_regularization_strength: what makes weights zero.
        l2_regularization_strength: what keeps weights small.
        l2_shrinkage_regularization_strength: a penalty of the size of weights.
        beta: an additional penalty that falls with the learning rate.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Ftrl(0.1, l1_regularization_strength=0.01).beta
        0.0
    """

    learning_rate_power: float
    initial_accumulator_value: float
    l1_regularization_strength: float
    l2_regularization_strength: float
    l2_shrinkage_regularization_strength: float
    beta: float

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.learning_rate_power = number_in(
            "Ftrl", "learning_rate_power", learning_rate_power, high=0
        )
        self.initial_accumulator_value = _at_least_zero(
            self, "initial_accumulator_value", initial_accumulator_value
        )
        self.l1_regularization_strength = _at_least_zero(
            self, "l1_regularization_strength", l1_regularization_strength
        )
        self.l2_regularization_strength = _at_least_zero(
            self, "l2_regularization_strength", l2_regularization_strength
        )
        self.l2_shrinkage_regularization_strength = _at_least_zero(
            self,
            "l2_shrinkage_regularization_strength",
            l2_shrinkage_regularization_strength,
        )
        self.beta = _at_least_zero(self, "beta", beta)

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.Ftrl(
            groups,
            power=self.learning_rate_power,
            l1=self.l1_regularization_strength,
            l2=self.l2_regularization_strength,
            shrinkage=self.l2_shrinkage_regularization_strength,
            beta=self.beta,
        )

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        initial = self.initial_accumulator_value
        accumulator = Moment("accumulator", "accumulator", initial)
        return ((accumulator, Moment("linear", "linear")),)


@optimizers.register()
class Adafactor(Optimizer):
    """Adam with little memory: the second moment is kept by rows and columns.

    Source: `Adafactor <https://arxiv.org/abs/1804.04235>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_2_decay: how the decay of the second moment approaches 1.
        epsilon_1: what keeps the second moment positive.
        epsilon_2: the smallest size of a weight that steps are relative to.
        clip_threshold: the largest root mean square of a step.
        relative_step: accepted for Keras's signature: in both, the rate is at most the
            inverse square root of the step.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Adafactor(0.01).beta_2_decay
        -0.8
    """

    beta_2_decay: float
    epsilon_1: float
    epsilon_2: float
    clip_threshold: float
    relative_step: bool

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 0.001,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_2_decay = number_in("Adafactor", "beta_2_decay", beta_2_decay)
        self.epsilon_1 = _at_least_zero(self, "epsilon_1", epsilon_1)
        self.epsilon_2 = _at_least_zero(self, "epsilon_2", epsilon_2)
        self.clip_threshold = _at_least_zero(self, "clip_threshold", clip_threshold)
        self.relative_step = relative_step

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.Adafactor(
            groups,
            beta_2_decay=self.beta_2_decay,
            epsilon_1=self.epsilon_1,
            epsilon_2=self.epsilon_2,
            clip_threshold=self.clip_threshold,
        )

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        weight = next(
            w for w in self._weights if any(t is parameter for t in tensors_of(w))
        )
        axes = _keras_axes(weight, parameter)
        zeros = torch.zeros_like(parameter).permute(axes)
        empty = zeros.new_zeros(())
        if zeros.ndim < 2:
            moments = {"rows": empty, "columns": empty.clone(), "velocity": zeros}
        else:
            moments = {
                "rows": zeros[..., 0].clone(),
                "columns": zeros[..., 0, :].clone(),
            }
            moments["velocity"] = empty
        return {"axes": axes, **moments}

    def _after_load(self, rate: float) -> None:
        for weight in self._weights:
            for tensor in tensors_of(weight):
                if tensor in self.torch.state:  # a file says nothing of our layout
                    self.torch.state[tensor]["axes"] = _keras_axes(weight, tensor)

    def _moment_variables(self, state: TorchState) -> list[StateVariable]:
        # Of each tensor, also where Keras has one weight of several.
        return [
            variable
            for weight in self._weights
            for tensor in tensors_of(weight)
            if tensor in state
            for variable in self._variables_of(weight, state[tensor])
        ]

    def _variables_of(
        self, weight: Weight, state: Mapping[str, Any]
    ) -> list[StateVariable]:
        rows, columns = state["rows"], state["columns"]

        def read() -> Tensor:
            if rows.ndim == 0:
                return state["velocity"]
            moment = rules.second_moment(rows, columns)
            return moment.nan_to_num(0.0)

        def write(value: Tensor) -> None:
            if rows.ndim == 0:
                state["velocity"].copy_(value)

        name = getattr(weight, "name", "variable")
        return [
            StateVariable(name, lambda: rows, rows.copy_, loose=rows.ndim == 0),
            StateVariable(name, lambda: columns, columns.copy_, loose=rows.ndim == 0),
            StateVariable(variable_name(weight, "velocity"), read, write),
        ]


def _keras_axes(weight: Weight, tensor: Tensor) -> tuple[int, ...]:
    """Return the order that torch's axes have in Keras's layout, if it is one."""
    plain = tuple(range(tensor.ndim))
    if not isinstance(weight, WeightView) or len(weight.tensors) > 1:
        return plain
    shown = weight.layout.to_keras(tensor.detach())
    if shown.data_ptr() != tensor.data_ptr() or shown.ndim != tensor.ndim:
        return plain
    mine = list(zip(tensor.stride(), tensor.shape, strict=True))
    axes = []
    for key in zip(shown.stride(), shown.shape, strict=True):
        axes.append(mine.index(key))
        mine[axes[-1]] = (-1, -1)
    return tuple(axes)


@optimizers.register()
class ScheduleFreeAdamW(_TwoMoments):
    """AdamW that needs no schedule, because it averages its iterates.

    Source: `The Road Less Scheduled <https://arxiv.org/abs/2405.15682>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: how much of the average is in the point where gradients are taken.
        beta_2: the decay of the second moment.
        epsilon: what keeps divisions finite.
        warmup_steps: over how many steps the rate rises to `learning_rate`.
        **options: as in `Optimizer`.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> ScheduleFreeAdamW(warmup_steps=100).warmup_steps
        100
    """

    warmup_steps: int

    def __init__(
        self,
        learning_rate: Rate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.warmup_steps = int(_at_least_zero(self, "warmup_steps", warmup_steps))

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        options = {**self._options(), "warmup_steps": self.warmup_steps}
        return rules.ScheduleFreeAdamW(groups, **options)

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        return ((Moment("momentum", "momentum"), Moment("velocity", "velocity")),)

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        state = super()._new_state(parameter, group)
        return {**state, "momentum": parameter.detach().clone()}


@optimizers.register()
class Muon(Optimizer):
    """Orthogonal steps for matrices, Adam's steps for everything else.

    Source: `Muon is Scalable for LLM Training <https://arxiv.org/abs/2502.16982>`_.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        adam_beta_1: the decay of Adam's first moment.
        adam_beta_2: the decay of Adam's second moment.
        adam_weight_decay: the factor of weight decay where Adam makes the steps.
        epsilon: what keeps Adam's divisions finite.
        weight_decay: the factor of weight decay of matrices.
        clipnorm: as in `Optimizer`, like the following ones up to `name`.
        clipvalue: as in `Optimizer`.
        global_clipnorm: as in `Optimizer`.
        use_ema: as in `Optimizer`.
        ema_momentum: as in `Optimizer`.
        ema_overwrite_frequency: as in `Optimizer`.
        loss_scale_factor: as in `Optimizer`.
        gradient_accumulation_steps: as in `Optimizer`.
        name: as in `Optimizer`.
        exclude_layers: patterns of the paths of weights that are left to Adam.
        exclude_embeddings: leave embeddings to Adam.
        muon_a: the first coefficient of the iterations that make a step orthogonal.
        muon_b: the second one.
        muon_c: the third one.
        adam_lr_ratio: the learning rate of Adam as a multiple of `learning_rate`.
        momentum: how much of the last step goes into the next.
        ns_steps: how many iterations make a step orthogonal.
        nesterov: look ahead along the momentum.
        rms_rate: the root mean square that steps are brought to; None leaves them.
        **kwargs: none.

    Raises:
        ValueError: for a value outside its range.

    Example:
        >>> Muon(0.02, exclude_layers=["head"]).ns_steps
        5
    """

    decays_itself: ClassVar[bool] = True
    adam_beta_1: float
    adam_beta_2: float
    adam_weight_decay: float | None
    epsilon: float
    exclude_layers: list[str]
    exclude_embeddings: bool
    muon_a: float
    muon_b: float
    muon_c: float
    adam_lr_ratio: float
    momentum: float
    ns_steps: int
    nesterov: bool
    rms_rate: float | None

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
            **kwargs,
        )
        self.adam_beta_1 = _fraction(self, "adam_beta_1", adam_beta_1)
        self.adam_beta_2 = _fraction(self, "adam_beta_2", adam_beta_2)
        self.adam_weight_decay = (
            None
            if adam_weight_decay is None
            else _at_least_zero(self, "adam_weight_decay", adam_weight_decay)
        )
        self.epsilon = _at_least_zero(self, "epsilon", epsilon)
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = exclude_embeddings
        self.muon_a = number_in("Muon", "muon_a", muon_a)
        self.muon_b = number_in("Muon", "muon_b", muon_b)
        self.muon_c = number_in("Muon", "muon_c", muon_c)
        self.adam_lr_ratio = _at_least_zero(self, "adam_lr_ratio", adam_lr_ratio)
        self.momentum = number_in("Muon", "momentum", momentum, 0, 1)
        self.ns_steps = positive_integer("Muon", "ns_steps", ns_steps)
        self.nesterov = bool(nesterov)
        self.rms_rate = (
            None if rms_rate is None else _at_least_zero(self, "rms_rate", rms_rate)
        )

    def make_torch(self, groups: Groups) -> torch.optim.Optimizer:
        return rules.Muon(
            groups,
            betas=(self.adam_beta_1, self.adam_beta_2),
            eps=self.epsilon,
            ratio=self.adam_lr_ratio,
            momentum=self.momentum,
            nesterov=self.nesterov,
            coefficients=(self.muon_a, self.muon_b, self.muon_c),
            ns_steps=self.ns_steps,
            rms_rate=self.rms_rate,
        )

    def _groups(self) -> Groups:
        matrices = ids_of(w for w in self._weights if self._is_matrix(w))
        decayed = self._decayed()
        kinds: dict[tuple[bool, bool], list[Tensor]] = {}
        for tensor in self._optimized:
            kind = (id(tensor) in matrices, id(tensor) in decayed)
            kinds.setdefault(kind, []).append(tensor)
        rate = self._current_rate()
        groups = []
        for (matrix, decays), params in (kinds or {(True, True): []}).items():
            decay = self.weight_decay if matrix else self.adam_weight_decay
            group = {"params": params, "lr": rate, "matrices": matrix}
            groups.append({**group, "decay": (decay or 0.0) if decays else 0.0})
        return groups

    def _is_matrix(self, weight: Weight) -> bool:
        path = getattr(weight, "path", "")
        if len(weight.shape) != 2 or tensors_of(weight)[0].ndim != 2:
            return False
        if self.exclude_embeddings and "embedding" in path.lower():
            return False
        return not any(re.search(pattern, path) for pattern in self.exclude_layers)

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        return {key: torch.zeros_like(parameter) for key in rules.Muon.keys(group)}

    def _moment_variables(self, state: TorchState) -> list[StateVariable]:
        return [
            moment_of(weight, Moment(key, key), state)
            for weight in self._weights
            for key in ("momentum", "velocity")
            if key in state[tensors_of(weight)[0]]
        ]
