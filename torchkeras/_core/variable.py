"""Weights: `Variable`, a parameter with Keras's methods, and views in Keras's layout.

A weight lives once, in torch's layout. `Variable` is a weight of no torch module, such
as one made by `add_weight`. `WeightView` shows weights that a torch module owns in the
layout Keras gives them: ``(in, out)`` for a kernel that torch keeps as ``(out, in)``.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Generator
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from torchkeras._core import limits, torch_private
from torchkeras._core.config import default_device
from torchkeras._core.context import context
from torchkeras._core.dtypes import standardize_dtype, to_torch_dtype
from torchkeras._core.errors import invalid_argument, one_of
from torchkeras._core.naming import auto_name
from torchkeras._core.registry import family
from torchkeras._core.typing import DType, InitializerLike, Operators, Value


def to_tensor(value: Any, like: Tensor) -> Tensor:
    """Return `value` as a tensor of the dtype and on the device of `like`."""
    if isinstance(value, WeightView):
        value = value.value
    if not isinstance(value, Tensor):
        value = torch.as_tensor(np.asarray(value))
    return value.to(device=like.device, dtype=like.dtype)


class Variable(nn.Parameter):
    """A weight: an `nn.Parameter` with Keras's methods.

    Args:
        initializer: the first value, a function of ``(shape, dtype=...)``, or the name
            of an initializer.
        shape: the shape, needed with a function.
        dtype: the dtype; ``floatx`` by default for a function or Python numbers.
        trainable: whether gradients are taken with respect to it.
        autocast: accepted; the dtype policy of a layer casts for all of its weights.
        aggregation: accepted; between processes gradients are averaged, by torch.
        synchronization: accepted, as `aggregation` is.
        name: the name; ``variable``, ``variable_1``, ... by default. No "/" in it.
        layout: None; weights are laid out over devices by torch's own tools.

    Raises:
        ValueError: when a function comes without a shape, a value does not fit the
            shape, or for an illegal argument.

    Example:
        >>> v = Variable([1.0, 2.0])
        >>> v.assign_add([1.0, 1.0]).numpy().tolist()
        [2.0, 3.0]
        >>> type(v * 2).__name__
        'Tensor'
    """

    # As on nn.Parameter: operations return plain tensors, with no dispatch to pay for.
    __torch_function__ = torch_private.disabled_torch_function

    _name: str
    declared_trainable: bool

    path: str
    regularizer: Callable[[Tensor], Tensor] | None
    constraint: Callable[[Tensor], Tensor] | None

    def __new__(
        cls,
        initializer: InitializerLike | Value,
        shape: tuple[int, ...] | None = None,
        dtype: DType = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = "none",
        synchronization: str | None = "auto",
        name: str | None = None,
        layout: None = None,
    ) -> Variable:
        one_of("Variable", "aggregation", aggregation, _AGGREGATIONS)
        one_of("Variable", "synchronization", synchronization, _SYNCHRONIZATIONS)
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(
                invalid_argument("Variable", "name", "text without '/'", name)
            )
        if layout is not None:
            expected = "None: lay weights out by `torch.distributed.tensor`"
            raise ValueError(invalid_argument("Variable", "layout", expected, layout))
        data = _initial_value(initializer, shape, dtype)
        trainable = trainable and (data.is_floating_point() or data.is_complex())
        self = torch_private.make_subclass(cls, data, trainable)
        self._name = name or auto_name("variable")
        self.path = self._name
        self.declared_trainable = trainable
        self.regularizer = None
        self.constraint = None
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    @property
    def name(self) -> str:
        """The name, ``"kernel"`` or the like."""
        return self._name

    @property
    def value(self) -> Variable:
        """The tensor itself."""
        return self

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Torch's own tensors: this one. A `WeightView` may show several."""
        return (self,)

    @property
    def trainable(self) -> bool:
        """Whether gradients are taken with respect to this weight."""
        return self.requires_grad

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.requires_grad_(value)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Return a copy of the value as a NumPy array."""
        return as_array(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype=dtype)

    def assign(self, value: Any) -> Variable:
        """Replace the value in place.

        Raises:
            ValueError: when the shapes differ.
        """
        value = to_tensor(value, self)
        check_assigned(self.path, tuple(self.shape), tuple(value.shape))
        with torch.no_grad():
            self.copy_(value)
        return self

    def assign_add(self, value: Any) -> Variable:
        """Add to the value in place."""
        with torch.no_grad():
            self.add_(to_tensor(value, self))
        return self

    def assign_sub(self, value: Any) -> Variable:
        """Subtract from the value in place."""
        with torch.no_grad():
            self.sub_(to_tensor(value, self))
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        if id(self) not in memo:
            data = self.detach().clone(memory_format=torch.preserve_format)
            memo[id(self)] = self._like(data, copy.deepcopy(dict(self.__dict__), memo))
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = {k: v for k, v in self.__dict__.items() if not callable(v)}
        return _rebuild, (self.detach(), self.requires_grad, state)

    def _like(self, data: Tensor, state: dict[str, Any]) -> Variable:
        return _rebuild(data, self.requires_grad, state)

    def __repr__(self, **_: Any) -> str:
        dtype = standardize_dtype(self.dtype)
        shape = tuple(self.shape)
        described = f"path={self.path}, shape={shape}, dtype={dtype}"
        return f"<Variable {described}, value={self.data}>"


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as a NumPy array of its own.

    NumPy has no ``bfloat16``: such values become ``float32``, which holds them all.

    Example:
        >>> as_array(torch.ones(2, dtype=torch.bfloat16)).dtype
        dtype('float32')
    """
    tensor = tensor.detach().cpu().resolve_conj()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()


