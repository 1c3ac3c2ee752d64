"""Distances of outputs from targets, and how well the two go together."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.errors import invalid_argument, one_of
from torchkeras._core.typing import DType
from torchkeras.losses.functions import cosine_similarity as minus_cosine
from torchkeras.losses.functions import (
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from torchkeras.losses.shapes import append_axes, as_target, match_shapes
from torchkeras.metrics.metric import Metric, metrics
from torchkeras.metrics.reduction import BuiltInMetric, Mean


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The cosine of the angle between targets and outputs: 1 where they agree.

    Example:
        >>> cosine_similarity([[1.0, 0.0]], [[2.0, 0.0]])
        tensor([1.])
    """
    return -minus_cosine(y_true, y_pred, axis)


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The linear correlation of targets and outputs along an axis.

    Example:
        >>> pearson_correlation([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]])
        tensor([1.0000])
    """
    y_true, y_pred = match_shapes("pearson_correlation", y_true, y_pred)
    return (_standardized(y_true, axis) * _standardized(y_pred, axis)).mean(axis)


def _standardized(x: Tensor, axis: int) -> Tensor:
    centered = x - x.mean(axis, keepdim=True)
    return centered / centered.std(axis, correction=0, keepdim=True)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """The correlation of targets and outputs, less the difference of scale and place.

    Lin, 1989, as in Keras, which centres the targets by the mean of the outputs.

    Example:
        >>> concordance_correlation([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])
        tensor([1.0000])
    """
    y_true, y_pred = match_shapes("concordance_correlation", y_true, y_pred)
    true_mean = y_true.mean(axis, keepdim=True)
    pred_mean = y_pred.mean(axis, keepdim=True)
    spread = y_true.var(axis, correction=0, keepdim=True)
    spread = spread + y_pred.var(axis, correction=0, keepdim=True)
    spread = spread + (true_mean - pred_mean).square() + config.epsilon()
    return (2.0 * (y_true - pred_mean) * (y_pred - pred_mean) / spread).mean(axis)


@metrics.register("mse", "MSE")
class MeanSquaredError(BuiltInMetric):
    """The mean of squared errors.

    See `mean_squared_error`.

    Example:
        >>> MeanSquaredError()([[0.0, 1.0]], [[1.0, 3.0]])
        tensor(2.5000)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "mean_squared_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_squared_error, name, dtype)


@metrics.register("mae", "MAE")
class MeanAbsoluteError(BuiltInMetric):
    """The mean of absolute errors.

    See `mean_absolute_error`.

    Example:
        >>> MeanAbsoluteError()([[0.0, 1.0]], [[1.0, 3.0]])
        tensor(1.5000)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "mean_absolute_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_absolute_error, name, dtype)


@metrics.register("mape", "MAPE")
class MeanAbsolutePercentageError(BuiltInMetric):
    """The mean of absolute errors in percent of the targets.

    See `mean_absolute_percentage_error`.

    Example:
        >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]])
        tensor(25.)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "mean_absolute_percentage_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_absolute_percentage_error, name, dtype)


@metrics.register("msle", "MSLE")
class MeanSquaredLogarithmicError(BuiltInMetric):
    """The mean of squared errors of logarithms.

    See `mean_squared_logarithmic_error`.

    Example:
        >>> MeanSquaredLogarithmicError()([[0.0, 1.0]], [[0.0, 3.0]])
        tensor(0.2402)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "mean_squared_logarithmic_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_squared_logarithmic_error, name, dtype)


@metrics.register()
class LogCoshError(BuiltInMetric):
    """The mean of the logarithm of the hyperbolic cosine of the error.

    See `log_cosh`.

    Example:
        >>> LogCoshError()([[0.0, 0.0]], [[1.0, 0.0]])
        tensor(0.2169)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "logcosh",
        dtype: DType = None,
    ) -> None:
        super().__init__(log_cosh, name, dtype)


@metrics.register()
class CosineSimilarity(BuiltInMetric):
    """The mean cosine of the angle between targets and outputs.

    See `cosine_similarity`.

    Example:
        >>> CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]])
        tensor(1.)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "cosine_similarity",
        dtype: DType = None,
        axis: int = -1,
    ) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)


@metrics.register()
class PearsonCorrelation(BuiltInMetric):
    """The mean linear correlation of targets and outputs.

    See `pearson_correlation`.

    Example:
        >>> PearsonCorrelation()([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]])
        tensor(1.0000)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "pearson_correlation",
        dtype: DType = None,
        axis: int = -1,
    ) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)


