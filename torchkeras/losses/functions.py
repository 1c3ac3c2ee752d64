"""Loss functions: each takes ``(y_true, y_pred)`` and gives one value per sample."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.convert import as_floating, as_tensor
from torchkeras._core.errors import describe, invalid_argument
from torchkeras._core.indices import first_outside, inner_position
from torchkeras._core.probabilities import (
    NO_CLASS,
    log_loss,
    logits_of,
    normalized_probabilities,
)
from torchkeras._core.registry import Registry
from torchkeras.losses.shapes import as_target, match_shapes
from torchkeras.losses.traits import declare

losses = Registry("loss", "keras.losses")

Axis = int | tuple[int, ...] | list[int] | None


def _loss(*aliases: str, **traits: Any) -> Callable[[Any], Any]:
    """Enter a function among the losses, with what is known of it; see `Traits`."""

    def enter(function: Any) -> Any:
        return losses.register(*aliases)(declare(**traits)(function))

    return enter


# Regression

_NONE, _MEAN = 0, 1  # the numbers of the reductions, in ATen


def _by_kernel(
    loss: str,
    kernel: Any,
    y_true: Any,
    y_pred: Any,
    reduction: int = _NONE,
    **kwargs: Any,
) -> Tensor:
    """Compute a loss for which torch has a kernel of its own.

    Shapes are checked here: `F.mse_loss` and its kin spend as long on broadcasting
    equal shapes as the kernel takes for a small batch.
    """
    y_true, y_pred = match_shapes(loss, y_true, y_pred)
    if y_true.shape != y_pred.shape:
        y_true, y_pred = torch.broadcast_tensors(y_true, y_pred)
    return kernel(y_pred, y_true, reduction, **kwargs)


_squared_error = functools.partial(
    _by_kernel, "mean_squared_error", torch.ops.aten.mse_loss.default
)
_absolute_error = functools.partial(
    _by_kernel, "mean_absolute_error", torch.ops.aten.l1_loss.default
)
_huber_error = functools.partial(_by_kernel, "huber", torch.ops.aten.huber_loss.default)


@_loss(
    "mse",
    "MSE",
    elementwise=True,
    mean=functools.partial(_squared_error, reduction=_MEAN),
)
def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((y_true - y_pred)**2)`` over the last axis.

    Example:
        >>> mean_squared_error([[0.0, 1.0]], [[1.0, 3.0]])
        tensor([2.5000])
    """
    return _squared_error(y_true, y_pred).mean(-1)


@_loss(
    "mae",
    "MAE",
    elementwise=True,
    mean=functools.partial(_absolute_error, reduction=_MEAN),
)
def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(abs(y_true - y_pred))`` over the last axis.

    Example:
        >>> mean_absolute_error([[0.0, 1.0]], [[1.0, 3.0]])
        tensor([1.5000])
    """
    return _absolute_error(y_true, y_pred).mean(-1)


@_loss("mape", "MAPE", elementwise=True)
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """``100 * mean(abs((y_true - y_pred) / y_true))`` over the last axis.

    Example:
        >>> mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 4.0]])
        tensor([25.])
    """
    y_true, y_pred = match_shapes("mean_absolute_percentage_error", y_true, y_pred)
    scale = y_true.abs().clamp(min=config.epsilon())
    return 100.0 * ((y_true - y_pred) / scale).abs().mean(-1)


@_loss("msle", "MSLE", elementwise=True)
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((log(y_true + 1) - log(y_pred + 1))**2)`` over the last axis.

    Example:
        >>> mean_squared_logarithmic_error([[0.0, 1.0]], [[0.0, 3.0]])
        tensor([0.2402])
    """
    y_true, y_pred = match_shapes("mean_squared_logarithmic_error", y_true, y_pred)
    low = config.epsilon()
    difference = torch.log1p(y_pred.clamp(min=low)) - torch.log1p(y_true.clamp(min=low))
    return difference.square().mean(-1)