def _rebuild(data: Tensor, requires_grad: bool, state: dict[str, Any]) -> Variable:
    self = torch_private.make_subclass(Variable, data, requires_grad)
    for name, value in {"regularizer": None, "constraint": None, **state}.items():
        setattr(self, name, value)
    return self


_AGGREGATIONS = (None, "none", "mean", "sum", "only_first_replica")
_SYNCHRONIZATIONS = (None, "none", "on_read", "on_write", "auto")


@contextlib.contextmanager
def unfilled() -> Generator[None]:
    """Make weights without values within this context: all of them are loaded next."""
    before, context.unfilled = context.unfilled, True
    try:
        yield
    finally:
        context.unfilled = before


def _initial_value(initializer: Any, shape: Any, dtype: DType) -> Tensor:
    if isinstance(initializer, str):
        initializer = family("keras.initializers").get(initializer)
    if callable(initializer) and not isinstance(initializer, Tensor):
        if shape is None:
            raise ValueError(
                "Variable: `shape` must be given when `initializer` is a function, "
                "got None. Pass the shape or a first value."
            )
        dtype = standardize_dtype(dtype)
        limits.spend("a weight", shape, to_torch_dtype(dtype))
        if context.unfilled:
            target = to_torch_dtype(dtype)
            return torch.empty(tuple(shape), dtype=target, device=default_device())
        value = torch.as_tensor(initializer(tuple(shape), dtype=dtype)).detach()
        # A copy: the function may have returned a tensor that the user goes on using.
        return value.to(default_device(), to_torch_dtype(dtype), copy=True)
    keep = isinstance(initializer, (Tensor, np.ndarray, np.generic))
    target = None if keep and dtype is None else to_torch_dtype(dtype)
    if isinstance(initializer, Tensor):
        return initializer.detach().clone().to(dtype=target or initializer.dtype)
    array = np.asarray(initializer)
    if dtype is None and not keep and array.dtype.kind in "iub":
        target = {"b": torch.bool}.get(array.dtype.kind, torch.int32)
    value = torch.tensor(array, dtype=target, device=default_device())
    if shape is None:
        return value
    try:
        return value.expand(tuple(shape)).clone()
    except RuntimeError:
        expected = f"the shape {tuple(shape)}, or one that broadcasts to it"
        got = tuple(value.shape)
        raise ValueError(
            invalid_argument("Variable", "initializer", expected, got)
        ) from None