@metrics.register()
class ConcordanceCorrelation(BuiltInMetric):
    """The mean concordance of targets and outputs.

    See `concordance_correlation`.

    Example:
        >>> ConcordanceCorrelation()([[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]])
        tensor(1.0000)
    """

    higher_is_better = True

    def __init__(
        self,
        name: str | None = "concordance_correlation",
        dtype: DType = None,
        axis: int = -1,
    ) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)


@metrics.register()
class RootMeanSquaredError(Mean):
    """The square root of the mean of squared errors.

    Example:
        >>> RootMeanSquaredError()([[0.0, 0.0]], [[3.0, 3.0]])
        tensor(3.)
    """

    higher_is_better = False
    batchable = True

    def __init__(
        self, name: str | None = "root_mean_squared_error", dtype: DType = None
    ) -> None:
        super().__init__(name, dtype)

    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch."""
        y_true, y_pred = match_shapes(self.name, y_true, self.as_input(y_pred))
        super().update_state((y_pred - y_true).square(), sample_weight)

    def result(self) -> Tensor:
        """Return the root."""
        return super().result().sqrt()


_AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


@metrics.register()
class R2Score(Metric):
    """The coefficient of determination: 1 for perfect outputs, 0 for the mean's.

    Args:
        class_aggregation: ``"uniform_average"`` or ``"variance_weighted_average"`` of
            the columns of the targets, or None for a score for each.
        num_regressors: the number of predictors, for the adjusted score; 0 for none.
        name: the name.
        dtype: the dtype of the states and the result.

    Raises:
        ValueError: for illegal arguments, or targets of another rank than 2.

    Example:
        >>> R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]])
        tensor(0.5714)
    """

    higher_is_better = True
    batchable = True

    num_samples: Tensor
    sum: Tensor
    squared_sum: Tensor
    total_mse: Tensor
    count: Tensor

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: DType = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        one_of("R2Score", "class_aggregation", class_aggregation, _AGGREGATIONS)
        if num_regressors < 0:
            expected = "an integer, at least 0"
            raise ValueError(
                invalid_argument("R2Score", "num_regressors", expected, num_regressors)
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.add_zeros("num_samples")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of targets and outputs of shape ``(batch, columns)``."""
        y_pred = self.as_input(y_pred)
        y_pred = y_pred.unsqueeze(-1) if y_pred.ndim == 1 else y_pred
        y_true, y_pred = match_shapes(self.name, y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(
                f"{self.name}: targets and outputs must be of shape (batch, columns), "
                f"got {tuple(y_pred.shape)}. Reshape them."
            )
        if not hasattr(self, "sum"):
            names = ("squared_sum", "sum", "total_mse", "count")
            self.add_zeros(*names, shape=(y_pred.shape[-1],))
        weight = 1.0 if sample_weight is None else sample_weight
        weight = as_target(weight, y_pred).to(y_pred.dtype)
        weight = append_axes(weight, 2).expand(y_true.shape)
        weighted = y_true * weight
        self.sum.add_(weighted.sum(0))
        self.squared_sum.add_((y_true * weighted).sum(0))
        self.total_mse.add_(((y_true - y_pred).square() * weight).sum(0))
        self.count.add_(weight.sum(0))
        self.num_samples.add_(y_true.numel())

    def result(self) -> Tensor:
        """Return the score; 0 before the first update."""
        if not hasattr(self, "sum"):
            return self.num_samples.clone()
        total = self.squared_sum - self.sum * self.sum / self.count
        score = 1.0 - self.total_mse / total
        score = torch.where(score.isinf(), 0.0, score)
        if self.class_aggregation == "uniform_average":
            score = score.mean()
        elif self.class_aggregation is not None:
            score = (total * score).sum() / total.sum()
        return self._adjusted(score) if self.num_regressors else score

    def _adjusted(self, score: Tensor) -> Tensor:
        samples = self.num_samples.item()
        freedom = samples - self.num_regressors - 1
        if freedom <= 0:
            warnings.warn(
                f"{self.name}: {self.num_regressors} regressors are too many to adjust "
                f"the score of {samples:g} samples; it is left as it is.",
                stacklevel=3,
            )
            return score
        return 1.0 - (1.0 - score) * (samples - 1.0) / freedom

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }


for _function in (cosine_similarity, pearson_correlation, concordance_correlation):
    metrics.register()(_function)