@_loss(elementwise=True, mean=functools.partial(_huber_error, reduction=_MEAN))
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Half the squared error up to `delta`, linear from there, as a mean over the axis.

    Example:
        >>> huber([[0.0, 0.0]], [[1.0, 3.0]])
        tensor([1.5000])
    """
    return _huber_error(y_true, y_pred, delta=delta).mean(-1)


@_loss("logcosh", elementwise=True)
def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(log(cosh(y_pred - y_true)))`` over the last axis.

    Example:
        >>> log_cosh([[0.0, 0.0]], [[1.0, 0.0]])
        tensor([0.2169])
    """
    y_true, y_pred = match_shapes("log_cosh", y_true, y_pred)
    error = y_pred - y_true
    return (error + F.softplus(-2.0 * error) - math.log(2.0)).mean(-1)


def normalized(x: Tensor, axis: int) -> Tensor:
    """Scale to unit length along an axis; zeros stay zeros.

    Example:
        >>> normalized(torch.tensor([3.0, 4.0]), -1)
        tensor([0.6000, 0.8000])
    """
    return x * torch.rsqrt(x.square().sum(axis, keepdim=True).clamp(min=1e-12))


@_loss()
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Minus the cosine of the angle between targets and outputs: -1 where they agree.

    Example:
        >>> cosine_similarity([[1.0, 0.0]], [[2.0, 0.0]])
        tensor([-1.])
    """
    y_true, y_pred = match_shapes("cosine_similarity", y_true, y_pred)
    return -(normalized(y_true, axis) * normalized(y_pred, axis)).sum(axis)


# Margins


def _signed(y_true: Tensor) -> Tensor:
    """Turn labels 0 and 1 into -1 and 1, where all are 0 or 1."""
    binary = ((y_true == 0) | (y_true == 1)).all()
    return torch.where(binary, 2.0 * y_true - 1.0, y_true)


@_loss(elementwise=True)
def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(1 - y_true * y_pred, 0))`` over the last axis.

    Targets are -1 and 1; 0 and 1 are turned into them.

    Example:
        >>> hinge([[0.0, 1.0]], [[0.5, 2.0]])
        tensor([0.7500])
    """
    y_true, y_pred = match_shapes("hinge", y_true, y_pred)
    return (1.0 - _signed(y_true) * y_pred).clamp(min=0.0).mean(-1)


@_loss(elementwise=True)
def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(1 - y_true * y_pred, 0)**2)`` over the last axis.

    Targets are -1 and 1; 0 and 1 are turned into them.

    Example:
        >>> squared_hinge([[0.0, 1.0]], [[0.5, 2.0]])
        tensor([1.1250])
    """
    y_true, y_pred = match_shapes("squared_hinge", y_true, y_pred)
    return (1.0 - _signed(y_true) * y_pred).clamp(min=0.0).square().mean(-1)


@_loss(per_sample=True)
def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``max(wrong - right + 1, 0)``, `wrong` being the best score of a wrong class.

    Example:
        >>> categorical_hinge([[0.0, 1.0]], [[0.5, 0.25]])
        tensor([1.2500])
    """
    y_true, y_pred = match_shapes("categorical_hinge", y_true, y_pred)
    right = (y_true * y_pred).sum(-1)
    wrong = ((1.0 - y_true) * y_pred).amax(-1)
    return (wrong - right + 1.0).clamp(min=0.0)


# Probabilities


@_loss("kld", "KLD", "kullback_leibler_divergence", per_sample=True)
def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis.

    Example:
        >>> kl_divergence([[0.5, 0.5]], [[0.25, 0.75]])
        tensor([0.1438])
    """
    y_true, y_pred = match_shapes("kl_divergence", y_true, y_pred)
    low = config.epsilon()
    y_true, y_pred = y_true.clamp(low, 1.0), y_pred.clamp(low, 1.0)
    return (y_true * torch.log(y_true / y_pred)).sum(-1)


@_loss(elementwise=True)
def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(y_pred - y_true * log(y_pred))`` over the last axis.

    Example:
        >>> poisson([[1.0, 2.0]], [[1.0, 1.0]])
        tensor([1.0000])
    """
    y_true, y_pred = match_shapes("poisson", y_true, y_pred)
    return (y_pred - y_true * torch.log(y_pred + config.epsilon())).mean(-1)


