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
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.config import default_device
from torchkeras._core.convert import as_tensor, fits
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import describe
from torchkeras._core.symbolic import KerasTensor, Probe, call_symbolic
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
        single = (kinds.get(name) == "Array" for name in names[:fixed])
        leading = len(list(itertools.takewhile(bool, single)))
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
            if any(isinstance(v, KerasTensor) for v in tree.flatten((args, kwargs))):
                return call_symbolic(call, args, kwargs)
            wrong = not (open_ended or known >= kwargs.keys())
            if wrong or (len(args) > fixed and not rest):
                return function(*args, **kwargs)  # which says what is wrong
            arguments = dict(zip(names[:fixed], args, strict=False)) | kwargs
            given = {k: v for k, v in arguments.items() if k in kinds}
            # Each of any number of tensors has a name of its own here: its position.
            places = [*names[:fixed], *(f"*{i}" for i in range(fixed, len(args)))]
            more = dict(zip(places[fixed:], args[fixed:], strict=True))
            converted = as_tensors(given | more, kinds | dict.fromkeys(more, "Array"))
            pairs = zip(places, args, strict=False)
            args = tuple(converted.get(name, value) for name, value in pairs)
            kwargs = {k: converted.get(k, v) for k, v in kwargs.items()}
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
    if Probe.active:
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


def as_tensors(given: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    """Return arguments as tensors on one device, numbers in the dtype of the others."""
    leaves = [
        leaf
        for name, value in given.items()
        for leaf in (_leaves(value) if kinds[name] == "Arrays" else (value,))
    ]
    tensors = [
        v.value if isinstance(v, WeightView) else v
        for v in leaves
        if isinstance(v, (Tensor, WeightView))
    ]
    device = tensors[0].device if tensors else default_device()
    others = [
        v.dtype if isinstance(v, Tensor) else to_torch_dtype(v.dtype)
        for v in [*tensors, *leaves]
        if isinstance(v, (Tensor, np.ndarray, np.generic)) and v.dtype != object
    ]

    def convert(value: Any) -> Any:
        if value is None or isinstance(value, Tensor):
            return value
        if isinstance(value, WeightView):
            return value.value
        if type(value) in (bool, int, float, complex):
            return torch.full((), value, dtype=_dtype_of(value, others), device=device)
        return as_tensor(value, device)

    return {
        name: convert(value)
        if kinds[name] == "Array"
        else tree.map_structure(convert, value)
        if _is_structure(value)
        else convert(value)
        for name, value in given.items()
    }


def _is_structure(value: Any) -> bool:
    """Say whether an `Arrays` argument is a structure: not one array or None."""
    return isinstance(value, (list, tuple, dict))


def _leaves(value: Any) -> Iterator[Any]:
    yield from tree.flatten(value) if _is_structure(value) else (value,)


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
