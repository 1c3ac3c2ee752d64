"""Torch's own optimizers as optimizers of a model, and `get`, which takes anything."""

from __future__ import annotations

import collections
import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeAlias, TypeGuard

import torch
from torch import Tensor

from torchkeras._core import gate
from torchkeras._core.errors import unknown_name
from torchkeras.optimizers.keras_state import StateVariable
from torchkeras.optimizers.kernels import FUSED, Group, fastest
from torchkeras.optimizers.optimizer import Optimizer, optimizers
from torchkeras.optimizers.stages import TorchState
from torchkeras.optimizers.weights import Weight, ids_of, tensors_of, variable_name

Factory = Callable[..., torch.optim.Optimizer]
#: What `get` takes for an optimizer: a name, an object, a class, a partial or a config.
OptimizerLike: TypeAlias = (
    str
    | Optimizer
    | torch.optim.Optimizer
    | Callable[..., Any]
    | Mapping[str, Any]
    | None
)


@optimizers.register()
class TorchOptimizer(Optimizer):
    """An optimizer of `torch.optim`, or of a class like those, taken as it is.

    Whatever it is asked for and is not Keras's, such as `param_groups`, is the torch
    optimizer's.

    Args:
        optimizer: an instance over the model's parameters, a class, or a
            `functools.partial` of one.
        name: the name; the class's own in snake case by default.

    Raises:
        TypeError: for anything else.
        ValueError: for one whose step needs a closure, such as `torch.optim.LBFGS`.

    Example:
        >>> optimizer = TorchOptimizer(functools.partial(torch.optim.SGD, lr=0.1))
        >>> optimizer.build([torch.nn.Parameter(torch.ones(2))])
        >>> optimizer.param_groups[0]["lr"], float(optimizer.learning_rate)
        (0.1, 0.1)
    """

    _factory: Factory | None
    #: The groups that a config told of: positions of parameters, and options.
    _told_groups: list[Group] | None
    #: The parameters that the model had when it got this optimizer, if it says so.
    _present: list[Tensor] | None

    def __init__(
        self, optimizer: torch.optim.Optimizer | Factory, name: str | None = None
    ) -> None:
        if not is_torch_optimizer(optimizer):
            raise TypeError(
                "TorchOptimizer: `optimizer` must be a `torch.optim.Optimizer`, its "
                f"class or a `functools.partial` of it, got {optimizer!r}."
            )
        given = isinstance(optimizer, torch.optim.Optimizer)
        kind: Any = type(optimizer) if given else getattr(optimizer, "func", optimizer)
        closure = inspect.signature(kind.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ValueError(
                f"TorchOptimizer: a step of {kind.__name__} computes the loss several "
                "times, by a `closure`. `fit` computes it once: choose another one, or "
                "call it in a loop of your own."
            )
        self._factory = None if given else optimizer
        self._present = None
        self._told_groups = None
        super().__init__(_initial_rate(optimizer), name=name)
        if given:
            self.torch = optimizer

    def make_torch(self, groups: list[Group]) -> torch.optim.Optimizer:
        if self._factory is None:
            self._check_parameters()
            return self.torch
        params = [p for group in groups for p in group["params"]]
        made = [_placed(group, params) for group in self._told_groups or ({},)]
        return self._factory(made, **self._speed(params))

    def made_beside(self, parameters: Iterable[Tensor]) -> None:
        """Note the parameters that the model has now: later ones cannot be in it.

        Args:
            parameters: the model's.
        """
        self._present = list(parameters)

    def _speed(self, params: list[torch.Tensor]) -> dict[str, bool]:
        """Return torch's fastest code where the choice was left to us."""
        kind = getattr(self._factory, "func", self._factory)
        chosen = getattr(self._factory, "keywords", {})
        if kind not in FUSED or chosen.keys() & _ALTERNATIVES:
            return {}
        return fastest(params)

    def _check_parameters(self) -> None:
        held = {id(p) for group in self.torch.param_groups for p in group["params"]}
        wanted = {id(t) for t in self._optimized}
        known = ids_of(self._weights)
        if held - known and wanted - held:
            raise ValueError(
                f"The {type(self.torch).__name__} given was made over other parameters "
                f"than the model's: {len(wanted - held)} of the model's "
                f"{len(wanted)} are not among its {len(held)}. Make it from "
                "`model.parameters()` after the model is built, or pass the class."
            )
        left_out = [
            weight
            for weight in self._weights
            if any(t.requires_grad and id(t) not in held for t in tensors_of(weight))
        ]
        if left_out:
            self._tell_of(left_out)

    def _tell_of(self, left_out: list[Weight]) -> None:
        """Refuse to leave out weights that came later; warn of others."""
        name = type(self.torch).__name__
        paths = [getattr(w, "path", None) or tuple(w.shape) for w in left_out[:4]]
        more = ", ..." if len(left_out) > len(paths) else ""
        listing = f"{len(left_out)} weight(s) ({', '.join(map(str, paths))}{more})"
        present = None if self._present is None else {id(t) for t in self._present}
        if present is not None and any(
            id(t) not in present for weight in left_out for t in tensors_of(weight)
        ):
            raise ValueError(
                f"The {name} given was made before all weights of the model were: it "
                f"would never train {listing}. Build the model first, by a call on "
                "data, or pass the class or a `functools.partial` of it."
            )
        warnings.warn(
            f"The {name} given does not train {listing} of the model. Freeze them by "
            "`trainable = False` if that is meant.",
            stacklevel=2,
        )

    def _groups(self) -> list[Group]:
        return [{"params": self._optimized}]

    def _new_state(self, parameter: Tensor, group: Group) -> dict[str, Any]:
        return {}  # torch's classes make all of it, or none, at the first step

    def _whole_state(self) -> TorchState:
        state = self.torch.state
        if all(state.get(p) for p in self._held()):
            return state
        made = _state_after_a_step(self.torch)
        return {p: state.get(p) or values for p, values in made.items()}

    def _held(self) -> list[Tensor]:
        """Return the parameters of the torch optimizer."""
        return [p for group in self.torch.param_groups for p in group["params"]]

    def _moment_variables(self, state: TorchState) -> list[StateVariable]:
        """Return all that torch keeps, in torch's layout: Keras knows nothing of it."""
        names = {
            id(tensor): weight
            for weight in self._weights
            for tensor in tensors_of(weight)
        }
        return [
            _entry(state[p], key, variable_name(names[id(p)], key))
            for p in self._optimized
            for key in sorted(state.get(p, ()))
            if state[p][key] is not None
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the name of torch's class, its options and its groups.

        Raises:
            ValueError: for a class that is not torch's, and for one that trains what is
                no weight of the model.
        """
        factory = self._factory
        if "torch" in self.__dict__ or factory is None:
            example = self.torch
        else:
            example = factory([_ANY])
        cls = type(example)
        if getattr(torch.optim, cls.__name__, None) is not cls:
            raise ValueError(
                f"Cannot save {cls.__name__}: only optimizers of `torch.optim` can be "
                "named in a file. Save the weights alone, and compile again on loading."
            )
        first = next(iter(example.param_groups), {})
        options = {**example.defaults, **first, "lr": float(self.learning_rate)}
        known = inspect.signature(cls).parameters
        options = {
            k: _plain(v) for k, v in options.items() if k in known and k != "params"
        }
        groups = self._told_groups
        if self.built:
            groups = self._groups_in_config({**example.defaults, **options})
        config = {"name": self.name, "torch_class": cls.__name__, "options": options}
        return {**config, "groups": groups} if groups else config

    def _groups_in_config(self, options: dict[str, Any]) -> list[Group] | None:
        """Return the groups by positions; None for one of all parameters."""
        place = {id(p): position for position, p in enumerate(self._optimized)}
        foreign = [p for p in self._held() if id(p) not in place]
        if any(self.torch.state.get(p) for p in foreign):
            raise ValueError(
                f"Cannot save the {type(self.torch).__name__}: it trains tensors that "
                "are no trainable weights of the model. Save the weights alone."
            )
        groups = []
        for group in self.torch.param_groups:
            places = [place[id(p)] for p in group["params"] if id(p) in place]
            own = {k: _plain(v) for k, v in group.items() if k not in _NO_OPTIONS}
            own = {k: v for k, v in own.items() if k not in options or v != options[k]}
            groups.append({"params": places, **own})
        (plain, *more) = groups or ({"params": []},)
        whole = sorted(plain["params"]) == list(range(len(place)))
        return None if whole and not more and len(plain) == 1 else groups

    @classmethod
    @gate.takes_config
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make an optimizer from what `get_config` returned.

        Args:
            config: the name of torch's class and its options.
            custom_objects: accepted for the base's signature.

        Raises:
            ValueError: for a class that is not torch's.
        """
        known = torch.optim.__all__
        name = config.get("torch_class")
        factory = getattr(torch.optim, name) if name in known else None
        if not (
            inspect.isclass(factory) and issubclass(factory, torch.optim.Optimizer)
        ):
            raise ValueError(unknown_name("torch optimizer", name, known))
        options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in config.get("options", {}).items()
        }
        made = cls(functools.partial(factory, **options), config.get("name"))
        made._told_groups = config.get("groups")
        return made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "torch" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        return getattr(self.torch, name)


_ALTERNATIVES = {"fused", "foreach", "capturable", "differentiable"}
_NO_OPTIONS = {"params", "param_names", *_ALTERNATIVES}
_ANY = torch.nn.Parameter(torch.zeros(1))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def _placed(group: Group, params: list[Tensor]) -> Group:
    """Return a group of a config with parameters in the place of positions."""
    places = group.get("params", range(len(params)))
    if any(not isinstance(i, int) or not 0 <= i < len(params) for i in places):
        raise ValueError(
            f"TorchOptimizer: the groups of its config are of more weights than the "
            f"{len(params)} that the model trains. Make a new optimizer for it."
        )
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in group.items()}
    return {**options, "params": [params[place] for place in places]}