def _logits(y_pred: Any, from_logits: bool, link: str) -> Tensor | None:
    """Return the logits, where outputs are logits or remember those of this `link`."""
    if from_logits:
        return y_pred
    logits = logits_of(y_pred, link)
    if logits is None or logits.dtype == y_pred.dtype:
        return logits
    return logits.to(y_pred.dtype)


def _binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    reduction: str = "none",
) -> Tensor:
    y_true, y_pred = match_shapes("binary_crossentropy", y_true, y_pred, False)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    logits = _logits(y_pred, from_logits, "sigmoid")
    if logits is not None:
        return F.binary_cross_entropy_with_logits(logits, y_true, reduction=reduction)
    values = log_loss(y_true, y_pred)
    return values.mean() if reduction == "mean" else values


@_loss(
    "bce",
    "BCE",
    elementwise=True,
    link="sigmoid",
    mean=functools.partial(_binary_crossentropy, reduction="mean"),
)
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """The crossentropy of labels 0 and 1 and probabilities, as a mean over `axis`.

    Args:
        y_true: the labels.
        y_pred: the probabilities, or logits.
        from_logits: whether `y_pred` are logits.
        label_smoothing: how far labels are drawn towards 0.5, from 0 to 1.
        axis: the axis of the mean.

    Example:
        >>> binary_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
        tensor([0.6931])
    """
    values = _binary_crossentropy(y_true, y_pred, from_logits, label_smoothing)
    return values.mean(axis)


