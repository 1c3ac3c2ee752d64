"""Symbolic tensors: a shape with unknown axes, a dtype, and where they came from.

Shapes are inferred by running the operation on the `meta` device twice, with two sizes
for every unknown axis: an axis of the result that differs between the runs is unknown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchkeras._core import tree
from torchkeras._core.dtypes import DTYPES, standardize_dtype
from torchkeras._core.naming import auto_name
from torchkeras._core.variable import Variable, WeightView

Shape = tuple[int | None, ...]

#: Sizes that stand for an unknown batch axis, in the two runs.
_BATCH = (2, 3)
#: Sizes for other unknown axes: of sequences, and (large enough for a chain of
#: poolings) of images.
_LENGTH = (64, 96)
_IMAGE = (512, 768)


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """The call that made a symbolic tensor."""

    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class KerasTensor:
    """A tensor whose values are not known yet.

    Torch functions, operators and tensor methods accept it and give another one.

    Args:
        shape: the sizes; None for an unknown one.
        dtype: the name of the dtype.
        name: a name for messages and for the model's inputs.

    Example:
        >>> x = KerasTensor((None, 4))
        >>> (torch.relu(x) @ torch.ones(4, 3)).shape
        (None, 3)
    """

    shape: Shape
    dtype: str
    name: str
    history: Node | None

    __hash__: ClassVar[Any] = object.__hash__

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
        ragged_rank: int | None = None,
    ) -> None:
        if sparse or ragged:
            raise NotImplementedError(
                "KerasTensor: sparse and ragged tensors are not supported; use dense "
                "tensors, padded and masked where lengths differ."
            )
        self.shape = tuple(shape)
        self.dtype = standardize_dtype(dtype)
        self.name = name or auto_name("keras_tensor")
        self.history = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return call_symbolic(func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        method = None if name.startswith("_") else getattr(Tensor, name, None)
        if not callable(method):
            raise AttributeError(f"A KerasTensor has no attribute {name!r}.")
        return lambda *args, **kwargs: call_symbolic(method, (self, *args), kwargs)

    def __getitem__(self, index: Any) -> Any:
        return call_symbolic(Tensor.__getitem__, (self, index), {})

    def __len__(self) -> int:
        raise TypeError(self._refusal("its length"))

    def __bool__(self) -> bool:
        raise TypeError(self._refusal("a truth value"))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(self._refusal("a NumPy array"))

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(self._refusal("an iterator"))

    def _refusal(self, what: str) -> str:
        return (
            f"The symbolic tensor '{self.name}' of shape {self.shape} has no values "
            f"yet, so it cannot give {what}. Use torch functions, or put the code "
            "into the `call` of a layer."
        )

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: KerasTensor, *others: Any) -> Any:
        return call_symbolic(getattr(Tensor, name), (self, *others), {})

    apply.__name__ = name
    return apply


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod pow rpow "
    "matmul rmatmul neg abs lt le gt ge eq ne and or invert"
).split():
    setattr(KerasTensor, f"__{_name}__", _operator(f"__{_name}__"))
KerasTensor.__hash__ = object.__hash__  # `__eq__` above would have removed it


def is_keras_tensor(x: Any) -> bool:
    """Return whether `x` is symbolic: a `KerasTensor`."""
    return isinstance(x, KerasTensor)


def is_symbolic(structure: Any) -> bool:
    """Say whether a nested structure holds a `KerasTensor`."""
    return any(isinstance(leaf, KerasTensor) for leaf in tree.flatten(structure))


def call_symbolic(
    op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the symbolic result of an operation, and remember where it came from."""
    outputs = infer_outputs(op, args, kwargs)
    node = Node(op, args, kwargs)
    for output in tree.flatten(outputs):
        if isinstance(output, KerasTensor):
            output.history = node
    return outputs


def infer_outputs(
    op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return `KerasTensor`s of the shapes and dtypes that an operation gives."""
    if (infer := getattr(op, "infer", None)) is not None:
        return infer(*args, **kwargs)
    with Probe() as probe:
        for leaf in tree.flatten((op, args, kwargs)):
            if isinstance(leaf, nn.Module):
                probe.adopt(leaf)
        with torch.no_grad():
            first, second = (
                op(*_stand_in(args, run), **_stand_in(kwargs, run)) for run in (0, 1)
            )
    return tree.map_structure(_merge, first, second)


def _stand_in(structure: Any, run: int) -> Any:
    def stand_in(leaf: Any) -> Any:
        if isinstance(leaf, KerasTensor):
            other = (_IMAGE if leaf.ndim > 3 else _LENGTH)[run]
            sizes = [
                size if size is not None else (other if axis else _BATCH[run])
                for axis, size in enumerate(leaf.shape)
            ]
            return torch.empty(sizes, dtype=DTYPES[leaf.dtype], device="meta")
        if isinstance(leaf, WeightView):
            return leaf.value.to("meta")
        if isinstance(leaf, Tensor):
            return leaf.to("meta")
        return leaf

    return tree.map_structure(stand_in, structure)


def _merge(first: Any, second: Any) -> Any:
    if not isinstance(first, Tensor):
        return first
    shape = [
        a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)
    ]
    return KerasTensor(shape, first.dtype)


class Probe:
    """Within this context modules keep their weights on the `meta` device.

    Modules that are built meanwhile are adopted as well; on leaving, every weight comes
    back untouched.
    """

    active: ClassVar[list[Probe]] = []

    def __init__(self) -> None:
        self._restore: list[tuple[dict[str, Any], str, Tensor]] = []
        self._recurrent: list[nn.RNNBase] = []
        self._seen: set[int] = set()

    def __enter__(self) -> Probe:
        self.active.append(self)
        return self

    def adopt(self, module: nn.Module) -> None:
        """Put the weights of a module and of those inside it on `meta`."""
        for inner in module.modules():
            if id(inner) in self._seen and not hasattr(inner, "built"):
                continue
            self._seen.add(id(inner))
            tables: list[dict[str, Any]] = [inner._parameters, inner._buffers]
            for table in tables:
                for name, tensor in table.items():
                    if tensor is not None and tensor.device.type != "meta":
                        self._restore.append((table, name, tensor))
                        table[name] = _on_meta(tensor)
            if isinstance(inner, nn.RNNBase):
                self._recurrent.append(inner)
                _refresh_flat_weights(inner)

    def __exit__(self, *_: object) -> None:
        self.active.pop()
        for table, name, tensor in self._restore:
            table[name] = tensor
        for module in self._recurrent:
            _refresh_flat_weights(module)


def _on_meta(tensor: Tensor) -> Tensor:
    if isinstance(tensor, Variable):
        return tensor._like(tensor.detach().to("meta"), dict(tensor.__dict__))
    return tensor.detach().to("meta")


def _refresh_flat_weights(module: nn.RNNBase) -> None:
    # nn.LSTM and its kin pass a list of their weights, made when weights are assigned.
    module._flat_weights = [
        getattr(module, name, None) for name in module._flat_weights_names
    ]