def _entry(state: Any, key: str, name: str) -> StateVariable:
    """Return the variable that is an entry of torch's state."""

    def write(value: Tensor) -> None:
        if isinstance(state[key], Tensor):
            state[key].copy_(value.to(state[key].dtype))
        else:
            state[key] = type(state[key])(value)

    return StateVariable(name, lambda: torch.as_tensor(state[key]), write)


def _state_after_a_step(
    optimizer: torch.optim.Optimizer,
) -> dict[Tensor, dict[str, Any]]:
    """Return the form of a torch optimizer's state, which it makes at its first step.

    It makes that here of copies of its parameters.
    """
    twin, copies = copy.copy(optimizer), {}  # a copy has no hooks
    twin.state = collections.defaultdict(dict)
    sparse = isinstance(optimizer, torch.optim.SparseAdam)
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        blank = copies[parameter] = torch.zeros_like(parameter, requires_grad=True)
        blank.grad = torch.zeros_like(parameter)
        if sparse:
            blank.grad = blank.grad.to_sparse()
    twin.param_groups = [
        {**group, "params": [copies[p] for p in group["params"]]}
        for group in optimizer.param_groups
    ]
    try:
        twin.step()
    except gate.FAILURES as error:
        raise ValueError(
            f"What {type(optimizer).__name__} keeps is known after its first step "
            "only: make one before you load"
        ) from error
    return {parameter: twin.state[blank] for parameter, blank in copies.items()}