@_loss(elementwise=True, link="sigmoid")
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary crossentropy in which what is easy counts less (Lin et al., 2018).

    Args:
        y_true: the labels.
        y_pred: the probabilities, or logits.
        apply_class_balancing: whether `alpha` weighs the classes.
        alpha: the weight of label 1; label 0 weighs ``1 - alpha``.
        gamma: the exponent of ``1 - p``, `p` being the probability of the label.
        from_logits: whether `y_pred` are logits.
        label_smoothing: how far labels are drawn towards 0.5, from 0 to 1.
        axis: the axis of the mean.

    Example:
        >>> binary_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
        tensor([0.1733])
    """
    y_true, y_pred = match_shapes("binary_focal_crossentropy", y_true, y_pred, False)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    p = torch.sigmoid(y_pred) if from_logits else y_pred
    probability = y_true * p + (1.0 - y_true) * (1.0 - p)
    values = (1.0 - probability).pow(gamma) * log_loss(y_true, p)
    if apply_class_balancing:
        values = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * values
    return values.mean(axis)


def _class_first(scores: Tensor, axis: int) -> Tensor:
    """Move the classes to where torch wants them: axis 1, or 0 of a vector."""
    if scores.ndim < 2 or axis in (1, 1 - scores.ndim):
        return scores
    return scores.movedim(axis, 1)


def _distributions(
    loss: str, y_true: Any, y_pred: Any, axis: int, broadcasts: bool = False
) -> tuple[Tensor, Tensor]:
    """Return targets and outputs as class scores along `axis`."""
    if isinstance(axis, bool):
        raise TypeError(invalid_argument(loss, "axis", "an integer", axis))
    y_pred = as_floating(as_tensor(y_pred))
    y_true = as_target(y_true, y_pred)
    classes = y_pred.shape[axis]
    if classes == 1:
        warnings.warn(
            f"{loss}: y_pred has one class, for which the loss is always the same. Use "
            "`binary_crossentropy` for two classes.",
            SyntaxWarning,
            stacklevel=4,
        )
    elif (not broadcasts and y_true.shape != y_pred.shape) and (
        y_true.ndim < y_pred.ndim or y_true.shape[axis] == 1
    ):
        raise ValueError(
            f"{loss}: targets must be distributions over {classes} classes, got y_true "
            f"of shape {tuple(y_true.shape)} for y_pred of shape "
            f"{tuple(y_pred.shape)}. Use `sparse_categorical_crossentropy` for integer "
            "labels, or turn them into one-hot rows by `utils.to_categorical`."
        )
    return match_shapes(loss, y_true, y_pred, broadcasts)


def _categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    reduction: str = "none",
) -> Tensor:
    y_true, y_pred = _distributions("categorical_crossentropy", y_true, y_pred, axis)
    link = "softmax" if axis in (-1, y_pred.ndim - 1) else ""
    logits = _logits(y_pred, from_logits, link)
    if logits is not None:
        return F.cross_entropy(
            _class_first(logits, axis),
            _class_first(y_true, axis),
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
    if label_smoothing:
        classes = y_true.shape[axis]
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / classes
    p = normalized_probabilities(y_pred, axis)
    values = -(y_true * torch.log(p)).sum(axis)
    return values.mean() if reduction == "mean" else values


@_loss(
    per_sample=True,
    link="softmax",
    mean=functools.partial(_categorical_crossentropy, reduction="mean"),
)
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """The crossentropy of one-hot targets and probabilities.

    Args:
        y_true: a distribution over the classes for each sample.
        y_pred: the probabilities, or logits.
        from_logits: whether `y_pred` are logits.
        label_smoothing: how far targets are drawn to the uniform one, from 0 to 1.
        axis: the axis of the classes.

    Raises:
        ValueError: for integer labels, which the sparse loss takes.

    Example:
        >>> categorical_crossentropy([[0.0, 1.0]], [[0.25, 0.75]])
        tensor([0.2877])
    """
    return _categorical_crossentropy(y_true, y_pred, from_logits, label_smoothing, axis)


@_loss(link="softmax")
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Categorical crossentropy in which what is easy counts less (Lin et al., 2018).

    Args:
        y_true: a distribution over the classes for each sample.
        y_pred: the probabilities, or logits.
        alpha: a factor, or one for each class.
        gamma: the exponent of ``1 - p``.
        from_logits: whether `y_pred` are logits.
        label_smoothing: how far targets are drawn to the uniform one, from 0 to 1.
        axis: the axis of the classes.

    Raises:
        ValueError: for integer labels.

    Example:
        >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
        tensor([0.0433])
    """
    loss = "categorical_focal_crossentropy"
    y_true, y_pred = _distributions(loss, y_true, y_pred, axis, broadcasts=True)
    if label_smoothing:
        classes = y_true.shape[axis]
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / classes
    p = torch.softmax(y_pred, axis) if from_logits else y_pred
    p = normalized_probabilities(p, axis)
    factor = (
        alpha if isinstance(alpha, (int, float)) else as_target(alpha, p).to(p.dtype)
    )
    return (factor * (1.0 - p).pow(gamma) * -y_true * torch.log(p)).sum(axis)


def check_labels(
    loss_name: str,
    y_true: Any,
    num_classes: int,
    ignore_class: int | None = None,
    output: str = "",
    place: Callable[[int], str] = "row {} of the batch".format,
) -> None:
    """Refuse labels that are no classes; on an accelerator they would stop the process.

    Args:
        loss_name: the name of the loss, for the message.
        y_true: the labels, in host memory.
        num_classes: the number of classes.
        ignore_class: a label that stands for no class, if there is one.
        output: the name of the output, for the message.
        place: says where the row of a number is.

    Raises:
        ValueError: naming the first wrong label and its row.

    Example:
        >>> check_labels("loss", [0, 1, 2], num_classes=3)
    """
    labels = torch.as_tensor(y_true)
    position = first_outside(labels, num_classes, ignore_class, whole=True)
    if position is None:
        return
    row, value = position[0] if position else 0, labels[position].item()
    hint = (
        "Give the last layer more units, or mark what is no class by `ignore_class` "
        "(`ignore_index` in torch's losses)."
        if value % 1 == 0
        else "Use a loss for numbers, such as 'mse', or make them whole."
    )
    raise ValueError(
        f"{loss_name}: labels must be whole numbers from 0 to {num_classes - 1}, as "
        f"the output{f' {output!r}' if output else ''} has {num_classes} classes, got "
        f"{value:g} in {place(row)}{inner_position(labels, position)}. {hint}"
    )


