"""Symbolic tensors: a shape with unknown axes, a dtype, and where they came from.

Shapes are inferred by running the operation on the `meta` device twice, with two sizes
for every unknown axis: an axis of the result that differs between the runs is unknown.
"""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from torchkeras._core import torch_private, tree
from torchkeras._core.context import context
from torchkeras._core.dtypes import DTYPES, STRING, dtype_of_data
from torchkeras._core.naming import auto_name, to_snake_case
from torchkeras._core.strings import empty_strings, is_strings
from torchkeras._core.typing import Operators
from torchkeras._core.variable import WeightView

Shape = tuple[int | None, ...]

#: Sizes that stand for an unknown batch axis, in the two runs: on the `meta` device
#: they cost nothing, and they can be cut into parts.
_BATCH = (1680, 2520)
#: Sizes for other unknown axes: of sequences, and (large enough for a chain of
#: poolings) of images.
_LENGTH = (64, 96)
_IMAGE = (512, 768)
#: The same where real numbers are computed with; no two have one ratio.
_SMALL = {_BATCH: (5, 7), _LENGTH: (11, 13), _IMAGE: (32, 48)}
_LARGE = {small: large for large, small in _SMALL.items()}

#: Python's operators on symbolic tensors, by the names of Keras's operations.
OPERATORS: dict[Callable[..., Any], str] = {
    operator.add: "Add",
    operator.sub: "Subtract",
    operator.mul: "Multiply",
    operator.truediv: "TrueDivide",
    operator.floordiv: "FloorDivide",
    operator.mod: "Mod",
    operator.pow: "Power",
    operator.matmul: "Matmul",
    operator.neg: "Negative",
    operator.abs: "Absolute",
    operator.invert: "LogicalNot",
    operator.and_: "LogicalAnd",
    operator.or_: "LogicalOr",
    operator.xor: "LogicalXor",
    operator.lt: "Less",
    operator.le: "LessEqual",
    operator.gt: "Greater",
    operator.ge: "GreaterEqual",
    operator.eq: "Equal",
    operator.ne: "NotEqual",
    operator.getitem: "GetItem",
}


class Node:
    """A call that made symbolic tensors, and which tensors it made.

    Args:
        op: the layer, module or function that was called.
        args: its positional arguments.
        kwargs: its keyword arguments.
        outputs: what it returned, with symbolic tensors as leaves.
        name: the name of the call among those of a model; a layer's is its own.
    """

    def __init__(
        self,
        op: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        outputs: Any,
        name: str | None = None,
    ) -> None:
        self.op = op
        self.args = args
        self.kwargs = kwargs
        #: The symbolic tensors among the arguments.
        self.inputs = symbolic_leaves((args, kwargs))
        self.structure = outputs
        self.outputs = symbolic_leaves(outputs)
        self.name = name or name_of_operation(op)
        for output in self.outputs:
            output.history = self

    def __repr__(self) -> str:
        return f"<Node {self.name}>"


def name_of_operation(op: Callable[..., Any]) -> str:
    """Return the name of a layer, or a new one for a call of a function or module."""
    if isinstance(op, nn.Module):
        own = getattr(op, "name", None)
        return own if isinstance(own, str) else auto_name(_snake_name(op))
    name = OPERATORS.get(op) or class_name_of(op) or getattr(op, "__name__", "call")
    return auto_name(to_snake_case(name).strip("_"))


def class_name_of(op: Callable[..., Any]) -> str | None:
    """Return the name that Keras has for an operation, None for any other function."""
    entry = getattr(op, "operation", None)
    return None if entry is None else entry.class_name


def _snake_name(module: nn.Module) -> str:
    return to_snake_case(type(module).__name__)