def _initial_rate(optimizer: Any) -> float:
    """Return the learning rate that a torch optimizer starts with."""
    if isinstance(optimizer, torch.optim.Optimizer):
        return float(optimizer.param_groups[0].get("lr", 0.0))
    try:
        return float(inspect.signature(optimizer).parameters["lr"].default)
    except (KeyError, TypeError, ValueError):
        return 0.0


def is_torch_optimizer(value: Any) -> TypeGuard[torch.optim.Optimizer | Factory]:
    """Say whether a value is a torch optimizer, its class or a partial of it."""
    if isinstance(value, functools.partial):
        value = value.func
    kind = value if inspect.isclass(value) else type(value)
    return issubclass(kind, torch.optim.Optimizer)


def get(identifier: OptimizerLike) -> Any:
    """Return the optimizer that a name, a config or an object stands for.

    Args:
        identifier: a name, a config, a Keras-named object or class, a torch optimizer,
            its class, or a partial of it; None is returned as it is.

    Raises:
        ValueError: for an unknown name, with the closest known ones.
        TypeError: for anything else.

    Example:
        >>> get("adam").name.startswith("adam")
        True
        >>> type(get(torch.optim.AdamW)).__name__
        'TorchOptimizer'
    """
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if is_torch_optimizer(identifier):
        return TorchOptimizer(identifier)
    if not isinstance(identifier, (str, Mapping)) and not inspect.isclass(identifier):
        raise TypeError(
            "An optimizer must be a name, a config, an optimizer object or a torch "
            f"optimizer, got {identifier!r}."
        )
    return optimizers.get(identifier)


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Return the Keras form of an optimizer.

    Args:
        optimizer: the optimizer.

    Example:
        >>> serialize(get("sgd"))["class_name"]
        'SGD'
    """
    return optimizers.serialize(optimizer)


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Optimizer:
    """Return the optimizer that a config stands for.

    Args:
        config: what `serialize` returned, or a name.
        custom_objects: classes by their names, for what the config names.

    Raises:
        ValueError: for an unknown class.

    Example:
        >>> type(deserialize(serialize(get("sgd")))).__name__
        'SGD'
    """
    return optimizers.deserialize(config, custom_objects)