def _labels(loss: str, y_true: Any, y_pred: Tensor, axis: int) -> Tensor:
    """Return labels of the shape of the outputs without their class axis."""
    labels = as_target(y_true, y_pred)
    if labels.ndim == y_pred.ndim + 1 and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    if labels.ndim == y_pred.ndim and labels.shape[axis] == 1:
        labels = labels.squeeze(axis)
    expected = list(y_pred.shape)
    del expected[axis]
    if list(labels.shape) != expected:
        raise ValueError(
            f"{loss}: y_true must hold one label per sample, of shape "
            f"{tuple(expected)}, got {describe(y_true)} for y_pred of shape "
            f"{tuple(y_pred.shape)}. Use `categorical_crossentropy` for one-hot rows."
        )
    return labels.long()


def _sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    reduction: str = "none",
) -> Tensor:
    loss = "sparse_categorical_crossentropy"
    y_pred = as_floating(as_tensor(y_pred))
    labels = _labels(loss, y_true, y_pred, axis)
    link = "softmax" if axis in (-1, y_pred.ndim - 1) else ""
    scores = _logits(y_pred, from_logits, link)
    kernel = F.cross_entropy
    if scores is None:
        kernel = F.nll_loss
        scores = torch.log(normalized_probabilities(y_pred, axis))
    ignored = NO_CLASS if ignore_class is None else ignore_class
    # The mean over no valid label is 0 here and NaN in torch.
    total = "sum" if ignore_class is not None and reduction == "mean" else reduction
    try:
        values: Any = kernel(
            _class_first(scores, axis), labels, ignore_index=ignored, reduction=total
        )
    except IndexError:
        check_labels(loss, labels, scores.shape[axis], ignore_class)
        raise
    if ignore_class is None:
        return values
    valid = labels != ignore_class
    if reduction == "mean":
        return values / valid.sum().clamp(min=1)
    values._keras_mask = valid
    return values


@_loss(
    per_sample=True,
    classes=True,
    link="softmax",
    mean=functools.partial(_sparse_categorical_crossentropy, reduction="mean"),
)
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """The crossentropy of integer labels and probabilities.

    Args:
        y_true: a label for each sample.
        y_pred: the probabilities, or logits.
        from_logits: whether `y_pred` are logits.
        ignore_class: a label whose samples do not count, such as -1.
        axis: the axis of the classes.

    Raises:
        ValueError: for labels of a wrong shape, or that are no classes.

    Example:
        >>> sparse_categorical_crossentropy([1], [[0.25, 0.75]])
        tensor([0.2877])
    """
    return _sparse_categorical_crossentropy(
        y_true, y_pred, from_logits, ignore_class, axis
    )


@_loss(classes=True)
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Tensor:
    """``(1 - p**q) / q``, `p` being the probability of the label.

    Robust to wrong labels (Zhang and Sabuncu, 2018): between crossentropy, as `q` goes
    to 0, and the mean absolute error, at 1.

    Example:
        >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5)
        tensor([1.])
    """
    loss = "categorical_generalized_cross_entropy"
    y_pred = as_floating(as_tensor(y_pred))
    labels = _labels(loss, y_true, y_pred, -1)
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        check_labels(loss, labels, y_pred.shape[-1])
    p = y_pred.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (1.0 - p.pow(q)) / q


# Sequences, overlap of regions, similarity