class KerasTensor(Operators["KerasTensor"]):
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
        >>> x.reshape(-1, 2, 2).mean(1).T.shape
        (2, None)
    """

    name: str
    #: The sizes and the dtype wherever they are asked for, in a torch module too.
    static_shape: Shape
    static_dtype: str
    #: The sizes that stand for the shape in the two runs by which shapes are inferred.
    sizes: tuple[tuple[int, ...], tuple[int, ...]]

    __hash__: ClassVar[Any] = object.__hash__

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: Any = "float32",
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
        self.static_shape = tuple(shape)
        self.static_dtype = dtype_of_data(dtype)
        self.sizes = _sizes(self.static_shape, 0), _sizes(self.static_shape, 1)
        self.name = name or auto_name("keras_tensor")
        self._keras_mask: Any = None
        self._history: Node | None = None
        self._inside: _ModuleCall | None = None

    @property
    def history(self) -> Node | None:
        """The call that made this tensor, None for one that nothing made."""
        if self._inside is not None:
            self._inside.settle(self)
        return self._history

    @history.setter
    def history(self, node: Node | None) -> None:
        self._history = node
        self._inside = _ModuleCall.running()
        if self._inside is not None:
            self._ordinal = self._inside.count()

    @property
    def shape(self) -> Any:
        """The sizes, None for unknown ones; in a torch module, as that has them."""
        return self.static_shape if _ModuleCall.running() is None else self.size()

    @property
    def dtype(self) -> Any:
        """The name of the dtype; to a torch module, torch's dtype."""
        name = self.static_dtype
        return name if _ModuleCall.running() is None else DTYPES.get(name, name)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.static_shape)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name.startswith("__") and (swap := _REFLECTED.get(name)) is not None:
            function, reflected = swap
            return call_symbolic(function, args[::-1] if reflected else args, {})
        return call_symbolic(func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in KerasTensor.__annotations__:
            raise AttributeError(name)  # asked for while a copy is made
        method = getattr(Tensor, name, None)
        if callable(method):
            return lambda *args, **kwargs: call_symbolic(method, (self, *args), kwargs)
        if method is None:
            raise AttributeError(
                f"The symbolic tensor '{self.name}' has no attribute {name!r}: it has "
                "those of a torch.Tensor."
            )
        return call_symbolic(getattr, (self, name), {})  # `x.T`, `x.real`

    def size(self, dim: int | None = None) -> Any:
        """Return the sizes, or one of them: an unknown one is a symbolic number."""
        sizes = call_symbolic(Tensor.size, (self,), {})
        return sizes if dim is None else sizes[dim]

    def __len__(self) -> int:
        raise TypeError(self._refusal("its length"))

    def __bool__(self) -> bool:
        raise TypeError(
            f"A Python `if`, `while`, `and`, `or` or `not` needs the value of the "
            f"symbolic tensor '{self.name}' of shape {self.static_shape}, which has "
            "none yet. Use `ops.where` or `ops.cond`, or put the code into the `call` "
            "of a layer."
        )

    def __index__(self) -> int:
        raise TypeError(self._refusal("an integer"))

    __int__ = __index__

    def __float__(self) -> float:
        raise TypeError(self._refusal("a number"))

    def __array_ufunc__(
        self, ufunc: Any, method: str, *args: Any, **kwargs: Any
    ) -> Any:
        operator_ = _OPERATORS_OF_NUMPY.get(ufunc.__name__)
        if operator_ is None or method != "__call__" or kwargs:
            return self.__array__()
        return call_symbolic(operator_, _operands(args), {})

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"A NumPy function needs the values of the symbolic tensor '{self.name}' "
            f"of shape {self.static_shape}, which has none yet. Use the function of "
            "`torchkeras.ops` or of torch, or put the code into the `call` of a layer."
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(self._refusal("an iterator"))

    def _refusal(self, what: str) -> str:
        return (
            f"The symbolic tensor '{self.name}' of shape {self.static_shape} has no "
            f"values yet, so it cannot give {what}. Use torch functions, or put the "
            "code into the `call` of a layer."
        )

    def __getstate__(self) -> dict[str, Any]:
        # A copy stands on its own: what it came from would bring the whole graph.
        return {**self.__dict__, "_history": None, "_inside": None}

    def __repr__(self) -> str:
        shape, dtype = self.static_shape, self.static_dtype
        return f"<KerasTensor shape={shape}, dtype={dtype}, name={self.name}>"


def like(tensor: KerasTensor) -> KerasTensor:
    """Return another symbolic tensor of the same shape, dtype and name."""
    twin = KerasTensor(tensor.static_shape, tensor.static_dtype, name=tensor.name)
    twin.sizes = tensor.sizes
    return twin


class _ModuleCall:
    """A call of a torch module on symbolic tensors, seen from inside its `forward`.

    The functions that the module calls are not what a model should record: weights
    would lose their owner and a dropout its mode. So a tensor made meanwhile settles,
    when it is asked where it came from, for the call of the outermost module.

    Args:
        module: the module.
        args: the arguments of its call.
        kwargs: the keyword arguments of its call.
    """

    def __init__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.module, self.args, self.kwargs = module, args, kwargs
        self._node: Node | None = None
        self._counted = 0

    @classmethod
    def running(cls) -> _ModuleCall | None:
        """Return the outermost call that is under way now, None where there is none."""
        found: tuple[nn.Module, tuple[Any, ...], dict[str, Any]] | None = None
        for call in torch_private.module_calls(_REACH):
            if symbolic_leaves(call[1:]):
                found = call
        if found is None:
            context.module_call = None  # over, so that nothing is kept alive by it
            return None
        last = context.module_call
        if last is None or last.kwargs is not found[2]:
            last = context.module_call = cls(*found)
        return last

    def count(self) -> int:
        """Number the tensors that are made inside."""
        self._counted += 1
        return self._counted

    def settle(self, tensor: KerasTensor) -> None:
        """Let a tensor that the module returned be an output of the call as a whole."""
        tensor._inside = context.module_call = None
        if self._node is None:
            outputs = infer_outputs(self.module, self.args, self.kwargs)
            self._node = Node(self.module, self.args, self.kwargs, outputs)
        made = self._node.outputs
        index = 0 if len(made) == 1 else self._position(tensor)
        replaced = made[index]
        tensor._history, tensor.name = self._node, replaced.name
        made[index] = tensor
        self._node.structure = tree.map_structure(
            lambda leaf: tensor if leaf is replaced else leaf, self._node.structure
        )

    def _position(self, tensor: KerasTensor) -> int:
        """Say which of several outputs a tensor is, by calling the module once more."""
        again = symbolic_leaves(self.module(*self.args, **self.kwargs))
        context.module_call = None
        return [output._ordinal for output in again].index(tensor._ordinal)


#: How many frames may lie between the call of a module and what is done in it, or the
#: call of another one: torch's own functions and the library take ten at most.
_REACH = 32


class SymbolicNumber(KerasTensor):
    """A Python number that depends on an unknown size, such as ``x.size(0)``.

    Args:
        values: the numbers in the two runs by which shapes are inferred.
    """

    def __init__(self, values: tuple[Any, Any]) -> None:
        super().__init__((), torch.as_tensor(values[0]).dtype)
        self.values = values


def _operator(function: Callable[..., Any], reflected: bool) -> Callable[..., Any]:
    def apply(self: KerasTensor, *others: Any) -> Any:
        if function is operator.getitem and torch_private.wants_any_tensor():
            return torch.empty(0, device="meta")  # without a gradient to hook
        args = _operands((self, *others))
        return call_symbolic(function, args[::-1] if reflected else args, {})

    return apply


def _operands(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return NumPy's arrays as tensors of their dtype, its numbers as Python's."""
    return tuple(
        torch.as_tensor(value)
        if isinstance(value, np.ndarray)
        else value.item()
        if isinstance(value, np.generic)
        else value
        for value in values
    )


#: NumPy's names of operators, which it calls where its array stands on the left.
_OPERATORS_OF_NUMPY: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "matmul": operator.matmul,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
}


#: The special methods: the operator that each means, and whether it swaps its sides.
_REFLECTED: dict[str, tuple[Callable[..., Any], bool]] = {}
for _function in OPERATORS:
    _word = _function.__name__.strip("_")
    _REFLECTED[f"__{_word}__"] = (_function, False)
for _word in "add sub mul truediv floordiv mod pow matmul and or xor".split():
    _REFLECTED[f"__r{_word}__"] = (_REFLECTED[f"__{_word}__"][0], True)
for _name, (_function, _swapped) in _REFLECTED.items():
    setattr(KerasTensor, _name, _operator(_function, _swapped))
KerasTensor.__hash__ = object.__hash__  # `__eq__` above would have removed it


def symbolic_leaves(structure: Any) -> list[KerasTensor]:
    """Return the symbolic tensors in a nested structure, in order."""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, KerasTensor)]


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
    node = Node(op, args, kwargs, outputs)
    for output in node.outputs:
        output.name = node.name if len(node.outputs) == 1 else output.name
    return outputs


def infer_outputs(
    op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return `KerasTensor`s of the shapes and dtypes that an operation gives."""
    # A module may have a method of that name for a purpose of its own.
    infer = None if isinstance(op, nn.Module) else getattr(op, "infer", None)
    if infer is not None:
        return infer(*args, **kwargs)
    if op in _ARITHMETIC and (alike := _alike(args)) is not None:
        return of_sizes(*alike.sizes, alike.static_dtype)
    try:
        first, second = _two_runs(op, args, kwargs, real=False)
        return tree.map_structure(_merge, first, second)
    except (RuntimeError, TypeError) as error:
        if context.probes or not _lacks_values(error):
            raise
    # It needs numbers, not shapes alone: a few will do.
    first, second = _two_runs(op, args, kwargs, real=True)
    return tree.map_structure(_merge_small, first, second)


#: Operators whose result is like the operands, if these are alike and floating.
_ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv)


def _alike(operands: tuple[Any, ...]) -> KerasTensor | None:
    """Return one of the operands if all others are like it, or Python's numbers."""
    tensors = [x for x in operands if not isinstance(x, (int, float))]
    first, *others = tensors
    if not all(type(x) is KerasTensor for x in tensors):
        return None
    if not DTYPES[first.static_dtype].is_floating_point:
        return None
    same = (first.sizes, first.static_dtype)
    return first if all((x.sizes, x.static_dtype) == same for x in others) else None


def _lacks_values(error: Exception) -> bool:
    """Say whether an operation failed for want of numbers, which `meta` has none of."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _two_runs(
    op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], real: bool
) -> tuple[Any, Any]:
    """Run an operation twice, on `meta` or on a few real numbers on the CPU."""
    # What a layer makes in its `call`, such as positions or noise, is there too.
    place = torch.device("cpu" if real else "meta")
    random = torch.random.fork_rng(devices=[]) if real else contextlib.nullcontext()
    with Probe(real) as probe, place, random, torch.no_grad():
        owner = getattr(op, "__self__", None)  # of a method
        for leaf in tree.flatten((op, owner, args, kwargs)):
            if isinstance(leaf, nn.Module):
                probe.adopt(leaf)
        results = []
        for probe.run in (0, 1):
            given = (_stand_in(part, probe.run, real) for part in (args, kwargs))
            positional, named = given
            results.append(op(*positional, **named))
    return results[0], results[1]


def _stand_in(structure: Any, run: int, real: bool) -> Any:
    device = "cpu" if real else "meta"

    def stand_in(leaf: Any) -> Any:
        if isinstance(leaf, SymbolicNumber):
            return leaf.values[run]
        if isinstance(leaf, KerasTensor):
            sizes = leaf.sizes[run]
            if real:
                sizes = [_rescaled(pair, _SMALL)[run] for pair in zip(*leaf.sizes)]  # noqa: B905
            if leaf.static_dtype == STRING:
                return empty_strings(sizes)
            dtype = DTYPES[leaf.static_dtype]
            if not real:
                return torch.empty(sizes, dtype=dtype, device=device)
            # Indices are of the first of many, and no number is divided by zero.
            value = 1 if dtype.is_floating_point else 0
            return torch.full(sizes, value, dtype=dtype, device=device)
        if isinstance(leaf, WeightView):
            return leaf.value.to(device)
        if isinstance(leaf, Tensor):
            return leaf.to(device)
        return leaf

    return tree.map_structure(stand_in, structure)


def _rescaled(
    pair: tuple[int, int], units: Mapping[tuple[int, int], tuple[int, int]]
) -> tuple[int, int]:
    """Return sizes of an axis in the two runs, counted in other units."""
    if pair[0] != pair[1]:
        for (a, b), other in units.items():
            count = pair[0] // a
            if pair == (count * a, count * b) and count:
                return count * other[0], count * other[1]
    return pair


def _merge_small(first: Any, second: Any) -> Any:
    """Merge what came of a few real numbers, in the sizes that others stand in by."""
    merged = _merge(first, second)
    if isinstance(merged, KerasTensor):
        pairs = [_rescaled(pair, _LARGE) for pair in zip(*merged.sizes, strict=True)]
        merged.sizes = (tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
    return merged


def _sizes(shape: Shape, run: int) -> tuple[int, ...]:
    """Return the sizes that stand for a shape in a run."""
    if None not in shape:
        return shape  # type: ignore[return-value]
    other = (_IMAGE if len(shape) > 3 else _LENGTH)[run]
    return tuple(
        (other if axis else _BATCH[run]) if size is None else size
        for axis, size in enumerate(shape)
    )


def _merge(first: Any, second: Any) -> Any:
    if isinstance(first, torch.Size):
        return tuple(map(_merge, first, second))
    if isinstance(first, np.ndarray) and is_strings(first):
        return of_sizes(first.shape, second.shape, STRING)
    if not isinstance(first, Tensor):
        same = first is second or first == second
        return first if same else SymbolicNumber((first, second))
    return of_sizes(tuple(first.shape), tuple(second.shape), first.dtype)


def of_sizes(first: tuple[int, ...], second: tuple[int, ...], dtype: Any) -> Any:
    """Return a symbolic tensor of the sizes that it has in the two runs."""
    shape = [a if a == b else None for a, b in zip(first, second, strict=True)]
    merged = KerasTensor(shape, dtype)
    # An unknown axis stands for the same size in what follows, wherever it is now.
    merged.sizes = (first, second)
    return merged


@contextlib.contextmanager
def recorded_outputs() -> Generator[dict[nn.Module, Any]]:
    """Keep what modules give in the `infer_outputs` within this context.

    Yields:
        A dict that on leaving holds, for each module called, the `KerasTensor`s of its
        first call.
    """
    depth = len(context.probes) + 1  # deeper ones build a module that is inside
    thread = threading.get_ident()  # the hook is called in all of them
    runs: dict[Probe, dict[nn.Module, list[Any]]] = {}
    found: dict[nn.Module, Any] = {}

    def record(module: nn.Module, _: Any, output: Any) -> None:
        if threading.get_ident() == thread and len(context.probes) == depth:
            calls = runs.setdefault(context.probes[-1], {})
            calls.setdefault(module, []).append(output)

    handle = nn.modules.module.register_module_forward_hook(record)
    try:
        yield found
    finally:
        handle.remove()
    if not runs:
        return
    probe = list(runs)[-1]  # an earlier one did not come to an end
    merge = _merge_small if probe.real else _merge
    for module, outputs in runs[probe].items():
        if len(outputs) % 2 == 0:  # each of the two runs made as many calls
            first, second = outputs[0], outputs[len(outputs) // 2]
            found[module] = tree.map_structure(merge, first, second)


def _accessors(kind: str, *names: str) -> set[Callable[..., Any]]:
    return {getattr(getattr(Tensor, name), kind) for name in names}


#: Functions that ask or say how a tensor is kept, not what is computed with it.
_OF_TENSORS_THEMSELVES = frozenset(
    _accessors("__get__", "shape", "dtype", "ndim", "requires_grad", "grad", "is_leaf")
    | _accessors("__set__", "requires_grad", "grad")
    | {Tensor.requires_grad_, torch_private.has_compatible_shallow_copy_type}
    | {Tensor.__array_wrap__}  # by which a product with an array becomes a tensor
)


class Probe(TorchFunctionMode):
    """Within this context operations take copies on `meta` in place of weights.

    No module is changed: an operation that is given a weight of an adopted module gets
    its copy, so that another thread may use the module meanwhile. Tensors and arrays
    that meet a tensor on `meta` are taken as being there as well: what a layer made for
    itself before, a table of positions or a mask. What a call assigns to adopted
    modules is taken back on leaving.

    Args:
        real: whether the copies are on the CPU instead, with their values.
    """

    #: Where new weights go meanwhile.
    device: torch.device
    #: Which of the two runs it is.
    run: int = 0

    def __init__(self, real: bool = False) -> None:
        super().__init__()
        self.real = real
        self._place = "cpu" if real else "meta"
        # By the weights' ids, which stay theirs, as they are kept here.
        self._weights: dict[int, Tensor] = {}
        self._copies: dict[int, Tensor] = {}
        self._tables: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def __enter__(self) -> Probe:
        outer = context.probes[-1] if context.probes else None
        self.device = torch.get_default_device() if outer is None else outer.device
        context.probes.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        context.probes.pop()
        for table, before in self._tables.values():
            for name, tensor in before.items():
                if name in table and table[name] is not tensor:
                    table[name] = tensor

    def empty(self, shape: Shape, dtype: str) -> Any:
        """Return what stands in for outputs of which only the shape is known."""
        unit = _SMALL[_LENGTH] if self.real else _LENGTH
        sizes = [unit[self.run] if size is None else size for size in shape]
        if dtype == STRING:
            return empty_strings(sizes)
        return torch.zeros(sizes, dtype=DTYPES[dtype], device=self._place)

    def adopt(self, module: nn.Module) -> None:
        """Let copies stand for the weights of a module and of those inside it."""
        for inner in module.modules():
            for table in (inner._parameters, inner._buffers):
                known = self._tables.setdefault(id(table), (table, {}))[1]
                for name, tensor in table.items():
                    if name not in known:
                        known[name] = tensor
                        if tensor is not None and not is_lazy(tensor):
                            self._weights[id(tensor)] = tensor

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self not in context.probes or func in _OF_TENSORS_THEMSELVES:
            return func(*args, **kwargs)
        leaves, structure = tree.flatten_with_structure((args, kwargs))
        originals: dict[int, Tensor] = {}
        for index, leaf in enumerate(leaves):
            if id(leaf) in self._weights:
                leaves[index] = copy = self._copy(leaf)
                originals[id(copy)] = leaf
        if not originals and getattr(func, "__name__", "") == "__set__":
            return func(*args, **kwargs)  # of a module that is being made
        if self._meets(leaves):
            leaves = [self._moved(leaf) for leaf in leaves]
        elif not originals:
            return func(*args, **kwargs)
        args, kwargs = tree.unflatten(leaves, structure)
        result = func(*args, **kwargs)
        if not originals:
            return result
        # What changes a weight in place returns the weight.
        return tree.map_structure(lambda x: originals.get(id(x), x), result)

    def _copy(self, weight: Tensor) -> Tensor:
        made = self._copies.get(id(weight))
        if made is None:
            made = weight.detach().to(self._place, copy=True)
            self._copies[id(weight)] = made
        return made

    def _meets(self, leaves: list[Any]) -> bool:
        """Say whether tensors or arrays from elsewhere meet one that is in place."""
        there = [x.device.type == self._place for x in leaves if isinstance(x, Tensor)]
        return any(there) and (
            not all(there) or any(isinstance(leaf, np.ndarray) for leaf in leaves)
        )

    def _moved(self, leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray) and leaf.dtype != object:
            leaf = torch.as_tensor(leaf, device="cpu")
        if isinstance(leaf, Tensor) and leaf.device.type != self._place:
            return leaf.detach().to(self._place)
        return leaf


@contextlib.contextmanager
def outside_of_probes(module: nn.Module) -> Generator[None]:
    """Make the weights of a module as if no shapes were inferred; adopt them then."""
    if not (hidden := context.probes):
        yield
        return
    context.probes = []
    try:
        with torch.device(hidden[-1].device):
            yield
    finally:
        context.probes = hidden
    hidden[-1].adopt(module)
