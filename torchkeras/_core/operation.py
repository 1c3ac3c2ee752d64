"""What makes a function over tensors an operation of Keras's `ops`.

An operation is written over torch tensors. `operation` lets it take arrays, numbers,
nested lists, weights and symbolic tensors as well, and enters it in the table that
saved functional models name their operations by.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.config import default_device
from torchkeras._core.context import context
from torchkeras._core.convert import as_tensor, fits
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import describe
from torchkeras._core.symbolic import KerasTensor, call_symbolic
from torchkeras._core.variable import WeightView

P = ParamSpec("P")
R = TypeVar("R")

#: The annotation of an argument that is a tensor, or what can become one: an array, a
#: number, a nested list of numbers, a weight, a symbolic tensor. Within the function it
#: is a tensor (or None, where that is the default).
Array = Any
#: The annotation of an argument that is a list or another structure of such.
Arrays = Any
#: The annotation of an argument that Keras passes with the tensors and that stays as it
#: is: an index, a function. All others are options: they make an operation's config.
Operand = Any

_CONVERTED = ("Array", "Arrays")


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """An entry in the table of operations.

    Args:
        function: the public function.
        class_name: the name of Keras's class, which saved models use.
        module: the module of that class.
        tensors: the names of the arguments that Keras passes with the tensors.
    """

    function: Callable[..., Any]
    class_name: str
    module: str
    tensors: frozenset[str]

    def positional(
        self, tensors: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the tensors of a call by position, as far as none is left out."""
        args: list[Any] = []
        named = dict(tensors)
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name not in self.tensors:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += named.pop(name, ())
            elif name in named:
                args.append(named.pop(name))
            else:
                break
        return tuple(args), named

    def call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        """Call the function on tensors by position and by name, and on options."""
        waiting, positional = list(args), []
        named = {**kwargs, **options}
        gap = False
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += waiting
                waiting = []
            elif name in self.tensors and waiting:
                positional.append(waiting.pop(0))
            elif (
                name in named
                and not gap
                and parameter.kind is not (parameter.KEYWORD_ONLY)
            ):
                positional.append(named.pop(name))
            else:
                gap = True
        return self.function(*positional, *waiting, **named)

    def split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arguments of a call by name: the tensors, and the options."""
        signature = inspect.signature(self.function)
        tensors: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            group = tensors if name in self.tensors else options
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                group.update(value)
            else:
                group[name] = value
        return tensors, options


#: All operations, by Keras's class name.
operations: dict[str, Operation] = {}


def operation(
    module: str,
    *,
    class_name: str | None = None,
    infer: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function over tensors an operation.

    Arguments annotated `Array` are converted to tensors, those annotated `Arrays` leaf
    by leaf. Numbers among them take the dtype of the tensors beside them where it can
    hold them, as in Keras. When any argument is symbolic, so is the result.

    Args:
        module: the Keras module of the operation's class, such as ``"numpy"``.
        class_name: Keras's name for it in saved models; the function's name in camel
            case by default.
        infer: gives the symbolic outputs, from the function's own arguments, where a
            run on the `meta` device cannot: it returns `KerasTensor`s.

    Example:
        >>> @operation("doc")
        ... def halve(x: Array) -> Tensor:
        ...     return x / 2
        >>> halve([2.0, 4.0])
        tensor([1., 2.])
        >>> halve(KerasTensor((None, 3))).shape
        (None, 3)
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        kinds = {
            name: kind
            for name, parameter in parameters.items()
            if (kind := str(parameter.annotation).removesuffix(" | None")) in _CONVERTED
        }
        operands = {n for n, p in parameters.items() if str(p.annotation) == "Operand"}
        names, known = tuple(parameters), parameters.keys()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        rest = [n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
        fixed = names.index(rest[0]) if rest else len(names)
        # How many of the first arguments are single tensors: those are looked at in
        # each call, and all else costs a call on tensors nothing.
        by_position = [kinds.get(name) for name in names[:fixed]]
        leading = len(
            list(itertools.takewhile(lambda kind: kind == "Array", by_position))
        )
        later = {name: kind for name, kind in kinds.items() if name in names[leading:]}
        only_leading = bool(leading) and not later
        by_name = frozenset(kinds)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                if only_leading and (not kwargs or by_name.isdisjoint(kwargs)):
                    for value in args[:leading]:
                        if type(value) is not Tensor:
                            break
                    else:
                        return function(*args, **kwargs)
                return convert(args, kwargs)
            except (RuntimeError, IndexError) as error:  # torch's: it knows no names
                given = dict(zip(names[:fixed], args, strict=False)) | kwargs
                given |= dict.fromkeys(rest, args[fixed:])
                _note_call(error, function.__name__, given)
                raise

        def convert(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if _holds_symbolic(args) or (kwargs and _holds_symbolic(kwargs.values())):
                return call_symbolic(call, args, kwargs)
            wrong = not (open_ended or known >= kwargs.keys())
            if wrong or (len(args) > fixed and not rest):
                return function(*args, **kwargs)  # which says what is wrong
            count = len(args)
            wanted = [*by_position[:count], *["Array"] * (count - fixed)]
            wanted += map(kinds.get, kwargs)
            converted = as_tensors([*args, *kwargs.values()], wanted)
            args, values = tuple(converted[:count]), converted[count:]
            kwargs = dict(zip(kwargs, values, strict=True))
            return function(*args, **kwargs)

        made: Any = call
        made.infer = infer
        made.operation = Operation(
            call,
            class_name or _camel_case(function.__name__),
            f"keras.src.ops.{module}",
            by_name | operands,
        )
        operations[made.operation.class_name] = made.operation
        return made

    return decorate


def _note_call(error: Exception, name: str, given: dict[str, Any]) -> None:
    """Note on an error which operation raised it, and what that was given."""
    if isinstance(error, RecursionError):
        raise tree.explained(error, given) from None
    if context.probes:
        return  # sizes are stand-ins: the symbolic call has the real ones
    if not any(note.startswith(_NOTE) for note in getattr(error, "__notes__", ())):
        arguments = ", ".join(f"{k}: {_described(v)}" for k, v in given.items())
        error.add_note(f"{_NOTE} `ops.{name}`, given {arguments}.")


_NOTE = "In the operation"


def _described(value: Any) -> str:
    if isinstance(value, (list, tuple)) and any(map(_is_array, value)):
        return f"[{', '.join(map(_described, value))}]"
    return describe(value) if _is_array(value) else repr(value)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _camel_case(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def as_tensors(given: list[Any], kinds: Sequence[str | None]) -> list[Any]:
    """Return arguments as tensors on one device, numbers in the dtype of the others.

    Args:
        given: the arguments.
        kinds: the kind of each: "Array", "Arrays", or None where it stays as it is.
    """
    leaves: list[Any] = []
    for value, kind in zip(given, kinds, strict=True):
        if kind == "Arrays":
            leaves += _leaves(value)
        elif kind is not None:
            leaves.append(value)
    if all(type(leaf) is Tensor for leaf in leaves):
        return given
    others, device = _dtypes_and_device(leaves)

    def convert(value: Any) -> Any:
        if value is None or isinstance(value, Tensor):
            return value
        if isinstance(value, WeightView):
            return value.value
        if type(value) in _NUMBERS:
            dtype = _dtype_of(value, others)
            return torch.scalar_tensor(value, dtype=dtype, device=device)
        return as_tensor(value, device)

    return [
        value
        if kind is None
        else convert(value)
        if kind == "Array" or not _is_structure(value)
        else tree.map_structure(convert, value)
        for value, kind in zip(given, kinds, strict=True)
    ]


def _dtypes_and_device(leaves: list[Any]) -> tuple[list[torch.dtype], torch.device]:
    """Return the dtypes of tensors and arrays, and the device of the first tensor."""
    found: list[torch.dtype] = []
    device = None
    for leaf in leaves:
        if isinstance(leaf, (Tensor, WeightView)):
            leaf = leaf.value if isinstance(leaf, WeightView) else leaf
            device = leaf.device if device is None else device
            found.append(leaf.dtype)
        elif isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype != object:
            found.append(to_torch_dtype(leaf.dtype))
    return found, default_device() if device is None else device


_NUMBERS = frozenset((bool, int, float, complex))
#: Types of arguments that are not symbolic, and hold nothing that is.
_PLAIN = _NUMBERS | {Tensor, str, type(None), np.ndarray, torch.dtype}


def _holds_symbolic(values: Iterable[Any]) -> bool:
    """Say whether there is a symbolic tensor among values, or in one of them."""
    for value in values:
        if type(value) in _PLAIN:
            continue
        if isinstance(value, KerasTensor):
            return True
        if type(value) in (list, tuple):
            if _holds_symbolic(value):
                return True
        elif any(isinstance(leaf, KerasTensor) for leaf in tree.flatten(value)):
            return True
    return False


def _leaves(value: Any) -> Sequence[Any]:
    """Return the parts of an `Arrays` argument."""
    if not _is_structure(value):
        return (value,)
    bare = type(value) in (list, tuple) and all(type(v) is Tensor for v in value)
    return value if bare else tree.flatten(value)


def _is_structure(value: Any) -> bool:
    """Say whether an `Arrays` argument is a structure: not one array or None."""
    return isinstance(value, (list, tuple, dict))


def _dtype_of(number: Any, others: list[torch.dtype]) -> torch.dtype:
    """Return the dtype of a Python number beside tensors: theirs, if it can hold it."""
    own = {bool: torch.bool, int: torch.int32, complex: torch.complex64}
    dtype = own.get(type(number)) or to_torch_dtype(None)
    if type(number) is int and not fits(number, dtype):
        dtype = torch.int64
    if not others or type(number) is bool:
        return dtype
    joint = functools.reduce(torch.promote_types, others)
    holds = (
        joint.is_complex
        or (joint.is_floating_point and type(number) is not complex)
        or (type(number) is int and joint != torch.bool)
    )
    return joint if holds else dtype
