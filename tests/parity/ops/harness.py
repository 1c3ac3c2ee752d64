"""Rows that compare an operation with Keras's, and the checks that each goes through.

A row is an operation's name and one set of arguments. NumPy arrays stand for tensors:
each check makes of them what it is about (tensors, lists, symbolic tensors).
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import keras
import numpy as np
import torch

import torchkeras
from torchkeras import KerasTensor
from torchkeras._core import tree
from torchkeras.backend import standardize_dtype


@dataclasses.dataclass
class Case:
    """One operation on one set of arguments.

    Args:
        name: the path under `ops`, such as ``"add"`` or ``"image.resize"``.
        args: positional arguments; arrays stand for tensors.
        kwargs: keyword arguments.
        rtol: the relative tolerance of values; `atol` the absolute one.
        grad: whether gradients are compared (only of floating-point arguments).
        symbolic: False, or the reason why there is no comparison of symbolic shapes.
        dtype: False, or the reason why the dtype differs from Keras's on purpose.
        lists: whether nested lists may stand for the arrays.
        values: False, or the reason why values are compared elsewhere (random ones).
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    rtol: float = 1e-5
    atol: float = 1e-5
    grad: bool = True
    symbolic: Any = True
    dtype: Any = True
    lists: bool = True
    values: Any = True

    def __str__(self) -> str:
        shown = [_describe(a) for a in self.args]
        shown += [f"{k}={_describe(v)}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(shown)})"

    @property
    def ours(self) -> Any:
        return _resolve(torchkeras.ops, self.name)

    @property
    def keras(self) -> Any:
        return _resolve(keras.ops, self.name)


def _resolve(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}".replace(" ", "")
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_describe, value)) + "]"
    if callable(value):
        return getattr(value, "__name__", "function")
    return repr(value)


def _mapped(case: Case, make: Any) -> tuple[Any, Any]:
    def each(leaf: Any) -> Any:
        return make(leaf) if isinstance(leaf, np.ndarray) else leaf

    return tree.map_structure(each, case.args), tree.map_structure(each, case.kwargs)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array)


def _leaves(outputs: Any) -> list[Any]:
    return list(tree.flatten(outputs))


def _numpy(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return np.asarray(value)


def _assert_same(case: Case, ours: Any, theirs: Any) -> None:
    ours, theirs = _leaves(ours), _leaves(theirs)
    assert len(ours) == len(theirs)
    for own, reference in zip(ours, theirs, strict=True):
        assert np.shape(_numpy(own)) == np.shape(_numpy(reference))
        np.testing.assert_allclose(
            _numpy(own), _numpy(reference), rtol=case.rtol, atol=case.atol
        )


def check_values(case: Case) -> None:
    """Values, shapes and dtypes on tensors are Keras's."""
    if case.values is not True:
        return
    args, kwargs = _mapped(case, _tensor)
    ours = case.ours(*args, **kwargs)
    args, kwargs = _mapped(case, keras.ops.convert_to_tensor)
    theirs = case.keras(*args, **kwargs)
    _assert_same(case, ours, theirs)
    if case.dtype is True:
        for own, reference in zip(_leaves(ours), _leaves(theirs), strict=True):
            if isinstance(reference, torch.Tensor):
                assert isinstance(own, torch.Tensor)
                assert own.dtype == reference.dtype


def check_arrays(case: Case) -> None:
    """NumPy arrays and nested lists are taken as well."""
    if case.values is not True:
        return
    expected = case.ours(*case.args, **case.kwargs)
    args, kwargs = _mapped(case, _tensor)
    _assert_same(case, expected, case.ours(*args, **kwargs))
    if case.lists:
        args, kwargs = _mapped(case, lambda array: array.tolist())
        _assert_same(case, case.ours(*args, **kwargs), expected)


def check_gradients(case: Case) -> None:
    """Gradients with respect to floating-point arguments are Keras's."""
    if not case.grad or case.values is not True:
        return
    ours, theirs = (_gradients(case, f) for f in (case.ours, case.keras))
    assert len(ours) == len(theirs)
    for own, reference in zip(ours, theirs, strict=True):
        assert (own is None) == (reference is None)
        if own is not None:
            np.testing.assert_allclose(
                _numpy(own), _numpy(reference), rtol=case.rtol, atol=case.atol
            )


def _gradients(case: Case, function: Any) -> list[Any]:
    variables: list[torch.Tensor] = []

    def variable(array: np.ndarray) -> torch.Tensor:
        tensor = torch.tensor(array)
        if tensor.is_floating_point():
            variables.append(tensor.requires_grad_())
        return tensor

    args, kwargs = _mapped(case, variable)
    outputs = [
        output
        for output in _leaves(function(*args, **kwargs))
        if isinstance(output, torch.Tensor)
        and output.requires_grad
        and output.is_floating_point()
    ]
    if not variables or not outputs:
        return [None] * len(variables)
    weighted = [
        (output * torch.cos(torch.arange(output.numel()).reshape(output.shape))).sum()
        for output in outputs
    ]
    total = torch.stack([term.double() for term in weighted]).sum()
    return list(torch.autograd.grad(total, variables, allow_unused=True))


def check_symbolic(case: Case) -> None:
    """Symbolic shapes are Keras's, and agree with what comes out on tensors."""
    if case.symbolic is not True:
        return
    if not any(
        isinstance(v, np.ndarray) for v in tree.flatten((case.args, case.kwargs))
    ):
        return
    args, kwargs = _mapped(case, lambda a: KerasTensor(a.shape, a.dtype))
    ours = _leaves(case.ours(*args, **kwargs))
    args, kwargs = _mapped(case, lambda a: keras.KerasTensor(a.shape, a.dtype))
    theirs = _leaves(case.keras(*args, **kwargs))
    assert len(ours) == len(theirs)
    for own, reference in zip(ours, theirs, strict=True):
        assert getattr(own, "shape", own) == getattr(reference, "shape", reference)
    _assert_same_call(ours, theirs)
    if case.values is not True:
        return
    args, kwargs = _mapped(case, _tensor)
    actual = _leaves(case.ours(*args, **kwargs))
    for own, tensor in zip(ours, actual, strict=True):
        if isinstance(tensor, torch.Tensor):
            assert own.dtype == standardize_dtype(tensor.dtype)
            assert len(own.shape) == tensor.ndim
            for size, real in zip(own.shape, tensor.shape, strict=True):
                assert size in (None, real)


def _assert_same_call(ours: list[Any], theirs: list[Any]) -> None:
    """Check that a saved model would call Keras's class with the same arguments."""
    if not ours or not isinstance(ours[0], KerasTensor) or not ours[0].history:
        return
    history = getattr(theirs[0], "_keras_history", None)
    entry = getattr(ours[0].history.op, "operation", None)
    if history is None or history.operation is None or entry is None:
        return
    reference = type(history.operation)
    assert entry.class_name == reference.__name__
    assert entry.module == reference.__module__
    tensors, options = entry.split(ours[0].history.args, ours[0].history.kwargs)
    call = list(inspect.signature(reference.call).parameters)[1:]
    own = inspect.signature(entry.function).parameters
    order = [name for name in own if name in entry.tensors]
    assert [name for name in call if name in order] == order
    assert set(tensors) <= set(call) or "axes_lengths" in call
    assert set(options) <= set(inspect.signature(reference.__init__).parameters)


CHECKS = [check_values, check_arrays, check_gradients, check_symbolic]