@_loss(classes=True)
def ctc(y_true: Any, y_pred: Any) -> Tensor:
    """The loss of connectionist temporal classification (Graves et al., 2006).

    Args:
        y_true: the labels, ``(batch, length)``; 0 is the blank and the padding.
        y_pred: the logits, ``(batch, time, classes)``.

    Raises:
        ValueError: for arrays of another rank.

    Example:
        >>> ctc(torch.tensor([[1]]), torch.zeros(1, 1, 2))
        tensor([0.6931])
    """
    y_pred = as_floating(as_tensor(y_pred))
    labels = as_target(y_true, y_pred).long()
    if labels.ndim != 2 or y_pred.ndim != 3:
        raise ValueError(
            "ctc: y_true must be labels of shape (batch, length) and y_pred logits of "
            f"shape (batch, time, classes), got {tuple(labels.shape)} and "
            f"{tuple(y_pred.shape)}."
        )
    batch, time = y_pred.shape[:2]
    return F.ctc_loss(
        torch.log_softmax(y_pred.transpose(0, 1), -1),
        labels,
        torch.full((batch,), time, device=labels.device),
        (labels != 0).sum(-1),
        reduction="none",
    )


def _total(x: Tensor, axis: Axis) -> Tensor:
    return x.sum() if axis is None else x.sum(axis)


@_loss()
def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> Tensor:
    """``1 - 2 * overlap / (area of y_true + area of y_pred)``.

    Args:
        y_true: the regions, 0 and 1.
        y_pred: their probabilities.
        axis: the axes that make up a sample; None for all.

    Example:
        >>> dice([[1.0, 0.0]], [[1.0, 1.0]])
        tensor(0.3333)
    """
    y_true, y_pred = match_shapes("dice", y_true, y_pred)
    areas = _total(y_true, axis) + _total(y_pred, axis)
    return 1.0 - 2.0 * _total(y_true * y_pred, axis) / (areas + config.epsilon())


@_loss()
def tversky(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axis = None,
) -> Tensor:
    """`dice` with a weight on either kind of error (Salehi et al., 2017).

    Args:
        y_true: the regions, 0 and 1.
        y_pred: their probabilities.
        alpha: the weight of what `y_true` has and `y_pred` lacks.
        beta: the weight of what `y_pred` has and `y_true` lacks.
        axis: the axes that make up a sample; None for all.

    Example:
        >>> tversky([[1.0, 0.0]], [[1.0, 1.0]], beta=1.0)
        tensor(0.5000)
    """
    y_true, y_pred = match_shapes("tversky", y_true, y_pred)
    overlap = _total(y_true * y_pred, axis)
    missed = _total((1.0 - y_pred) * y_true, axis)
    added = _total(y_pred * (1.0 - y_true), axis)
    whole = overlap + alpha * missed + beta * added + config.epsilon()
    return 1.0 - overlap / whole


@_loss(labels=True)
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Tensor:
    """The circle loss of unit vectors: near within a class, far between classes.

    Sun et al., 2020. Samples whose loss is 0 are masked, as in Keras.

    Args:
        y_true: a label for each sample.
        y_pred: the embeddings, ``(batch, size)``, of unit length.
        ref_labels: the labels to compare with; `y_true` by default.
        ref_embeddings: the embeddings to compare with; `y_pred` by default.
        remove_diagonal: whether a sample is not compared with itself.
        gamma: the scale.
        margin: the margin between the classes.

    Example:
        >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> circle(torch.tensor([0, 1, 0]), vectors)[0] < 1e-6
        tensor(True)
    """
    y_pred = as_floating(as_tensor(y_pred))
    labels = as_target(y_true, y_pred).reshape(-1, 1)
    others = labels if ref_labels is None else as_target(ref_labels, y_pred)
    embeddings = y_pred if ref_embeddings is None else as_target(ref_embeddings, y_pred)
    distances = (1.0 - y_pred @ embeddings.t()).clamp(min=0.0)
    same = labels == others.reshape(1, -1)
    different = ~same
    if remove_diagonal:
        same = same & ~torch.eye(*same.shape, dtype=torch.bool, device=same.device)
    near = -gamma * (margin + distances).clamp(min=0.0) * (margin - distances)
    far = gamma * (1.0 + margin - distances).clamp(min=0.0)
    far = far * (1.0 - margin - distances)
    never = float("-inf")
    values: Any = F.softplus(
        torch.where(same, near, never).logsumexp(1)
        + torch.where(different, far, never).logsumexp(1)
    )
    values._keras_mask = values > 0
    return values


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh
