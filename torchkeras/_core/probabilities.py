"""Probabilities: their logarithms, and the logits that outputs remember.

A softmax or a sigmoid notes on its output what it was computed from, so that a
crossentropy is computed from the logits: in one kernel, and exactly where a probability
is near 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.torch_private import version_of

#: The `ignore_index` of torch that no label can be; its own default, -100, can.
NO_CLASS = -(2**31)


def clipped(probabilities: Tensor) -> Tensor:
    """Keep probabilities away from 0 and 1, where a logarithm is not finite."""
    low = config.epsilon()
    return probabilities.clamp(low, 1.0 - low)


def log_loss(y_true: Tensor, probabilities: Tensor) -> Tensor:
    """Return the crossentropy of labels 0 and 1 and the probabilities of 1."""
    # `F.binary_cross_entropy` computes the same and refuses to run under autocast.
    p = clipped(probabilities)
    return -(y_true * torch.log(p) + (1.0 - y_true) * torch.log1p(-p))


def normalized_probabilities(scores: Tensor, axis: int) -> Tensor:
    """Return positive scores as probabilities that sum to 1, away from 0 and 1."""
    return clipped(scores / scores.sum(axis, keepdim=True))


def remember_logits(output: Any, logits: Tensor, link: str) -> None:
    """Note on an output that it is a function, `link`, of these logits.

    What is changed in place since is not it any more. Torch counts such changes by the
    version of a tensor, except in inference mode, where nothing is noted, and while
    compiling, where they cannot be looked at.

    Example:
        >>> logits = torch.zeros(2)
        >>> output = torch.sigmoid(logits)
        >>> remember_logits(output, logits, "sigmoid")
        >>> logits_of(output, "sigmoid")
        tensor([0., 0.])
        >>> _ = output.mul_(0.5)
        >>> logits_of(output, "sigmoid") is None
        True
    """
    version = None
    if not torch.compiler.is_compiling():
        try:
            version = version_of(logits)
        except RuntimeError:  # of inference mode
            return
    output._keras_logits = logits, link, version


def logits_of(output: Any, link: str) -> Tensor | None:
    """Return the logits that an output is this function of; None if it isn't known."""
    memory = getattr(output, "_keras_logits", None)
    if memory is None:
        return None
    logits, own_link, version = memory
    if own_link != link:
        return None
    if version is None or torch.compiler.is_compiling():
        return logits
    try:  # the version of an output that was just computed is 0
        is_changed = version_of(output) or version_of(logits) != version
    except RuntimeError:  # computed in inference mode
        return None
    return None if is_changed else logits


def keep_logits(output: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to an output, and to the logits that it remembers."""
    result = function(output)
    memory = getattr(output, "_keras_logits", None)
    if memory is not None and result is not output:
        logits = logits_of(output, memory[1])
        if logits is not None:
            remember_logits(result, function(logits), memory[1])
    return result
