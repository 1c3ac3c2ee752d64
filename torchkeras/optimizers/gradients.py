"""Gradients that a caller hands over, in Keras's layout."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor

from torchkeras._core.variable import check_assigned, to_tensor
from torchkeras.optimizers.weights import Weight, tensors_of, to_torch_layout


def check_gradients(
    name: str, grads: Sequence[Tensor | None], weights: Sequence[Weight]
) -> None:
    """Refuse gradients that are not one for each weight, warn of those that miss.

    Args:
        name: the optimizer's name.
        grads: the gradients.
        weights: the weights.

    Raises:
        ValueError: when their number is another, or all are None.
    """
    if len(grads) != len(weights):
        raise ValueError(
            f"Optimizer '{name}': expected one gradient for each of {len(weights)} "
            f"weights, got {len(grads)}."
        )
    if all(grad is None for grad in grads):
        raise ValueError(
            f"Optimizer '{name}': all gradients are None. Check that the loss depends "
            "on the weights."
        )
    pairs = zip(grads, weights, strict=True)
    if missing := [getattr(w, "path", "") for grad, w in pairs if grad is None]:
        warnings.warn(
            f"Optimizer '{name}': there is no gradient for {missing}, which stay as "
            "they are. Check that the loss depends on them.",
            stacklevel=3,
        )


def in_torch_layout(
    grads: Sequence[Tensor | None], weights: Sequence[Weight], *, copy: bool
) -> dict[int, Tensor]:
    """Return gradients of weights as those of torch's tensors, by their ids.

    Args:
        grads: the gradients, in Keras's layout.
        weights: the weights.
        copy: copy them, for one who changes them in place.

    Raises:
        ValueError: when a gradient has another shape than its weight.
    """
    found: dict[int, Tensor] = {}
    for grad, weight in zip(grads, weights, strict=True):
        if grad is None:
            continue
        targets = tensors_of(weight)
        grad = to_tensor(grad, targets[0])
        path = getattr(weight, "path", type(weight).__name__)
        check_assigned(path, tuple(weight.shape), tuple(grad.shape))
        parts = to_torch_layout(weight, grad)
        for target, part in zip(targets, parts, strict=True):
            found[id(target)] = part.clone() if copy else part
    return found