def check_assigned(path: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
    """Refuse a value whose shape is not the weight's.

    Raises:
        ValueError: when the shapes differ.
    """
    if expected != got:
        raise ValueError(
            f"Weight '{path}' has shape {expected}, cannot assign a value of shape "
            f"{got}. Pass a value of shape {expected}."
        )


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a Keras weight is kept in torch: one tensor or several, moved or not.

    Args:
        to_keras: from torch's tensors to Keras's one; a view wherever one exists.
        to_torch: from Keras's tensor to torch's, one per name.
    """

    to_keras: Callable[..., Tensor]
    to_torch: Callable[[Tensor], tuple[Tensor, ...]]


# Functions with names, not lambdas: a model can be pickled.


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _window_first(weight: Tensor) -> Tensor:
    return weight.permute(*range(2, weight.ndim), 1, 0)


def _window_last(kernel: Tensor) -> Tensor:
    return kernel.permute(kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))


def single(convert: Callable[[Tensor], Tensor], kernel: Tensor) -> tuple[Tensor]:
    """Return the one torch tensor of a Keras weight, converted, in a tuple."""
    return (convert(kernel),)


IDENTITY = Layout(_same, functools.partial(single, _same))
#: ``(out, in)`` in torch, ``(in, out)`` in Keras.
TRANSPOSED = Layout(torch.t, functools.partial(single, torch.t))
#: ``(out, in, *window)`` in torch, ``(*window, in, out)`` in Keras.
CONVOLUTION = Layout(_window_first, functools.partial(single, _window_last))


class WeightView(Operators[Tensor]):
    """A weight of a torch module, shown in Keras's layout and with Keras's methods.

    Reading it gives Keras's values, assigning to it changes torch's tensors. It takes
    part in torch functions and arithmetic as the tensor it shows.

    Args:
        module: the torch module that owns the tensors.
        names: the attributes of `module` that make up the weight.
        layout: how the tensors make Keras's weight.
        name: the name in Keras, such as ``"kernel"``.

    Example:
        >>> linear = nn.Linear(4, 3)
        >>> kernel = WeightView(linear, ("weight",), TRANSPOSED, "kernel")
        >>> kernel.shape, tuple(linear.weight.shape)
        ((4, 3), (3, 4))
    """

    module: nn.Module
    names: tuple[str, ...]
    layout: Layout
    name: str
    path: str
    declared_trainable: bool
    regularizer: Callable[[Tensor], Tensor] | None
    constraint: Callable[[Tensor], Tensor] | None

    #: Comparison would return a tensor; weights are told apart by identity.
    __hash__: ClassVar[Any] = object.__hash__

    def __init__(
        self,
        module: nn.Module,
        names: tuple[str, ...],
        layout: Layout,
        name: str,
        regularizer: Callable[[Tensor], Tensor] | None = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.module = module
        self.names = names
        self.layout = layout
        self.name = name
        self.path = name
        self.declared_trainable = True
        self.regularizer = regularizer
        self.constraint = constraint

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Torch's own tensors, in torch's layout."""
        return tuple(getattr(self.module, name) for name in self.names)

    @property
    def value(self) -> Tensor:
        """The weight in Keras's layout, differentiable; a view wherever one exists.

        Its ``.grad`` is the weight's, in the same layout.
        """
        shown = self.layout.to_keras(*self.tensors)
        if shown is not self.tensors[0] and not torch.compiler.is_compiling():
            gradient = self.grad
            if gradient is not None:
                shown.grad = gradient
            elif not shown.is_leaf:
                shown.retain_grad()  # so that asking for it gives None, not a warning
        return shown

    @property
    def grad(self) -> Tensor | None:
        """The gradient in Keras's layout, None where there is none."""
        grads = [t.grad if t.is_leaf else None for t in self.tensors]
        found = [g for g in grads if g is not None]
        if len(found) < len(grads):
            return None
        return self.layout.to_keras(*found)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in Keras's layout."""
        return tuple(self.layout.to_keras(*self.tensors).shape)

    @property
    def ndim(self) -> int:
        """The number of axes in Keras's layout."""
        return self.value.ndim

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return standardize_dtype(self.tensors[0].dtype)

    @property
    def device(self) -> torch.device:
        """The device the tensors are on."""
        return self.tensors[0].device

    @property
    def trainable(self) -> bool:
        """Whether gradients are taken with respect to this weight."""
        return self.tensors[0].requires_grad

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for tensor in self.tensors:
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(value)

    def numel(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)

    def numpy(self) -> np.ndarray:
        """Return a copy of the value, in Keras's layout, as a NumPy array."""
        return as_array(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype=dtype)

    def assign(self, value: Any) -> WeightView:
        """Replace the value, given in Keras's layout, in place.

        Raises:
            ValueError: when the shapes differ.
        """
        value = to_tensor(value, self.tensors[0])
        check_assigned(self.path, self.shape, tuple(value.shape))
        with torch.no_grad():
            for tensor, part in zip(
                self.tensors, self.layout.to_torch(value), strict=True
            ):
                tensor.copy_(part)
        return self

    def assign_add(self, value: Any) -> WeightView:
        """Add to the value in place."""
        with torch.no_grad():
            return self.assign(self.value + to_tensor(value, self.tensors[0]))

    def assign_sub(self, value: Any) -> WeightView:
        """Subtract from the value in place."""
        with torch.no_grad():
            return self.assign(self.value - to_tensor(value, self.tensors[0]))

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        shown = functools.partial(_map_views, lambda view: view.value)
        return func(*shown(args), **shown(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        # Tensor methods (`sum`, `abs`, `reshape`, ...) act on the tensor shown.
        if name.startswith("_") or "module" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.value, name)

    def __getitem__(self, index: Any) -> Tensor:
        return self.value[index]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return (
            f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, "
            f"value={self.value.detach()}>"
        )


def _map_views(func: Callable[[WeightView], Any], value: Any) -> Any:
    if isinstance(value, WeightView):
        return func(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_map_views(func, item) for item in value])
    if isinstance(value, dict):
        return {key: _map_views(func, item) for key, item in value.items()}
    return value


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: WeightView, *others: Any) -> Any:
        return getattr(self.value, name)(*_map_views(lambda v: v.value, others))

    apply.__name__ = name
    return apply


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod pow rpow "
    "matmul rmatmul neg abs lt le gt ge float int bool"
).split():
    setattr(WeightView, f"__{_name}__", _operator(f"__{_name}__"))


#: A weight of a layer, as it is shown.
LayerWeight: TypeAlias = Variable | WeightView
