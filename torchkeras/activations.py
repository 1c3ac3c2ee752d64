"""Activation functions: Keras's names and defaults over torch's functions."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.convert import as_tensor
from torchkeras._core.missing import explain_missing
from torchkeras._core.probabilities import remember_logits
from torchkeras._core.registry import Registry
from torchkeras._core.symbolic import KerasTensor, call_symbolic
from torchkeras._core.typing import ActivationLike

activations = Registry("activation", "keras.activations")

# The functions of most models, called once per layer and batch: tensors go straight to
# torch, without a call of ours.


@activations.register()
def linear(x: Any) -> Any:
    """Return the input itself.

    Example:
        >>> linear(3.0)
        3.0
    """
    return x


@activations.register()
def relu(
    x: Any,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """Rectified linear unit: ``max(x, 0)`` with the defaults.

    Args:
        x: the input.
        negative_slope: the slope below `threshold`.
        max_value: the largest value of the output; None for no limit.
        threshold: values up to it are dropped.

    Example:
        >>> relu(torch.tensor([-2.0, 0.5, 8.0]), max_value=6.0)
        tensor([0.0000, 0.5000, 6.0000])
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if max_value is None and threshold == 0.0:
        if negative_slope == 0.0:
            return torch.relu(x)
        return F.leaky_relu(x, negative_slope)
    kept = x if threshold == 0.0 else torch.where(x > threshold, x, 0)
    if max_value is not None:
        kept = F.hardtanh(kept, 0.0, max_value)
    if negative_slope == 0.0:
        return kept
    return kept - negative_slope * torch.relu(threshold - x)


@activations.register()
def sigmoid(x: Any) -> Tensor:
    """``1 / (1 + exp(-x))``.

    The output remembers `x`, from which crossentropy losses are computed stably.

    Example:
        >>> sigmoid(torch.zeros(2))
        tensor([0.5000, 0.5000])
    """
    if not isinstance(x, Tensor):
        if isinstance(x, KerasTensor):
            return call_symbolic(sigmoid, (x,), {})
        x = as_tensor(x)
    output = torch.sigmoid(x)
    remember_logits(output, x, "sigmoid")
    return output


@activations.register()
def softmax(x: Any, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis.

    Along the last axis the output remembers `x`, from which crossentropy losses are
    computed stably.

    Args:
        x: the input.
        axis: the axis, or several; None for all.

    Example:
        >>> softmax(torch.zeros(4))
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if not isinstance(x, Tensor):
        if isinstance(x, KerasTensor):
            return call_symbolic(softmax, (x,), {"axis": axis})
        x = as_tensor(x)
    if not isinstance(axis, int):
        return torch.exp(log_softmax(x, axis))
    if x.ndim and x.size(axis) == 1:
        _warn_of_ones(axis)
    output = torch.softmax(x, axis)
    if axis in (-1, x.ndim - 1):
        remember_logits(output, x, "softmax")
    return output


def _warn_of_ones(axis: int) -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(
            f"softmax: axis {axis} of the input has size 1, so every output is 1. For "
            "one probability use the sigmoid activation.",
            stacklevel=3,
        )


@activations.register()
def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x if isinstance(x, Tensor) else as_tensor(x))


