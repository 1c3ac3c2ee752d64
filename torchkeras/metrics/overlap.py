"""F scores, and intersections over unions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core import config, torch_private
from torchkeras._core.convert import as_tensor
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras._core.typing import DType
from torchkeras.losses.shapes import as_target
from torchkeras.metrics.metric import Metric, metrics

_AVERAGES = (None, "micro", "macro", "weighted")


def _positive_float(
    owner: str, argument: str, value: Any, high: float = float("inf")
) -> float:
    if isinstance(value, float) and 0.0 < value <= high:
        return value
    expected = "a float above 0" + (f", at most {high:g}" if high < 2 else "")
    raise ValueError(invalid_argument(owner, argument, expected, value))


@metrics.register()
class FBetaScore(Metric):
    """``(1 + beta**2) * precision * recall / (beta**2 * precision + recall)``.

    Args:
        average: how the scores of the classes become one: ``"macro"`` for their mean,
            ``"weighted"`` by the number of targets, ``"micro"`` for one score of all
            outputs, None for a score per class.
        beta: the weight of recall against precision.
        threshold: outputs above are positive; by default the largest of a sample is.
        name: the name.
        dtype: the dtype of the states and the result.

    Shape:
        Targets, one-hot or of several labels, and outputs are ``(batch, classes)``.

    Raises:
        ValueError: for illegal arguments or shapes.

    Example:
        >>> metric = FBetaScore(beta=2.0, threshold=0.5)
        >>> metric([[1, 0], [1, 1], [0, 1]], [[0.2, 0.6], [0.6, 0.8], [0.4, 0.9]])
        tensor([0.5556, 0.9091])
    """

    higher_is_better = True
    batchable = True

    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor
    intermediate_weights: Tensor

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: DType = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = type(self).__name__
        self.average = one_of(owner, "average", average, _AVERAGES)
        self.beta = _positive_float(owner, "beta", beta)
        if threshold is not None:
            threshold = _positive_float(owner, "threshold", threshold, high=1.0)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        y_true, y_pred = self.as_input(y_true), self.as_input(y_pred)
        if y_pred.ndim != 2 or y_true.shape != y_pred.shape:
            raise ValueError(
                f"{self.name}: targets and outputs must be of one shape, (batch, "
                f"classes), got {tuple(y_true.shape)} and {tuple(y_pred.shape)}. Turn "
                "labels into one-hot rows by `utils.to_categorical`."
            )
        if not torch_private.states_of(self):
            names = ("true_positives", "false_positives", "false_negatives")
            shape = () if self.average == "micro" else (y_pred.shape[-1],)
            self.add_zeros(*names, "intermediate_weights", shape=shape)
        if self.threshold is None:
            largest = y_pred.amax(-1, keepdim=True)
            positive = (y_pred >= largest) & (y_pred.abs() > 1e-9)
        else:
            positive = y_pred > self.threshold
        positive = positive.to(self._state_dtype)
        self._add("true_positives", positive * y_true, sample_weight)
        self._add("false_positives", positive * (1.0 - y_true), sample_weight)
        self._add("false_negatives", (1.0 - positive) * y_true, sample_weight)
        self._add("intermediate_weights", y_true, sample_weight)

    def _add(self, state: str, values: Tensor, sample_weight: Any) -> None:
        if sample_weight is not None:
            values = values * self.as_input(sample_weight).reshape(-1, 1)
        total = values.sum() if self.average == "micro" else values.sum(0)
        getattr(self, state).add_(total)

    def result(self) -> Tensor:
        """Return the score, or one per class; 0 before the first update."""
        if not torch_private.states_of(self):
            return torch.zeros((), dtype=self._state_dtype, device=self.device)
        low, found = config.epsilon(), self.true_positives
        precision = found / (found + self.false_positives + low)
        recall = found / (found + self.false_negatives + low)
        squared = self.beta**2
        score = precision * recall / (squared * precision + recall + low)
        score = score * (1.0 + squared)
        if self.average == "weighted":
            weights = self.intermediate_weights
            return (score * weights / (weights.sum() + low)).sum()
        return score if self.average is None else score.mean()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


@metrics.register()
class F1Score(FBetaScore):
    """The harmonic mean of precision and recall.

    Args:
        average: how the scores of the classes become one; see `FBetaScore`.
        threshold: outputs above are positive; by default the largest of a sample is.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> metric = F1Score(threshold=0.5)
        >>> metric([[1, 0], [1, 1], [0, 1]], [[0.2, 0.6], [0.6, 0.8], [0.4, 0.9]])
        tensor([0.6667, 0.8000])
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: DType = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        arguments = super().get_config()
        del arguments["beta"]
        return arguments


