"""Whether outputs are what their loss takes them for: probabilities, or logits."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import losses
from torchkeras._core.probabilities import logits_of
from torchkeras.losses.traits import traits_of
from torchkeras.training.conventions import unwrapped

#: How far numeric errors may bring a probability out of the range from 0 to 1.
_SLACK = 1e-3

_SOFTMAX, _SIGMOID = "softmax", "sigmoid"
_OF_TORCH: dict[Any, str] = {
    nn.CrossEntropyLoss: _SOFTMAX,
    nn.functional.cross_entropy: _SOFTMAX,
    nn.BCEWithLogitsLoss: _SIGMOID,
    nn.functional.binary_cross_entropy_with_logits: _SIGMOID,
}


def check_link(loss: losses.Loss, output: Any, name: str) -> None:
    """Warn where a loss of logits gets probabilities, or the other way round.

    It is called with the first batch: it looks at the values where that is no wait for
    a device.

    Args:
        loss: the loss.
        output: the output.
        name: the name of the output.
    """
    link, takes_logits = _taken(loss)
    if not link or not isinstance(output, Tensor) or torch.compiler.is_compiling():
        return
    if takes_logits and logits_of(output, link) is not None:
        way_out = (
            f"pass from_logits=False to {loss.name}"
            if isinstance(loss, losses.LossFunctionWrapper)
            else "use the loss of probabilities that Keras names"
        )
        warnings.warn(
            f"The output '{name}' is a {link}, and the loss {loss.name} takes logits, "
            f"of which it computes a {link} of its own. Leave the activation out, or "
            f"{way_out}.",
            stacklevel=2,
        )
    elif not takes_logits and not _may_be_probabilities(output, link):
        warnings.warn(
            f"The output '{name}' does not hold probabilities, which the loss "
            f"{loss.name} takes. Give the last layer activation='{link}', or the loss "
            "from_logits=True.",
            stacklevel=2,
        )


def _taken(loss: losses.Loss) -> tuple[str, bool]:
    """Return the activation whose outputs a loss takes, and whether without it."""
    if isinstance(loss, losses.LossFunctionWrapper):
        given = {**getattr(loss.fn, "keywords", {}), **loss.get_config()}
        return traits_of(loss.fn).link, bool(given.get("from_logits", False))
    function = unwrapped(getattr(loss, "wrapped", None))
    for known, link in _OF_TORCH.items():
        if function is known or type(function) is known:
            return link, True
    return "", False


def _may_be_probabilities(output: Tensor, link: str) -> bool:
    """Say whether nothing shows that an output does not hold probabilities.

    On an accelerator only the last operation is looked at: a product with a bias.
    """
    if output.device.type != "cpu":
        return type(output.grad_fn).__name__ != "AddmmBackward0"
    outside = output.detach() < -_SLACK
    if link == _SIGMOID:  # a loss of classes scales positive scores itself
        outside |= output.detach() > 1.0 + _SLACK
    return not outside.any()