@activations.register()
def log_softmax(x: Any, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """Logarithm of the softmax along an axis, along several, or (None) along all."""
    x = as_tensor(x)
    if isinstance(axis, int):
        return torch.log_softmax(x, axis)
    axes = tuple(range(x.ndim)) if axis is None else tuple(axis)
    return x - torch.logsumexp(x, axes, keepdim=True)


@activations.register("swish")
def silu(x: Any) -> Tensor:
    """``x * sigmoid(x)``, also called swish (https://arxiv.org/abs/1710.05941)."""
    return F.silu(as_tensor(x))


@activations.register()
def gelu(x: Any, approximate: bool = False) -> Tensor:
    """``x * P(X <= x)`` of a standard normal X (https://arxiv.org/abs/1606.08415).

    Args:
        x: the input.
        approximate: whether to compute it by a hyperbolic tangent.
    """
    return F.gelu(as_tensor(x), approximate="tanh" if approximate else "none")


@activations.register()
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """``x`` where positive, else ``negative_slope * x``."""
    return F.leaky_relu(as_tensor(x), negative_slope)


@activations.register()
def relu6(x: Any) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return F.relu6(as_tensor(x))


@activations.register()
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``.

    Args:
        x: the input.
        alpha: the limit for small values, negated (https://arxiv.org/abs/1511.07289).
    """
    return F.elu(as_tensor(x), alpha)


@activations.register()
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)``.

    Args:
        x: the input.
        alpha: the limit for small values, negated (https://arxiv.org/abs/1704.07483).
    """
    return F.celu(as_tensor(x), alpha)


@activations.register()
def selu(x: Any) -> Tensor:
    """Scaled `elu` that keeps mean 0 and variance 1 (https://arxiv.org/abs/1706.02515).

    To be used with the `LecunNormal` initializer and `AlphaDropout`.
    """
    return F.selu(as_tensor(x))


@activations.register()
def softplus(x: Any) -> Tensor:
    """``log(exp(x) + 1)``."""
    return F.softplus(as_tensor(x))


@activations.register()
def softsign(x: Any) -> Tensor:
    """``x / (abs(x) + 1)``."""
    return F.softsign(as_tensor(x))


@activations.register()
def squareplus(x: Any, b: float = 4) -> Tensor:
    """``(x + sqrt(x**2 + b)) / 2`` (https://arxiv.org/abs/2112.11687).

    Args:
        x: the input.
        b: how smooth the bend is.
    """
    x = as_tensor(x)
    return (x + torch.sqrt(torch.square(x) + b)) / 2


@activations.register()
def mish(x: Any) -> Tensor:
    """``x * tanh(softplus(x))`` (https://arxiv.org/abs/1908.08681)."""
    return F.mish(as_tensor(x))


@activations.register()
def exponential(x: Any) -> Tensor:
    """``exp(x)``."""
    return torch.exp(as_tensor(x))


@activations.register()
def log_sigmoid(x: Any) -> Tensor:
    """``log(1 / (1 + exp(-x)))``."""
    return F.logsigmoid(as_tensor(x))


@activations.register()
def glu(x: Any, axis: int = -1) -> Tensor:
    """``a * sigmoid(b)`` of the halves of `x` (https://arxiv.org/abs/1612.08083).

    Args:
        x: the input.
        axis: the axis that is cut in two.
    """
    return F.glu(as_tensor(x), axis)


@activations.register()
def hard_sigmoid(x: Any) -> Tensor:
    """``x / 6 + 0.5`` between 0 and 1."""
    return F.hardsigmoid(as_tensor(x))


@activations.register("hard_swish")
def hard_silu(x: Any) -> Tensor:
    """``x * hard_sigmoid(x)`` (https://arxiv.org/abs/1905.02244)."""
    return F.hardswish(as_tensor(x))


@activations.register()
def hard_tanh(x: Any) -> Tensor:
    """``x`` between -1 and 1."""
    return F.hardtanh(as_tensor(x))


@activations.register()
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` where its absolute value is over `threshold`, else 0."""
    return F.hardshrink(as_tensor(x), threshold)


@activations.register()
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` moved by `threshold` towards 0, and 0 within it."""
    return F.softshrink(as_tensor(x), threshold)


@activations.register()
def tanh_shrink(x: Any) -> Tensor:
    """``x - tanh(x)``."""
    return F.tanhshrink(as_tensor(x))


@activations.register()
def threshold(x: Any, threshold: float, default_value: float) -> Tensor:
    """``x`` where it is over `threshold`, else `default_value`."""
    return F.threshold(as_tensor(x), threshold, default_value)


@activations.register()
def sparse_plus(x: Any) -> Tensor:
    """0 up to -1, ``x`` from 1, and ``(x + 1)**2 / 4`` between."""
    x = as_tensor(x)
    bend = torch.square(x + 1) / 4
    return torch.where(x <= -1, 0, torch.where(x < 1, bend, x))


@activations.register()
def sparse_sigmoid(x: Any) -> Tensor:
    """``(x + 1) / 2`` between 0 and 1 (https://arxiv.org/abs/1901.02324)."""
    return F.hardtanh((as_tensor(x) + 1) / 2, 0.0, 1.0)


@activations.register()
def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """Project onto the probability simplex along an axis.

    Like softmax, with exact zeros (https://arxiv.org/abs/1602.02068).

    Args:
        x: the input.
        axis: the axis.

    Example:
        >>> sparsemax(torch.tensor([2.0, 1.5, -1.0]))
        tensor([0.7500, 0.2500, 0.0000])
    """
    # The last axis, so that the ranks 1, 2, ... broadcast against the sorted values.
    values = torch.movedim(as_tensor(x), axis, -1)
    ordered = torch.sort(values, dim=-1, descending=True).values
    ranks = torch.cumsum(torch.ones_like(ordered), -1)
    excess = torch.cumsum(ordered, -1) - 1
    support = torch.sum(ordered * ranks > excess, -1, keepdim=True)
    limit = torch.gather(excess, -1, support - 1) / support
    return torch.movedim(torch.relu(values - limit), -1, axis)


swish = silu
hard_swish = hard_silu

#: Torch's functions that are ours under other names: files call them by Keras's name.
_TORCH_FUNCTIONS = {
    relu: (torch.relu, F.relu),
    sigmoid: (torch.sigmoid, F.sigmoid),
    tanh: (torch.tanh, F.tanh),
    silu: (F.silu,),
    gelu: (F.gelu,),
    relu6: (F.relu6,),
    elu: (F.elu,),
    celu: (F.celu, torch.celu),
    selu: (F.selu, torch.selu),
    softplus: (F.softplus,),
    softsign: (F.softsign,),
    mish: (F.mish,),
    exponential: (torch.exp,),
    log_sigmoid: (F.logsigmoid,),
    hard_sigmoid: (F.hardsigmoid,),
    hard_silu: (F.hardswish,),
    hard_tanh: (F.hardtanh,),
    tanh_shrink: (F.tanhshrink,),
}
for _member, _functions in _TORCH_FUNCTIONS.items():
    activations.canonical.update(dict.fromkeys(_functions, _member.__name__))


def keeps_shape(activation: Any) -> bool:
    """Say whether a function is known to give outputs of the shape of its inputs.

    Example:
        >>> keeps_shape(relu), keeps_shape(glu), keeps_shape(lambda x: x)
        (True, False, False)
    """
    known = isinstance(activation, Hashable) and activation in activations.canonical
    return known and activation is not glu


def get(identifier: Any) -> Any:
    """Return the activation that a name, a config, a function or a layer stands for.

    None is `linear`. Torch's functions and modules are returned as they are.

    Raises:
        ValueError: for an unknown name.
        TypeError: for a value of another kind.

    Example:
        >>> get("relu") is relu, get(torch.relu) is torch.relu, get(None) is linear
        (True, True, True)
    """
    return linear if identifier is None else activations.get(identifier)


def serialize(activation: ActivationLike) -> Any:
    """Return the name of a built-in activation, or the config of another one."""
    return activations.serialize(activation)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the activation that a name or a config stands for."""
    return activations.deserialize(config, custom_objects)


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