@metrics.register()
class IoU(Metric):
    """The intersection over the union of targets and outputs, as a mean over classes.

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes that count.
        name: the name.
        dtype: the dtype of the states; ``int32`` by default.
        ignore_class: a label whose places do not count.
        sparse_y_true: whether targets are labels, not one-hot.
        sparse_y_pred: whether outputs are labels, not scores.
        axis: the axis of the classes.

    Raises:
        ValueError: for a class that does not exist.

    Example:
        >>> metric = IoU(num_classes=2, target_class_ids=[0])
        >>> metric([0, 0, 1, 1], [0, 1, 0, 1])
        tensor(0.3333)
    """

    higher_is_better = True
    batchable = True

    total_cm: Tensor

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, dtype=dtype or "int")
        owner = type(self).__name__
        self.num_classes = positive_integer(owner, "num_classes", num_classes)
        self.add_zeros("total_cm", shape=(num_classes, num_classes))
        if not all(0 <= c < num_classes for c in target_class_ids):
            expected = f"classes from 0 to {num_classes - 1}"
            raise ValueError(
                invalid_argument(owner, "target_class_ids", expected, target_class_ids)
            )
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        y_pred = as_tensor(y_pred)
        y_true = as_target(y_true, y_pred)
        if not self.sparse_y_true:
            y_true = y_true.argmax(self.axis)
        if not self.sparse_y_pred:
            y_pred = y_pred.argmax(self.axis)
        y_true, y_pred = y_true.reshape(-1).long(), y_pred.reshape(-1).long()
        if y_true.shape != y_pred.shape:
            raise ValueError(
                f"{self.name}: targets and outputs must have one size, got "
                f"{len(y_true)} and {len(y_pred)}. One-hot targets want "
                "sparse_y_true=False, scores of classes sparse_y_pred=False."
            )
        weight = self._weight(sample_weight, y_true)
        valid = (y_true >= 0) & (y_true < self.num_classes)
        valid &= (y_pred >= 0) & (y_pred < self.num_classes)
        if self.ignore_class is not None:
            valid &= y_true != self.ignore_class
        index = torch.where(valid, y_true * self.num_classes + y_pred, 0)
        self.total_cm.view(-1).index_add_(0, index, torch.where(valid, weight, 0))

    def _weight(self, sample_weight: Any, like: Tensor) -> Tensor:
        dtype = self._state_dtype
        if sample_weight is None:
            return torch.ones((), dtype=dtype, device=like.device).expand(like.shape)
        weight = as_target(sample_weight, like)
        if weight.is_floating_point() and not dtype.is_floating_point:
            warnings.warn(
                f"{self.name}: float weights are cut to integers, as the states are of "
                f"dtype {self.dtype}. Give the metric dtype='float32'.",
                stacklevel=4,
            )
        return weight.to(dtype).reshape(-1).expand(like.shape)

    def result(self) -> Tensor:
        """Return the mean over the classes seen; 0 before the first update."""
        cm = self.total_cm.to(torch.float32)
        both = cm.diagonal()[self.target_class_ids]
        either = (cm.sum(0) + cm.sum(1))[self.target_class_ids] - both
        seen = either > 1e-9
        ratio = torch.where(seen, both / (either + config.epsilon()), 0.0)
        return ratio.sum() / (seen.sum() + config.epsilon())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        arguments = (
            "num_classes",
            "target_class_ids",
            "ignore_class",
            "sparse_y_true",
            "sparse_y_pred",
            "axis",
        )
        given = {name: getattr(self, name) for name in arguments}
        given = {k: v for k, v in given.items() if k not in self._fixed}
        return {**super().get_config(), **given}

    #: The attributes that a subclass does not take as arguments.
    _fixed: tuple[str, ...] = ()


@metrics.register()
class BinaryIoU(IoU):
    """The intersection over the union of two classes, told apart by a threshold.

    Args:
        target_class_ids: the classes that count: 0, 1 or both.
        threshold: outputs at least that large are of class 1.
        name: the name.
        dtype: the dtype of the states; ``int32`` by default.

    Example:
        >>> BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
        tensor(0.3333)
    """

    _fixed = ("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        positive = as_tensor(y_pred) >= self.threshold
        super().update_state(y_true, positive, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "threshold": self.threshold}


@metrics.register()
class MeanIoU(IoU):
    """The intersection over the union, as a mean over all classes.

    Args:
        num_classes: the number of classes.
        name: the name.
        dtype: the dtype of the states; ``int32`` by default.
        ignore_class: a label whose places do not count.
        sparse_y_true: whether targets are labels, not one-hot.
        sparse_y_pred: whether outputs are labels, not scores.
        axis: the axis of the classes.

    Example:
        >>> MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1])
        tensor(0.3333)
    """

    _fixed = ("target_class_ids",)

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            range(positive_integer(type(self).__name__, "num_classes", num_classes)),
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )


@metrics.register()
class OneHotIoU(IoU):
    """`IoU` for one-hot targets.

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes that count.
        name: the name.
        dtype: the dtype of the states; ``int32`` by default.
        ignore_class: a label whose places do not count.
        sparse_y_pred: whether outputs are labels, not scores.
        axis: the axis of the classes.

    Example:
        >>> metric = OneHotIoU(num_classes=2, target_class_ids=[0, 1])
        >>> metric([[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]])
        tensor(0.2500)
    """

    _fixed = ("sparse_y_true",)

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            target_class_ids,
            name,
            dtype,
            ignore_class,
            False,
            sparse_y_pred,
            axis,
        )


@metrics.register()
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot targets.

    Args:
        num_classes: the number of classes.
        name: the name.
        dtype: the dtype of the states; ``int32`` by default.
        ignore_class: a label whose places do not count.
        sparse_y_pred: whether outputs are labels, not scores.
        axis: the axis of the classes.

    Example:
        >>> OneHotMeanIoU(num_classes=2)([[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]])
        tensor(0.2500)
    """

    _fixed = ("target_class_ids", "sparse_y_true")

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis
        )
