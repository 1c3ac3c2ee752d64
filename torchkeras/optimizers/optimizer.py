"""The base of optimizers: Keras's arguments around a real `torch.optim.Optimizer`."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from torch import Tensor, no_grad, optim

from torchkeras._core import torch_private
from torchkeras._core.errors import (
    did_you_mean,
    invalid_argument,
    number_in,
    positive_integer,
)
from torchkeras._core.naming import auto_name, to_snake_case
from torchkeras._core.registry import Registry, deserialize_object, serialize_object
from torchkeras._core.variable import Variable, check_assigned, to_tensor
from torchkeras.optimizers import foreach
from torchkeras.optimizers.kernels import Bucket, make_buckets
from torchkeras.optimizers.rules import ForeachOptimizer
from torchkeras.optimizers.schedules import LearningRateSchedule
from torchkeras.optimizers.stages import Accumulation, Averages, clipping, unscaling
from torchkeras.optimizers.user import UpdateSteps, UserVariables
from torchkeras.optimizers.variables import (
    Weight,
    is_trainable,
    tensors_of,
    to_torch_layout,
)

Rate = float | LearningRateSchedule | Callable[[], Any]

optimizers = Registry("optimizer", "keras.optimizers")


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


class _Number:
    """A number that was read from an optimizer, with the methods of a variable."""

    shape = ()

    def assign_add(self, value: Any) -> None:
        """Add to what the optimizer has now."""
        self.assign(self._now() + value)

    def assign_sub(self, value: Any) -> None:
        """Subtract from what the optimizer has now."""
        self.assign(self._now() - value)

    def assign(self, value: Any) -> None:
        """Set the number of the optimizer this one was read from."""
        raise NotImplementedError

    def _now(self) -> Any:
        raise NotImplementedError


class LearningRate(_Number, float):
    """The learning rate of an optimizer: a number that can be assigned to.

    Example:
        >>> rate = LearningRate(0.5)
        >>> rate + 1, float(rate.numpy())
        (1.5, 0.5)
    """

    _owner: Optimizer | None = None
    dtype = "float32"

    def _now(self) -> float:
        return float(self if self._owner is None else self._owner.learning_rate)

    @property
    def value(self) -> float:
        """The number."""
        return float(self)

    def numpy(self) -> np.float32:
        """Return the number as NumPy's."""
        return np.float32(self)

    def assign(self, value: Any) -> None:
        """Set the learning rate of the optimizer this one was read from."""
        if self._owner is not None:
            self._owner.learning_rate = value

    def __reduce__(self) -> Any:
        return float, (float(self),)


class Iterations(_Number, int):
    """The number of updates made: an integer with a variable's methods."""

    _owner: Optimizer | None = None
    dtype = "int64"

    def _now(self) -> int:
        return int(self if self._owner is None else self._owner.iterations)

    @property
    def value(self) -> int:
        """The number."""
        return int(self)

    def numpy(self) -> np.int64:
        """Return the number as NumPy's."""
        return np.int64(self)

    def assign(self, value: Any) -> None:
        """Set the count of the optimizer this one was read from."""
        if self._owner is not None:
            self._owner._count_from(int(value) * self._owner._accumulated)

    def __reduce__(self) -> Any:
        return int, (int(self),)


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


