"""The base of optimizers: Keras's arguments around a real `torch.optim.Optimizer`.

`Optimizer` keeps hyperparameters and the order of a step; the files below it know one
thing each: `hyperparameters` what it is made with, `stages` what is done to gradients
and weights around an update, `updater` how the torch optimizer is called, `torch_state`
and `keras_state` how the state is stored and restored, `user` what classes of the
user's own stand on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, optim

from torchkeras._core import gate
from torchkeras._core.errors import invalid_argument, number_in, positive_integer
from torchkeras._core.naming import auto_name, to_snake_case
from torchkeras._core.registry import Registry, deserialize_object, serialize_object
from torchkeras._core.torch_private import set_grad_enabled
from torchkeras._core.variable import Variable, as_array
from torchkeras.optimizers import foreach, torch_state
from torchkeras.optimizers.gradients import check_gradients, in_torch_layout
from torchkeras.optimizers.hyperparameters import (
    OPTIONS,
    GivenRate,
    Iterations,
    LearningRate,
    Rate,
    at_least_zero,
    checked_rate,
    full_signature,
    refuse_unknown,
    set_rate,
)
from torchkeras.optimizers.keras_state import (
    KerasState,
    Moment,
    StateVariable,
    moment_of,
)
from torchkeras.optimizers.kernels import Group
from torchkeras.optimizers.rules import ForeachOptimizer
from torchkeras.optimizers.schedules import LearningRateSchedule
from torchkeras.optimizers.stages import (
    AVERAGE,
    SUM,
    Accumulation,
    Averages,
    Stage,
    TorchState,
    clipping,
    run_stages,
    unscaling,
)
from torchkeras.optimizers.updater import Gradients, Updater
from torchkeras.optimizers.user import AddedVariables, UpdateSteps
from torchkeras.optimizers.weights import (
    Weight,
    ids_of,
    is_trainable,
    named_like,
    tensors_of,
)

optimizers = Registry("optimizer", "keras.optimizers")


class Optimizer(AddedVariables):
    """The base of every optimizer.

    It holds hyperparameters under Keras's names; `build` makes `torch`, the real
    `torch.optim.Optimizer` that holds the state, so that everything PyTorch knows about
    optimizers goes on working. `step` updates the weights by their gradients and costs
    little more than the arithmetic.

    A subclass of your own defines `build`, to make its variables, and
    ``update_step(gradient, variable, learning_rate)``, as in Keras.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        weight_decay: the factor of decoupled weight decay: each step takes
            ``learning_rate * weight_decay`` of a weight away.
        clipnorm: the largest norm of the gradient of each weight.
        clipvalue: the largest absolute value in a gradient.
        global_clipnorm: the largest norm of all gradients together.
        use_ema: keep an exponential moving average of the weights.
        ema_momentum: how much of the average stays at each step.
        ema_overwrite_frequency: replace the weights by their average every so many
            steps; None only does so at the end of training.
        loss_scale_factor: what the loss is multiplied and gradients are divided by.
        gradient_accumulation_steps: update once in so many steps, by the mean of their
            gradients.
        name: the name; the class's own in snake case by default.

    Raises:
        ValueError: for a value outside its range, for more than one way of clipping,
            for an unknown argument.
        TypeError: for a value of the wrong type.

    Example:
        >>> from torchkeras.optimizers import Adam
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = Adam(learning_rate=0.5)
        >>> optimizer.build([weight])
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> [round(value, 3) for value in weight.tolist()]
        [0.5, 0.5]
        >>> type(optimizer.torch)
        <class 'torch.optim.adam.Adam'>
    """

    #: The torch optimizer that holds the state, made by `build`.
    torch: optim.Optimizer
    built: bool
    name: str
    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    #: Trainable torch tensors, in the order in which `step` takes their gradients.
    parameters: list[Tensor]
    #: Whether the torch optimizer itself does decoupled weight decay.
    decays_itself: ClassVar[bool] = False

    _rate: Rate
    #: Steps, and how many of them make an update.
    _iterations: int
    _accumulated: int
    #: What it was built over: weights, and all of their tensors that were trainable.
    _weights: list[Weight]
    _optimized: list[Tensor]
    _undecayed: list[Weight]
    _undecayed_names: list[str]
    #: How a step is made: stages on the gradients, the update, averages of the weights.
    _stages: list[Stage]
    _update: Callable[[Gradients | None], object]
    _averages: Averages | None
    _accumulation: Accumulation | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__signature__ = full_signature(cls, Optimizer)

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        refuse_unknown(type(self), kwargs)
        if sum(v is not None for v in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                f"{owner}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` "
                f"can be set, got clipnorm={clipnorm}, clipvalue={clipvalue}, "
                f"global_clipnorm={global_clipnorm}."
            )
        self.name = name or auto_name(to_snake_case(owner))
        self._rate = checked_rate(owner, learning_rate)
        self.weight_decay = at_least_zero(owner, "weight_decay", weight_decay)
        self.clipnorm = at_least_zero(owner, "clipnorm", clipnorm)
        self.clipvalue = at_least_zero(owner, "clipvalue", clipvalue)
        self.global_clipnorm = at_least_zero(owner, "global_clipnorm", global_clipnorm)
        self.use_ema = bool(use_ema)
        self.ema_momentum = number_in(owner, "ema_momentum", ema_momentum, 0, 1)
        if ema_overwrite_frequency is not None:
            positive_integer(owner, "ema_overwrite_frequency", ema_overwrite_frequency)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = at_least_zero(
            owner, "loss_scale_factor", loss_scale_factor
        )
        steps = gradient_accumulation_steps
        if steps and positive_integer(owner, "gradient_accumulation_steps", steps) < 2:
            expected = "an integer, at least 2"
            name = "gradient_accumulation_steps"
            raise ValueError(invalid_argument(owner, name, expected, steps))
        self.gradient_accumulation_steps = steps
        self._accumulated = steps or 1
        self._iterations = 0
        self._accumulation = Accumulation(steps) if steps else None
        self._averages = None
        self._undecayed = []
        self._undecayed_names = []
        self._weights = []
        self._optimized = []
        self._stages = []
        self.parameters = []
        self.built = False

    # What an algorithm defines

    def make_torch(self, groups: list[Group]) -> optim.Optimizer:
        """Return the torch optimizer of these parameter groups.

        Args:
            groups: groups of parameters with their options, as torch takes them.
        """
        if type(self).update_step is Optimizer.update_step:
            raise NotImplementedError(
                f"Optimizer {type(self).__name__} has no `update_step(self, gradient, "
                "variable, learning_rate)`. Define it to update the variable."
            )
        return UpdateSteps(groups, self._weights, self.update_step)

    def update_step(
        self, gradient: Tensor, variable: Weight, learning_rate: float
    ) -> None:
        """Update one variable by its gradient: for optimizers of your own.

        Args:
            gradient: the gradient, in the variable's layout.
            variable: the weight.
            learning_rate: the learning rate of this step.
        """
        raise NotImplementedError

    def _get_variable_index(self, variable: Weight) -> int:
        """Return the position of a weight among those it was built over."""
        return next(i for i, w in enumerate(self._weights) if w is variable)

    def moments(self) -> tuple[tuple[Moment, ...], ...]:
        """Return what is kept for each weight, in the order of Keras's files.

        The moments of an inner tuple are interleaved weight by weight.

        Example:
            >>> from torchkeras.optimizers import Adam
            >>> [moment.name for group in Adam().moments() for moment in group]
            ['momentum', 'velocity']
        """
        return ()

    def _moment_variables(self, state: TorchState) -> list[StateVariable]:
        """Return what the algorithm keeps for each weight, as Keras lists it."""
        return [
            moment_of(weight, moment, state)
            for group in self.moments()
            for weight in self._weights
            for moment in group
        ]

    def _kept_by_stages(self) -> tuple[str, ...]:
        """Return what is kept for each weight by what surrounds an update."""
        average = (AVERAGE,) if self.use_ema else ()
        return (*average, *((SUM,) if self._accumulation is not None else ()))

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        """Return the torch state of a parameter before the first step."""
        state: dict[str, Any] = {}
        if "step" not in group:  # else the group counts
            on_device = group.get("fused") or group.get("capturable")
            device = parameter.device if on_device else None
            state["step"] = torch.zeros((), device=device)
        for moment in (moment for some in self.moments() for moment in some):
            state[moment.key] = torch.full_like(parameter, moment.initial)
        return state

    def _before_update(self) -> None:
        """Set hyperparameters that change from step to step."""

    def _settle(self) -> float:
        """Bring the state to the rate of the next update, as that would; return it."""
        return self._next_rate()

    def _after_load(self, rate: float) -> None:
        """Bring what depends on the loaded state up to date.

        Args:
            rate: the rate that the state was brought to.
        """

    # Building

    def build(self, variables: Iterable[Weight]) -> None:
        """Make the torch optimizer over these weights.

        Args:
            variables: parameters, `Variable`s and views in Keras's layout; frozen
                ones are left out.

        Raises:
            ValueError: when it was built over other weights before.
        """
        if self.built:
            self._check_known(variables)
            return
        self._weights = [w for w in variables if is_trainable(w)]
        tensors = dict.fromkeys(t for w in self._weights for t in tensors_of(w))
        self._optimized = [t for t in tensors if t.requires_grad]
        self.torch = self.make_torch(self._groups())
        self.built = True
        if isinstance(self.torch, ForeachOptimizer) or self._kept_by_stages():
            self._ensure_state()
        self._stages = self._make_stages()
        if self.use_ema:
            momentum, frequency = self.ema_momentum, self.ema_overwrite_frequency
            self._averages = Averages(self._optimized, momentum, frequency)
        self.refresh()

    def bind(self, variables: Iterable[Weight]) -> None:
        """Build over these weights, or anew where nothing was learned yet.

        Args:
            variables: parameters, `Variable`s and views in Keras's layout.

        Raises:
            ValueError: when steps were made, and some of the weights are new.
        """
        weights = list(variables)
        if self.built and not self._steps() and self._unknown(weights) is not None:
            self._unbind()
        self._build_or_check(weights)

    def _steps(self) -> int:
        """Return how many steps were made."""
        return self._iterations

    def _unbind(self) -> None:
        """Forget the weights and the state that stands beside them."""
        if not callable(self._rate):
            self._rate = self._current_rate()
        self.built = False
        self._own_variables = []

    def _build_or_check(self, variables: Sequence[Weight]) -> None:
        # Not `build` alone: a user's own makes variables each time it is called.
        (self._check_known if self.built else self.build)(variables)

    def _unknown(self, weights: Iterable[Weight]) -> Weight | None:
        """Return a trainable weight that this optimizer was not built over."""
        known = {id(t) for t in self._optimized}
        for weight in weights:
            if any(id(t) not in known and t.requires_grad for t in tensors_of(weight)):
                return weight
        return None

    def _check_known(self, weights: Iterable[Weight]) -> None:
        weight = self._unknown(weights)
        if weight is not None:
            path = getattr(weight, "path", None) or tuple(weight.shape)
            raise ValueError(
                f"Optimizer '{self.name}' was built over other weights than {path}. "
                "Make a new optimizer for a new set of weights: `compile` again after "
                "layers were thawed, added, or built by a later call."
            )

    def _groups(self) -> list[Group]:
        rate = self._current_rate()
        group: Group = {"params": self._optimized, "lr": rate}
        if not self.decays_itself or not self.weight_decay:
            return [group]
        decayed = self._decayed()
        spared = [t for t in self._optimized if id(t) not in decayed]
        group["params"] = [t for t in self._optimized if id(t) in decayed]
        group["weight_decay"] = self.weight_decay
        rest: Group = {"params": spared, "lr": rate, "weight_decay": 0.0}
        return [group, rest] if spared else [group]

    def _decayed(self) -> set[int]:
        """Return the ids of the trainable tensors that weight decay applies to."""
        named = named_like(self._weights, self._undecayed_names)
        return {id(t) for t in self._optimized} - ids_of([*self._undecayed, *named])

    def _make_stages(self) -> list[Stage]:
        """Return what is done to gradients before an update, in Keras's order."""
        stages: list[Stage] = []
        if self.loss_scale_factor is not None:
            stages.append(unscaling(self.loss_scale_factor))
        if self._accumulation is not None:
            stages.append(self._accumulation)
        units = [tensors_of(weight) for weight in self._weights]
        clip = clipping(self.clipnorm, self.clipvalue, self.global_clipnorm, units)
        if clip is not None:
            stages.append(clip)
        if self.weight_decay and not self.decays_itself:
            stages.append(self._decaying())
        return stages

    def _decaying(self) -> Stage:
        decayed = self._decayed()

        def decay(params: list[Tensor], grads: list[Tensor]) -> None:
            weights = [p for p in params if id(p) in decayed]
            if weights and self.weight_decay:
                rate = self.torch.param_groups[0]["lr"]
                foreach.mul_(weights, 1 - self.weight_decay * rate)

        return decay

    def _ensure_state(self) -> None:
        """Make the state of parameters that had no step yet."""
        names = self._kept_by_stages()
        for group in self.torch.param_groups:
            for parameter in group["params"]:
                state = self.torch.state[parameter]
                if not state:
                    state.update(self._new_state(parameter, group))
                for name in (name for name in names if name not in state):
                    state[name] = torch.zeros_like(parameter)

    def _whole_state(self) -> TorchState:
        """Return a state of the form that this one has after a step."""
        self._ensure_state()
        return self.torch.state

    def refresh(self) -> None:
        """Look at the torch optimizer again, after its state or groups changed."""
        if not self.built:
            return
        self.parameters = [t for t in self._optimized if t.requires_grad]
        self._update = Updater(self.torch, self.parameters)
        for stage in (self._averages, self._accumulation):
            if stage is not None:
                stage.follow(self.torch.state)

    def exclude_from_weight_decay(
        self,
        var_list: Iterable[Weight] | None = None,
        var_names: Iterable[str] | None = None,
    ) -> None:
        """Spare weights from weight decay; to be called before the first step.

        Args:
            var_list: the weights to spare.
            var_names: patterns; a weight is spared whose name contains one.

        Raises:
            ValueError: when the optimizer is built already.
        """
        if self.built:
            raise ValueError(
                f"Optimizer '{self.name}' is built already: call "
                "`exclude_from_weight_decay` before the first training step."
            )
        self._undecayed = list(var_list or [])
        self._undecayed_names = list(var_names or [])

    def spared_from_weight_decay(self) -> list[Tensor]:
        """Return torch's tensors that `exclude_from_weight_decay` spares."""
        decayed = self._decayed()
        return [tensor for tensor in self._optimized if id(tensor) not in decayed]

    # The step

    def step(self, gradients: Gradients | None = None) -> None:
        """Update the weights by their gradients.

        Args:
            gradients: one for each of `parameters`; by default each one's ``.grad``.

        Raises:
            ValueError: before `build`.
        """
        if not self.built:
            raise self._not_built("the first step")
        are_recorded = torch.is_grad_enabled()
        set_grad_enabled(False)
        try:
            if callable(self._rate):
                set_rate(self.torch, self._current_rate())
            stages = self._stages
            if not stages or run_stages(stages, self.parameters, gradients):
                self._before_update()
                self._update(gradients)
            if self._averages is not None:
                self._averages.update(self._updates_made())
        finally:
            set_grad_enabled(are_recorded)
        self._iterations += 1

    def _not_built(self, called: str) -> ValueError:
        return ValueError(
            f"Optimizer '{self.name}' is not built: call `optimizer.build(weights)` "
            f"before {called}."
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients.

        Args:
            set_to_none: accepted for torch's signature: gradients are always dropped.
        """
        for parameter in self.parameters:
            parameter.grad = None

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Tensor | None, Weight]]
    ) -> Iterations:
        """Update weights by gradients given in pairs, and return the count of steps.

        Args:
            grads_and_vars: pairs of a gradient, in Keras's layout, and its weight.

        Raises:
            ValueError: when weights and gradients do not fit, or all gradients are
                None.
        """
        pairs = list(grads_and_vars)
        self.apply([grad for grad, _ in pairs], [weight for _, weight in pairs])
        return self.iterations

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[Weight] | None = None,
    ) -> None:
        """Update weights by gradients given in Keras's layout.

        Args:
            grads: one gradient for each weight; None leaves the weight as it is.
            trainable_variables: the weights; those it was built over by default.

        Raises:
            ValueError: when weights and gradients do not fit, or all gradients are
                None.

        Example:
            >>> from torchkeras.optimizers import SGD
            >>> weight = Variable([1.0, 2.0])
            >>> SGD(0.5).apply([torch.ones(2)], [weight])
            >>> weight.tolist()
            [0.5, 1.5]
        """
        if not len(grads):
            return
        if trainable_variables is None and not self.built:
            raise ValueError(
                f"Optimizer '{self.name}' is not built: pass the weights along with "
                "the gradients, or call `optimizer.build(weights)` first."
            )
        known = [w for w in self._weights if is_trainable(w)]
        weights = known if trainable_variables is None else list(trainable_variables)
        self._build_or_check(weights)
        check_gradients(self.name, grads, weights)
        # Stages change gradients in place, and these are the caller's.
        found = in_torch_layout(grads, weights, copy=bool(self._stages))
        self.step([found.get(id(p)) for p in self.parameters])

    def minimize(
        self,
        loss: Tensor | Callable[[], Tensor],
        var_list: Sequence[Weight],
        tape: object = None,
    ) -> Iterations:
        """Make one step that lowers a loss, and return the count of steps.

        Args:
            loss: the loss, or a function without arguments that returns it.
            var_list: the weights.
            tape: ignored; PyTorch records by itself.

        Example:
            >>> from torchkeras.optimizers import SGD
            >>> weight = Variable([1.0, 2.0])
            >>> int(SGD(0.5).minimize(lambda: (weight * weight).sum(), [weight]))
            1
        """
        self._build_or_check(list(var_list))
        self.zero_grad()
        value = loss if isinstance(loss, Tensor) else loss()
        self.scale_loss(value).backward()
        self.step()
        return self.iterations

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Multiply the loss by `loss_scale_factor`, where there is one.

        Args:
            loss: the loss.
        """
        if self.loss_scale_factor is None:
            return loss
        return loss * self.loss_scale_factor

    def finalize_variable_values(
        self, var_list: Iterable[Weight] | None = None
    ) -> None:
        """Replace the weights by their moving averages, where these are kept.

        Args:
            var_list: accepted for Keras's signature: all weights are replaced.
        """
        if self.built and self._averages is not None:
            self._averages.overwrite()

    # Learning rate and count

    @property
    def learning_rate(self) -> LearningRate:
        """The learning rate of the next step.

        Set it to a number, a schedule or a function; `assign` on it does the same.
        """
        rate = LearningRate(self._current_rate())
        return rate.read_from(self._current_rate, self._set_learning_rate)

    @learning_rate.setter
    def learning_rate(self, rate: GivenRate) -> None:
        self._set_learning_rate(rate)

    def _set_learning_rate(self, rate: GivenRate) -> None:
        rate = checked_rate(type(self).__name__, rate)
        if isinstance(self._rate, LearningRateSchedule) and not callable(rate):
            raise TypeError(
                f"Optimizer '{self.name}' follows the schedule "
                f"{type(self._rate).__name__}, so its learning rate cannot be set to "
                f"{rate}. Make it with a number to set it later."
            )
        self._rate = rate
        if self.built:
            set_rate(self.torch, self._current_rate() if callable(rate) else rate)

    def _current_rate(self) -> float:
        if isinstance(self._rate, LearningRateSchedule):
            return float(self._rate(self._iterations))
        if callable(self._rate):
            return float(self._rate())
        if self.built and self.torch.param_groups:
            return float(self.torch.param_groups[0]["lr"])
        return self._rate

    def _next_rate(self) -> float:
        """Return the learning rate of the next update, as things stand."""
        if isinstance(self._rate, LearningRateSchedule):
            steps = (self._updates_made() + 1) * self._accumulated
            return float(self._rate(steps - 1))
        return self._current_rate()

    @property
    def iterations(self) -> Iterations:
        """How many updates were made."""
        return Iterations(self._updates_made()).read_from(
            self._updates_made,
            lambda count: self._count_from(int(count) * self._accumulated),
        )

    def _updates_made(self) -> int:
        return self._iterations // self._accumulated

    def _count_from(self, iterations: int) -> None:
        """Set the count of steps, and with it torch's own counters."""
        self._set_count(iterations)
        for state in self.torch.state.values() if self.built else ():
            if isinstance(state.get("step"), Tensor):
                state["step"].fill_(self._updates_made())

    def _set_count(self, iterations: int) -> None:
        """Set the count of steps of all weights, not of each."""
        self._iterations = iterations
        if self._accumulation is not None:
            self._accumulation.count = iterations % self._accumulation.steps
        for group in self.torch.param_groups if self.built else ():
            if "step" in group:
                group["step"] = self._updates_made()

    # State, as Keras lists it

    def _keras_state(self, inside: bool = False) -> KerasState:
        return KerasState(self, inside)

    @property
    def variables(self) -> list[Variable]:
        """The state as Keras lists it: the values of this moment, in Keras's layout."""
        return self._keras_state().variables()

    def state_for_keras(
        self, weights: Iterable[Weight] | None = None
    ) -> list[np.ndarray]:
        """Return the arrays that a Keras file holds for this optimizer, in its order.

        Args:
            weights: the weights, to build over where it was not built yet.
        """
        values = self._keras_state().values(weights)
        return [as_array(value) for _, value in values]

    def load_state_from_keras(
        self, weights: Iterable[Weight] | None, arrays: Sequence[Any]
    ) -> None:
        """Restore what `state_for_keras`, or Keras itself, wrote.

        Args:
            weights: the weights, to build over where it was not built yet.
            arrays: the arrays, in Keras's order and layout.

        Raises:
            ValueError: when number, shapes or values of the arrays do not fit;
                nothing is changed then.
        """
        self._keras_state().load(weights, arrays)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the values of `variables`.

        Args:
            weights: the values, in the order of `variables`.

        Raises:
            ValueError: when their number or shapes do not fit.
        """
        self._keras_state().load(None, weights)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write the variables into `store`, under their numbers.

        Args:
            store: a mapping, such as a group of an HDF5 file.
        """
        arrays = self.state_for_keras()
        store.update({str(number): array for number, array in enumerate(arrays)})

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read the variables from `store`.

        Args:
            store: what `save_own_variables` wrote.

        Raises:
            ValueError: when they do not fit; nothing is changed then.
        """
        self._keras_state().load(None, [store[str(i)] for i in range(len(store))])

    # State, as torch keeps it

    def state_dict(self) -> dict[str, Any]:
        """Return the torch optimizer's state, and what is kept beside it.

        Raises:
            ValueError: before `build`.
        """
        if not self.built:
            raise self._not_built("`state_dict`")
        return torch_state.dump(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict`, of this optimizer or its torch one, returned.

        Args:
            state_dict: the state.

        Raises:
            ValueError: before `build`, and for the state of another optimizer;
                nothing is changed then.
        """
        if not self.built:
            raise self._not_built("`load_state_dict`")
        torch_state.load(self, state_dict)

    def _beside_torch(self) -> dict[str, Any]:
        """Return what is kept beside the torch optimizer's state."""
        kept = {"iterations": self._iterations, "learning_rate": self._settle()}
        if self._own_variables:
            kept["variables"] = [variable.detach() for variable in self._own_variables]
        return kept

    def _beside_of_torch(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same for a state that the torch optimizer alone wrote."""
        counts = [float(values.get("step", 0)) for values in state["state"].values()]
        steps = int(max(counts, default=0)) * self._accumulated
        rates = [float(group["lr"]) for group in state["param_groups"][:1]]
        return {"iterations": steps, "learning_rate": rates[0] if rates else 0.0}

    def _take_beside(self, kept: Mapping[str, Any]) -> None:
        """Take what `_beside_torch` returned."""
        self._ensure_state()
        self._set_count(kept["iterations"])
        rate = float(kept["learning_rate"])
        if not callable(self._rate) and rate != self._current_rate():
            set_rate(self.torch, rate)
        pairs = zip(self._own_variables, kept.get("variables", ()), strict=True)
        for variable, value in pairs:
            variable.assign(value)
        self._after_load(rate)
        self.refresh()

    # Config and copies

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, from which `from_config` makes a twin."""
        rate = self._rate if callable(self._rate) else self._current_rate()
        config = {"name": self.name, "learning_rate": serialize_object(rate)}
        config |= {key: getattr(self, key) for key in OPTIONS if key != "name"}
        own = inspect.signature(type(self).__init__).parameters
        return config | {key: self.__dict__[key] for key in own if key in self.__dict__}

    @classmethod
    @gate.takes_config
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make an optimizer from what `get_config` returned.

        Args:
            config: the constructor's arguments.
            custom_objects: classes by their names, for what the config names.
        """
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            rate = deserialize_object(rate, custom_objects)
            config = {**config, "learning_rate": rate}
        return cls(**config)

    def __getstate__(self) -> dict[str, Any]:
        # Stages hold on to the tensors of one optimizer; a copy makes its own.
        return {**self.__dict__, "_stages": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.built:
            self._stages = self._make_stages()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
