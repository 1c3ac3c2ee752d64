"""What a layer holds, and how attributes become it: `LayerState`."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchkeras._core import dtypes
from torchkeras._core.context import context
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.symbolic import Node
from torchkeras._core.tracking import ContainedModules, holds_state, may_hold_state
from torchkeras._core.variable import Variable, WeightView


class LayerState(nn.Module):
    """A torch module that holds what a layer holds; `Layer` says how it is called.

    Variables become parameters and buffers, lists, tuples and dicts stay what they are
    and show torch the modules in them, views of tensors of the modules inside are
    attributes. The functions of the files beside this one read and change this state.
    """

    input_spec: InputSpec | list[InputSpec] | None
    supports_masking: bool
    activity_regularizer: Callable[[Tensor], Tensor] | None
    autocast: bool
    input_shape_argument: tuple[int | None, ...] | None
    #: The arguments of the constructor.
    _captured: tuple[tuple[Any, ...], dict[str, Any]]
    _name: str
    #: Whether the user chose the name.
    _name_is_given: bool
    #: Whether `build` has run; `built` is true of layers without `build` before.
    _built: bool
    #: Whether `build` is running, of several within one another.
    _building: bool = False
    _build_shapes: dict[str, Any] | None
    _trainable: bool
    _dtype_policy: dtypes.DTypePolicy
    #: Weights by name, as Keras shows tensors of the torch modules inside.
    _views: dict[str, WeightView]
    #: The terms that `add_loss` and activity regularizers gave in the last call.
    _losses: list[Tensor]
    _has_losses: bool
    #: The calls on symbolic tensors.
    _nodes: list[Node]
    #: Torch's table of children, for what is traced.
    _module_table: dict[str, Any]
    #: Lists, tuples and dicts that are attributes, by name, as torch is shown them.
    _containers: dict[str, ContainedModules]
    #: Whether a call on one tensor, of one of the dtypes, goes straight to `call`.
    _fast_path: bool
    _fast_path_dtypes: tuple[torch.dtype, ...]

    #: Another object each time that `trainable` is set, of any layer: a model looks at
    #: what it trains itself when it sees a new one.
    last_freezing: ClassVar[object] = object()
    #: Whether integer inputs are cast to the compute dtype as well.
    casts_integers: ClassVar[bool] = False
    #: The rule by which the sizes of the outputs follow from those of one input, which
    #: spares the runs by which they are inferred; it gives None where it does not know.
    #: A class with a `call` of its own has none but its own.
    _output_sizes: Any = None
    #: Whether `call` casts floating inputs to the compute dtype, of mixed policies too,
    #: in place of autocast.
    casts_itself: ClassVar[bool] = False
    #: Integer dtypes that the layer takes as they are, such as indices.
    index_dtypes: ClassVar[tuple[torch.dtype, ...]] = ()
    #: Whether arrays of strings are taken, as they come.
    takes_strings: ClassVar[bool] = False
    #: Whether `call` computes in Python, which no compiled graph can hold.
    computes_on_host: ClassVar[bool] = False
    _call_arguments: ClassVar[frozenset[str]] = frozenset()
    #: Where `mask` stands among the arguments of a call, -1 where there is none.
    _mask_position: ClassVar[int] = -1
    #: Whether `compute_mask` can make a mask where none came in, as `Embedding` does.
    _makes_mask: ClassVar[bool] = False
    #: Whether `build` makes weights; that of poolings only checks shapes.
    _builds_weights: ClassVar[bool] = False
    #: Whether layers in lists and dicts that are attributes count as the layer's own.
    _tracks_containers: ClassVar[bool] = True

    def _begin(self) -> None:
        """Make the tables of a layer; containers may be attributes already."""
        assigned = {k: v for k, v in self.__dict__.items() if k not in _OWN}
        self.__dict__.update(_views={}, _losses=[], _nodes=[], _containers={})
        for name, value in assigned.items():
            self._contain(name, value)

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) in _PLAIN and self._holds_nothing_as(name):
            object.__setattr__(self, name, value)
            return
        if "_parameters" not in self.__dict__:
            self._refuse_before_init(name, value)
        elif context.call_stack and isinstance(value, nn.Module):
            self._refuse_in_call(f"the layer `self.{name}`")
        if isinstance(value, Variable) and "_parameters" in self.__dict__:
            self._set_variable(name, value)
            return
        if self.__dict__.get("_containers"):
            self._release(name)
            if isinstance(value, nn.Module):
                _ = self._modules  # what was filled before comes before it
        if may_hold_state(value) and name not in _OWN:
            for table in ("_modules", "_parameters", "_buffers"):
                self.__dict__.get(table, {}).pop(name, None)
            object.__setattr__(self, name, value)
            self._contain(name, value)
            return
        super().__setattr__(name, value)

    def _holds_nothing_as(self, name: str) -> bool:
        """Say whether no table of torch's, and no container, has an entry of a name."""
        own = self.__dict__
        for table in _TABLES:  # noqa: SIM110 - a generator takes three times as long
            if name in own.get(table, ()):
                return False
        return True

    def _set_variable(self, name: str, variable: Variable) -> None:
        for table in (self._parameters, self._buffers):
            for key in [k for k, v in table.items() if v is variable]:
                del table[key]
        self._release(name)
        # What stood there before, such as None until `build`, makes way.
        for table in (self.__dict__, self._parameters, self._buffers):
            table.pop(name, None)
        self._register(name, variable)

    def _register(self, key: str, variable: Variable) -> None:
        if getattr(variable, "declared_trainable", variable.requires_grad):
            self.register_parameter(key, variable)
        else:
            self.register_buffer(key, variable)

    def __delattr__(self, name: str) -> None:
        self._release(name)
        super().__delattr__(name)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        # The module inside first: it is asked for in every call.
        if (found := own.get("_module_table", _NONE).get(name)) is not None:
            return found
        if (found := own.get("_views", _NONE).get(name)) is not None:
            return found
        if "_modules" not in own and not name.startswith("__"):
            raise RuntimeError(
                f"{type(self).__name__}: `super().__init__()` was not called. Call it "
                "first in `__init__`."
            )
        # An AttributeError of a property ends here: raise it, not a vaguer one.
        if isinstance(made := getattr(type(self), name, None), property):
            return made.__get__(self)
        return super().__getattr__(name)

    # Containers

    @property
    def _modules(self) -> dict[str, Any]:  # type: ignore
        """Torch's table of children, with the containers that hold some now."""
        try:
            table = self.__dict__["_module_table"]
        except KeyError:
            raise AttributeError("_modules") from None
        if containers := self.__dict__.get("_containers"):
            for name, shown in containers.items():
                if not holds_state(shown.container):
                    table.pop(name, None)
                elif name not in table:
                    table[name] = shown
        return table

    @_modules.setter
    def _modules(self, table: dict[str, Any]) -> None:  # type: ignore
        # Torch looks for it in `__dict__` itself; older compilers cannot tell an entry
        # of that name from this property, so what they trace reads the other one.
        self.__dict__.update(_modules=table, _module_table=table)

    def _contain(self, name: str, value: Any) -> None:
        """Show torch, from now on, what an attribute that is a container holds."""
        if "_containers" not in self.__dict__ or not self._tracks_containers:
            return
        # A property keeps its value under another name, or nowhere.
        if may_hold_state(value) and self.__dict__.get(name) is value:
            self._containers[name] = ContainedModules(value)

    def _release(self, name: str) -> None:
        if self.__dict__.get("_containers", {}).pop(name, None) is not None:
            self.__dict__["_modules"].pop(name, None)

    # What is refused

    def _refuse_before_init(self, name: str, value: Any) -> None:
        nested = may_hold_state(value) and holds_state(value)
        holds = nested or isinstance(value, (nn.Module, Tensor))
        if holds and name != "_parameters":
            raise RuntimeError(
                f"{type(self).__name__}: `self.{name}` was assigned before the layer "
                "was ready. Call `super().__init__()` first in `__init__`."
            )

    def _refuse_in_call(self, what: str) -> None:
        """Refuse what would be made anew, or get lost, in each call."""
        if self in context.call_stack:
            raise RuntimeError(
                f"Layer '{self.name}' ({type(self).__name__}): {what} was made in "
                "`call`. Make weights and layers in `build` or `__init__`, which run "
                "once."
            )

    # Torch's own

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Torch replaces moved buffers by plain tensors; a Variable stays one.
        before = {k: b for k, b in self._buffers.items() if isinstance(b, Variable)}
        super()._apply(fn, recurse)
        for key, variable in before.items():
            moved = self._buffers[key]
            if moved is not None and not isinstance(moved, Variable):
                if moved.is_meta == variable.is_meta:
                    variable.data = moved
                else:
                    variable = variable._like(moved, dict(variable.__dict__))
                self._buffers[key] = variable
        return self

    def __getstate__(self) -> dict[str, Any]:
        # A copy is no part of the graphs that the layer is in, nor of the last call's.
        return {**self.__dict__, "_nodes": [], "_losses": []}

    # What all layers have

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value
        self._name_is_given = True

    @property
    def path(self) -> str:
        """The name, as Keras's paths begin."""
        return self._name

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return self._dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return self._dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation."""
        return self._dtype_policy.compute_dtype


#: The table of what has none yet.
_NONE: dict[str, Any] = {}
#: Types of attributes that torch looks for in no table, and where torch keeps others.
_PLAIN = frozenset({bool, float, int, str, type(None), types.FunctionType})
_TABLES = ("_parameters", "_buffers", "_module_table", "_containers")
#: Attributes of a layer that torch or this module keeps, and no user.
_OWN = frozenset(
    {*vars(nn.Module()), *(n for n in LayerState.__annotations__ if n[0] == "_")}
)


def turn_to_mode(module: nn.Module, mode: bool) -> None:
    """Bring a module into a mode for a call, or because it was made only now.

    Torch's modules begin in training mode. Layers for images, which vary them until
    somebody says otherwise, are not told by this.
    """
    unsaid = [m for m in module.modules() if not getattr(m, "_mode_is_said", True)]
    module.train(mode)
    for inner in unsaid:
        inner._mode_is_said = False  # type: ignore[assignment]


def layers_in(module: nn.Module) -> Iterator[LayerState]:
    """Yield the layers among the modules of a module, itself first if it is one."""
    return (inner for inner in module.modules() if isinstance(inner, LayerState))


def first_parameter(module: nn.Module) -> nn.Parameter | None:
    """Return what ``module.parameters()`` yields first, without its bookkeeping."""
    for parameter in module._parameters.values():
        if parameter is not None:
            return parameter
    for inner in module._modules.values():
        if inner is not None and (found := first_parameter(inner)) is not None:
            return found
    return None