class Optimizer(UserVariables):
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

    _buckets: list[Bucket] | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__signature__ = _full_signature(cls)

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
        owner = type(self).__name__
        self._refuse_unknown(kwargs)
        if sum(v is not None for v in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                f"{owner}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` "
                f"can be set, got clipnorm={clipnorm}, clipvalue={clipvalue}, "
                f"global_clipnorm={global_clipnorm}."
            )
        self.name = name or auto_name(to_snake_case(owner))
        self._rate = self._checked_rate(learning_rate)
        self.weight_decay = _optional(owner, "weight_decay", weight_decay)
        self.clipnorm = _optional(owner, "clipnorm", clipnorm)
        self.clipvalue = _optional(owner, "clipvalue", clipvalue)
        self.global_clipnorm = _optional(owner, "global_clipnorm", global_clipnorm)
        self.use_ema = bool(use_ema)
        self.ema_momentum = number_in(owner, "ema_momentum", ema_momentum, 0, 1)
        if ema_overwrite_frequency is not None:
            positive_integer(owner, "ema_overwrite_frequency", ema_overwrite_frequency)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = _optional(
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
        self._averages: Averages | None = None
        self._undecayed: list[Weight] = []
        self._undecayed_names: list[str] = []
        self._own_variables: list[Variable] = []
        self._weights: list[Weight] = []
        self._optimized: list[Tensor] = []
        self._stages: list[Callable[..., Any]] = []
        self._buckets = None
        self._may_bucket = False
        self.parameters = []
        self.built = False

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        owner = type(self).__name__
        if kwargs.pop("decay", None) is not None:
            warnings.warn(
                f"{owner}: `decay` is ignored, as in Keras. Pass `learning_rate="
                "optimizers.schedules.InverseTimeDecay(...)` to lower the learning "
                "rate, `weight_decay=...` to decay the weights.",
                stacklevel=4,
            )
        if kwargs:
            name = next(iter(kwargs))
            known = inspect.signature(type(self)).parameters
            hint = did_you_mean(name, [*known, *_OPTIONS])
            if name in _ALIASES:
                hint = f" Keras calls it `{_ALIASES[name]}`."
            raise ValueError(f"{owner}: unknown argument(s) {sorted(kwargs)}.{hint}")

    def _checked_rate(self, rate: Any) -> Any:
        if isinstance(rate, Mapping):
            rate = deserialize_object(dict(rate))
        if callable(rate) and not isinstance(rate, (Tensor, np.generic)):
            return rate
        return number_in(type(self).__name__, "learning_rate", rate, 0)

    # What an algorithm defines

    def make_torch(self, groups: list[dict[str, Any]]) -> optim.Optimizer:
        """Return the torch optimizer of these parameter groups."""
        if type(self).update_step is Optimizer.update_step:
            raise NotImplementedError(
                f"Optimizer {type(self).__name__} has no `update_step(self, gradient, "
                "variable, learning_rate)`. Define it to update the variable."
            )
        return UpdateSteps(self, groups)

    #: Whether the torch optimizer itself does decoupled weight decay.
    decays_itself: ClassVar[bool] = False

    def _before_update(self) -> None:
        """Set hyperparameters that change from step to step."""

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
        if isinstance(self.torch, ForeachOptimizer):
            self._ensure_state()
        self._stages = self._make_stages()
        if self.use_ema:
            momentum, frequency = self.ema_momentum, self.ema_overwrite_frequency
            self._averages = Averages(self._optimized, momentum, frequency)
        self.refresh()

    def bind(self, variables: Iterable[Weight]) -> None:
        """Build over these weights, or anew where nothing was learned yet.

        Raises:
            ValueError: when steps were made, and some of the weights are new.
        """
        weights = list(variables)
        if self.built and not self._iterations and self._unknown(weights) is not None:
            self._unbind()
        self._build_or_check(weights)

    def _unbind(self) -> None:
        """Forget the weights and the state that stands beside them."""
        if not callable(self._rate):
            self._rate = self._current_rate()
        self.built = False
        self._own_variables = []

    def _build_or_check(self, variables: Sequence[Weight]) -> None:
        # Not `build` alone: a user's own makes variables each time it is called.
        (self._check_known if self.built else self.build)(variables)

    def _groups(self) -> list[dict[str, Any]]:
        rate = self._current_rate()
        group = {"params": self._optimized, "lr": rate}
        if not self.decays_itself or not self.weight_decay:
            return [group]
        decayed = {id(t) for t in self._decayed()}
        spared = [t for t in self._optimized if id(t) not in decayed]
        group["params"] = [t for t in self._optimized if id(t) in decayed]
        group["weight_decay"] = self.weight_decay
        rest = {"params": spared, "lr": rate, "weight_decay": 0.0}
        return [group, rest] if spared else [group]

    def _decayed(self) -> list[Tensor]:
        """Return the trainable tensors that weight decay applies to."""
        spared = {id(t) for w in self._undecayed for t in tensors_of(w)}
        pattern = "|".join(self._undecayed_names)
        named = {
            id(t)
            for w in self._weights
            if pattern and re.search(pattern, getattr(w, "name", None) or "")
            for t in tensors_of(w)
        }
        return [t for t in self._optimized if id(t) not in spared | named]

    def _make_stages(self) -> list[Callable[..., Any]]:
        """Return what is done to gradients before an update, in Keras's order."""
        stages: list[Callable[..., Any]] = []
        if self.loss_scale_factor is not None:
            stages.append(unscaling(self.loss_scale_factor))
        if self._accumulation is not None:
            stages.append(self._accumulation)
        units = [tensors_of(weight) for weight in self._weights]
        clip = clipping(self.clipnorm, self.clipvalue, self.global_clipnorm, units)
        if clip is not None:
            stages.append(clip)
        if self.weight_decay and not self.decays_itself:
            self._decayed_ids = {id(t) for t in self._decayed()}
            stages.append(self._decay)
        return stages

    def _decay(self, params: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
        decayed = [p for p in params if id(p) in self._decayed_ids]
        if decayed:
            factor = 1 - self.weight_decay * self.torch.param_groups[0]["lr"]
            foreach.mul_(decayed, factor)
        return grads

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

    # The step

    def step(self, gradients: Sequence[Tensor | None] | None = None) -> None:
        """Update the weights by their gradients.

        Args:
            gradients: one for each of `parameters`; by default each one's ``.grad``.
        """
        if not self.built:
            raise ValueError(
                f"Optimizer '{self.name}' is not built: call "
                "`optimizer.build(weights)` before the first step."
            )
        with torch.no_grad():
            if callable(self._rate):
                self._set_rate(self._current_rate())
            if not self._stages or self._prepared(gradients):
                self._before_update()
                self._update(gradients)
            if self._averages is not None:
                self._averages.update(self._updates())
        self._iterations += 1

    def _update(self, gradients: Sequence[Tensor | None] | None) -> None:
        if gradients is None:
            grads = [g for p in self.parameters if (g := p.grad) is not None]
        else:
            gradients = self._strided_like_parameters(gradients)
            grads = [g for g in gradients if g is not None]
        buckets = self._buckets
        if (
            buckets is None
            or len(grads) != len(self.parameters)
            or self._is_intercepted()
        ):
            self._update_by_torch(gradients)
        elif len(buckets) == 1:
            buckets[0].run(grads)
        else:
            for bucket in buckets:
                bucket.run([grads[i] for i in bucket.indices])

    def _strided_like_parameters(
        self, gradients: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        # Fused kernels walk through memory: other strides would mix up the elements.
        return [
            g if g is None or g.stride() == p.stride() else _strided_like(p, g)
            for p, g in zip(self.parameters, gradients, strict=True)
        ]

    def _is_intercepted(self) -> bool:
        """Say whether someone watches or replaces the torch optimizer's own step."""
        return torch_private.is_hooked(self.torch) or "step" in self.torch.__dict__

    def _update_by_torch(self, gradients: Sequence[Tensor | None] | None) -> None:
        if gradients is not None:
            for parameter, grad in zip(self.parameters, gradients, strict=True):
                parameter.grad = grad
        self.torch.step()
        if self._buckets is None and self._may_bucket:
            self._buckets = make_buckets(self.torch, self.parameters)
            self._may_bucket = False
        if gradients is not None:
            self.zero_grad()

    def _prepared(self, gradients: Sequence[Tensor | None] | None) -> bool:
        """Run the stages on the gradients, in place; False for no update yet."""
        if gradients is None:
            gradients = [p.grad for p in self.parameters]
        pairs = [
            (p, g)
            for p, g in zip(self.parameters, gradients, strict=True)
            if g is not None
        ]
        params, grads = [p for p, _ in pairs], [g for _, g in pairs]
        return all(stage(params, grads) is not False for stage in self._stages)

    def refresh(self) -> None:
        """Look at the torch optimizer again, after its state or groups changed."""
        if not self.built:
            return
        self.parameters = [t for t in self._optimized if t.requires_grad]
        self._follow_parameters()
        self._buckets = make_buckets(self.torch, self.parameters)
        self._may_bucket = self._buckets is None

    def _follow_parameters(self) -> None:
        """Bring the state to the device and the memory format of its parameters.

        Both change with ``model.to(...)``, and kernels rely on either.
        """
        for p, state in self.torch.state.items():
            for key, value in state.items():
                if not isinstance(value, Tensor) or key in ("step", "mu_product"):
                    continue
                if value.shape != p.shape:
                    state[key] = value.to(p.device)
                elif (value.device, value.stride()) != (p.device, p.stride()):
                    state[key] = _strided_like(p, value)
        if self._averages is not None:
            self._averages.follow()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    # Keras's ways to step

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Tensor | None, Weight]]
    ) -> Iterations:
        """Update weights by gradients given in pairs, and return the count of steps.

        Args:
            grads_and_vars: pairs of a gradient, in Keras's layout, and its weight.
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
        """
        if not len(grads):
            return
        if trainable_variables is None and not self.built:
            raise ValueError(
                f"Optimizer '{self.name}' is not built: pass the weights along with "
                "the gradients, or call `optimizer.build(weights)` first."
            )
        given = trainable_variables
        weights = self._trainable_weights() if given is None else list(given)
        self._build_or_check(weights)
        if len(grads) != len(weights):
            raise ValueError(
                f"Optimizer '{self.name}': expected one gradient for each of "
                f"{len(weights)} weights, got {len(grads)}."
            )
        if all(grad is None for grad in grads):
            raise ValueError(
                f"Optimizer '{self.name}': all gradients are None. Check that the loss "
                "depends on the weights."
            )
        pairs = zip(grads, weights, strict=True)
        if missing := [getattr(w, "path", "") for grad, w in pairs if grad is None]:
            warnings.warn(
                f"Optimizer '{self.name}': there is no gradient for {missing}, which "
                "stay as they are. Check that the loss depends on them.",
                stacklevel=2,
            )
        self.step(self._in_torch_layout(grads, weights))

    def _in_torch_layout(
        self, grads: Sequence[Tensor | None], weights: Sequence[Weight]
    ) -> list[Tensor | None]:
        found: dict[int, Tensor] = {}
        for grad, weight in zip(grads, weights, strict=True):
            if grad is None:
                continue
            targets = tensors_of(weight)
            grad = to_tensor(grad, targets[0])
            path = getattr(weight, "path", type(weight).__name__)
            check_assigned(path, tuple(weight.shape), tuple(grad.shape))
            for target, part in zip(
                targets, to_torch_layout(weight, grad), strict=True
            ):
                # Stages change gradients in place, and these are the caller's.
                found[id(target)] = part.clone() if self._stages else part
        return [found.get(id(p)) for p in self.parameters]

    def _trainable_weights(self) -> list[Weight]:
        return [w for w in self._weights if is_trainable(w)]

    def minimize(self, loss: Any, var_list: Sequence[Weight], tape: Any = None) -> Any:
        """Make one step that lowers a loss.

        Args:
            loss: the loss, or a function without arguments that returns it.
            var_list: the weights.
            tape: ignored; PyTorch records by itself.
        """
        self._build_or_check(list(var_list))
        self.zero_grad()
        value: Any = loss if isinstance(loss, Tensor) else loss()
        self.scale_loss(value).backward()
        self.step()
        return self.iterations

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Multiply the loss by `loss_scale_factor`, where there is one."""
        if self.loss_scale_factor is None:
            return loss
        return loss * self.loss_scale_factor

    def finalize_variable_values(
        self, var_list: Iterable[Weight] | None = None
    ) -> None:
        """Replace the weights by their moving averages, where these are kept."""
        if self.built and self._averages is not None:
            self._averages.overwrite()

    # Hyperparameters

    @property
    def learning_rate(self) -> LearningRate:
        """The learning rate of the next step.

        Set it to a number, a schedule or a function; `assign` on it does the same.
        """
        rate = LearningRate(self._current_rate())
        rate._owner = self
        return rate

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        rate = self._checked_rate(rate)
        if isinstance(self._rate, LearningRateSchedule) and not callable(rate):
            raise TypeError(
                f"Optimizer '{self.name}' follows the schedule "
                f"{type(self._rate).__name__}, so its learning rate cannot be set to "
                f"{rate}. Make it with a number to set it later."
            )
        self._rate = rate
        if self.built:
            self._set_rate(self._rate if not callable(rate) else self._current_rate())

    def _current_rate(self) -> float:
        if isinstance(self._rate, LearningRateSchedule):
            return float(self._rate(self._iterations))
        if callable(self._rate):
            rate: Any = self._rate()
            return float(rate)
        if self.built and self.torch.param_groups:
            return float(self.torch.param_groups[0]["lr"])
        return self._rate

    def _set_rate(self, rate: float) -> None:
        """Set the rate of every group; groups keep their ratio to the first."""
        first, *rest = self.torch.param_groups
        for group in rest:
            ratio = group["lr"] / first["lr"] if first["lr"] else 1.0
            group["lr"] = rate * ratio
        first["lr"] = rate

    @property
    def iterations(self) -> Iterations:
        """How many updates were made."""
        count = Iterations(self._updates())
        count._owner = self
        return count

    # State

    def state_dict(self) -> dict[str, Any]:
        """Return the torch optimizer's state, and what is kept beside it."""
        extra: dict[str, Any] = {"iterations": self._iterations}
        if self._averages is not None:
            extra["averages"] = self._averages.values
        if self._accumulation is not None:
            extra["accumulated"] = self._accumulation.sums(self._optimized)
        return {**self.torch.state_dict(), "keras": extra}

    @no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict`, of this optimizer or its torch one, returned."""
        state = dict(state_dict)
        extra = state.pop("keras", None)
        self.torch.load_state_dict(state)
        if extra is None:
            counts = [float(s.get("step", 0)) for s in self.torch.state.values()]
            extra = {"iterations": int(max(counts, default=0)) * self._accumulated}
        self._count_from(extra["iterations"])
        if self._averages is not None and "averages" in extra:
            foreach.copy_(self._averages.values, extra["averages"])
        if self._accumulation is not None and "accumulated" in extra:
            sums = self._accumulation.sums(self._optimized)
            foreach.copy_(sums, extra["accumulated"])
        self._after_load()
        self.refresh()

    # Config

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, from which `from_config` makes a twin."""
        rate = self._rate if callable(self._rate) else self._current_rate()
        config = {"name": self.name, "learning_rate": serialize_object(rate)}
        config |= {key: getattr(self, key) for key in _OPTIONS if key != "name"}
        own = inspect.signature(type(self).__init__).parameters
        return config | {key: self.__dict__[key] for key in own if key in self.__dict__}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """Make an optimizer from what `get_config` returned."""
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            rate = deserialize_object(rate, custom_objects)
            config = {**config, "learning_rate": rate}
        return cls(**config)

    def __getstate__(self) -> dict[str, Any]:
        # Both hold on to the tensors of one optimizer; a copy makes its own.
        return {**self.__dict__, "_buckets": None, "_stages": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.built:
            self._stages = self._make_stages()
            self._may_bucket = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


_OPTIONS = list(inspect.signature(Optimizer).parameters)[1:-1]


def _full_signature(cls: type[Optimizer]) -> inspect.Signature:
    """Return a constructor's signature with the shared options spelled out."""
    signature = inspect.signature(cls.__init__)
    own = list(signature.parameters.values())[1:]
    if not own or own[-1].name != "options":
        return signature.replace(parameters=own)
    taken = {parameter.name for parameter in own}
    shared = inspect.signature(Optimizer.__init__).parameters
    missing = [
        shared[name].replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name in _OPTIONS
        if name not in taken
    ]
    keywords = own[-1].replace(name="kwargs")
    return signature.replace(parameters=[*own[:-1], *missing, keywords])


def _strided_like(parameter: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _optional(owner: str, name: str, value: Any) -> float | None:
    return None if value is None else number_in(owner, name, value, 0)
