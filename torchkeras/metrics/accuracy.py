"""How often outputs agree with targets."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchkeras._core import config
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import number_in, positive_integer
from torchkeras._core.typing import DType
from torchkeras.losses.shapes import as_target, match_shapes
from torchkeras.losses.traits import declare
from torchkeras.metrics.metric import metrics
from torchkeras.metrics.reduction import BuiltInMetric


def _as_float(matches: Tensor) -> Tensor:
    return matches.to(to_torch_dtype(config.floatx()))


@declare(per_sample=True)
def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Say where outputs equal targets.

    Example:
        >>> accuracy([1, 2, 3], [1, 2, 0])
        tensor([1., 1., 0.])
    """
    y_true, y_pred = match_shapes("accuracy", y_true, y_pred)
    return _as_float(y_true == y_pred)


@declare(per_sample=True)
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """Say where outputs are on the side of the threshold that the labels 0 and 1 want.

    Example:
        >>> binary_accuracy([1.0, 0.0], [0.7, 0.6])
        tensor([1., 0.])
    """
    y_true, y_pred = match_shapes("binary_accuracy", y_true, y_pred)
    return _as_float(y_true == (y_pred > threshold))


def _check_samples(name: str, labels: Tensor, y_pred: Tensor) -> None:
    if labels.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"{name}: targets and outputs must have the same samples, got "
            f"{tuple(labels.shape)} of them in y_true and {tuple(y_pred.shape[:-1])} "
            "in y_pred. Targets are one-hot for the categorical metrics, and integer "
            "labels for the sparse ones."
        )


@declare(per_sample=True)
def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Say for which samples the largest output is at the class of a one-hot target.

    Example:
        >>> categorical_accuracy([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]])
        tensor([1., 0.])
    """
    y_pred = as_tensor(y_pred)
    labels = as_target(y_true, y_pred).argmax(-1)
    _check_samples("categorical_accuracy", labels, y_pred)
    return _as_float(labels == y_pred.argmax(-1))


def _sparse_labels(name: str, y_true: Any, y_pred: Tensor) -> Tensor:
    labels = as_target(y_true, y_pred)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    _check_samples(name, labels, y_pred)
    return labels


@declare(per_sample=True)
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Say for which samples the largest output is at the class that the label names.

    Example:
        >>> sparse_categorical_accuracy([1, 0], [[0.1, 0.9], [0.2, 0.8]])
        tensor([1., 0.])
    """
    y_pred = as_tensor(y_pred)
    labels = _sparse_labels("sparse_categorical_accuracy", y_true, y_pred)
    return _as_float(labels == y_pred.argmax(-1))


def _in_top_k(labels: Tensor, y_pred: Tensor, k: int) -> Tensor:
    classes = y_pred.shape[-1]
    least = y_pred.topk(min(k, classes), -1).values[..., -1]
    # A label that is no class is in no top: reading there would stop an accelerator.
    inside = labels.clamp(0, classes - 1)
    found = y_pred.gather(-1, inside.unsqueeze(-1)).squeeze(-1)
    return _as_float((found >= least) & (labels == inside))


@declare(per_sample=True)
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """Say for which samples the class of a one-hot target is among the `k` largest.

    Example:
        >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.5, 0.3, 0.2]], k=2)
        tensor([0.])
    """
    y_pred = as_tensor(y_pred)
    labels = as_target(y_true, y_pred).argmax(-1)
    _check_samples("top_k_categorical_accuracy", labels, y_pred)
    return _in_top_k(labels, y_pred, k)


@declare(per_sample=True)
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Tensor:
    """Say for which samples the class that the label names is among the `k` largest.

    Args:
        y_true: the labels.
        y_pred: the scores of the classes.
        k: how many classes count.
        from_sorted_ids: whether `y_pred` are class numbers, the best one first.

    Example:
        >>> sparse_top_k_categorical_accuracy([1], [[0.5, 0.3, 0.2]], k=2)
        tensor([1.])
    """
    y_pred = as_tensor(y_pred)
    labels = _sparse_labels("sparse_top_k_categorical_accuracy", y_true, y_pred)
    if from_sorted_ids:
        return _as_float((labels.unsqueeze(-1) == y_pred[..., :k]).any(-1))
    return _in_top_k(labels.long(), y_pred, k)


@metrics.register()
class Accuracy(BuiltInMetric):
    """How often outputs equal targets.

    See `accuracy`.

    Example:
        >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
        tensor(0.7500)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "accuracy",
        dtype: DType = None,
    ) -> None:
        super().__init__(accuracy, name, dtype)


@metrics.register()
class BinaryAccuracy(BuiltInMetric):
    """How often outputs are on the right side of a threshold.

    See `binary_accuracy`.

    Example:
        >>> BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
        tensor(0.7500)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "binary_accuracy",
        dtype: DType = None,
        threshold: float = 0.5,
    ) -> None:
        number_in(type(self).__name__, "threshold", threshold, 0.0, 1.0)
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


@metrics.register()
class CategoricalAccuracy(BuiltInMetric):
    """How often the largest output is at the class of a one-hot target.

    See `categorical_accuracy`.

    Example:
        >>> CategoricalAccuracy()([[0, 1], [1, 0]], [[0.1, 0.9], [0.2, 0.8]])
        tensor(0.5000)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "categorical_accuracy",
        dtype: DType = None,
    ) -> None:
        super().__init__(categorical_accuracy, name, dtype)


@metrics.register()
class SparseCategoricalAccuracy(BuiltInMetric):
    """How often the largest output is at the class that the label names.

    See `sparse_categorical_accuracy`.

    Example:
        >>> SparseCategoricalAccuracy()([1, 0], [[0.1, 0.9], [0.2, 0.8]])
        tensor(0.5000)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "sparse_categorical_accuracy",
        dtype: DType = None,
    ) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


@metrics.register()
class TopKCategoricalAccuracy(BuiltInMetric):
    """How often the class of a one-hot target is among the `k` largest outputs.

    See `top_k_categorical_accuracy`.

    Example:
        >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1]], [[0.5, 0.3, 0.2]])
        tensor(0.)
    """

    higher_is_better = True

    def __init__(
        self,
        k: int = 5,
        name: str | None = "top_k_categorical_accuracy",
        dtype: DType = None,
    ) -> None:
        positive_integer(type(self).__name__, "k", k)
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


@metrics.register()
class SparseTopKCategoricalAccuracy(BuiltInMetric):
    """How often the class that the label names is among the `k` largest outputs.

    See `sparse_top_k_categorical_accuracy`.

    Example:
        >>> SparseTopKCategoricalAccuracy(k=2)([1], [[0.5, 0.3, 0.2]])
        tensor(1.)
    """

    higher_is_better = True

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: DType = None,
        from_sorted_ids: bool = False,
    ) -> None:
        positive_integer(type(self).__name__, "k", k)
        super().__init__(
            sparse_top_k_categorical_accuracy,
            name,
            dtype,
            k=k,
            from_sorted_ids=from_sorted_ids,
        )


# The names of the functions stand for the classes; entered after them, they keep a name
# in configs.
for _function in (
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    top_k_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
):
    metrics.register()(_function)
