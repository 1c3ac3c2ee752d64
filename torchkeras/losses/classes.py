"""The built-in loss functions as modules.

`reduction`, `name` and `dtype` are those of `Loss`, the other arguments those of the
function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchkeras._core.errors import invalid_argument, number_in
from torchkeras._core.typing import DType
from torchkeras.losses.functions import (
    Axis,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    categorical_hinge,
    circle,
    cosine_similarity,
    ctc,
    dice,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    losses,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
    tversky,
)
from torchkeras.losses.loss import Loss, LossFunctionWrapper


class _BuiltInLoss(LossFunctionWrapper):
    """A built-in function as a class: its arguments are attributes and config."""

    def __init__(
        self,
        fn: Callable[..., Tensor],
        reduction: str | None,
        name: str | None,
        dtype: DType,
        **kwargs: Any,
    ) -> None:
        super().__init__(fn, reduction, name, dtype, **kwargs)
        for argument, value in kwargs.items():
            setattr(self, argument, value)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**Loss.get_config(self), **self._fn_kwargs}


@losses.register()
class MeanSquaredError(_BuiltInLoss):
    """The mean of squared errors.

    See `mean_squared_error`.

    Example:
        >>> MeanSquaredError()([[0.0, 1.0]], [[1.0, 3.0]])
        tensor(2.5000)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


@losses.register()
class MeanAbsoluteError(_BuiltInLoss):
    """The mean of absolute errors.

    See `mean_absolute_error`.

    Example:
        >>> MeanAbsoluteError()([[0.0, 1.0]], [[1.0, 3.0]])
        tensor(1.5000)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


@losses.register()
class MeanAbsolutePercentageError(_BuiltInLoss):
    """The mean of absolute errors in percent of the targets.

    See `mean_absolute_percentage_error`.

    Example:
        >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[1.0, 4.0]])
        tensor(25.)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


@losses.register()
class MeanSquaredLogarithmicError(_BuiltInLoss):
    """The mean of squared errors of logarithms.

    See `mean_squared_logarithmic_error`.

    Example:
        >>> MeanSquaredLogarithmicError()([[0.0, 1.0]], [[0.0, 3.0]])
        tensor(0.2402)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


@losses.register()
class CosineSimilarity(_BuiltInLoss):
    """Minus the cosine of the angle between targets and outputs.

    See `cosine_similarity`.

    Example:
        >>> CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]])
        tensor(-1.)
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: DType = None,
    ) -> None:
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


@losses.register()
class Huber(_BuiltInLoss):
    """Squared error near the target, absolute error far from it.

    See `huber`.

    Example:
        >>> Huber()([[0.0, 0.0]], [[1.0, 3.0]])
        tensor(1.5000)
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: DType = None,
    ) -> None:
        super().__init__(huber, reduction, name, dtype, delta=delta)


@losses.register()
class LogCosh(_BuiltInLoss):
    """The logarithm of the hyperbolic cosine of the error.

    See `log_cosh`.

    Example:
        >>> LogCosh()([[0.0, 0.0]], [[1.0, 0.0]])
        tensor(0.2169)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "log_cosh",
        dtype: DType = None,
    ) -> None:
        super().__init__(log_cosh, reduction, name, dtype)


@losses.register()
class Hinge(_BuiltInLoss):
    """The hinge loss.

    See `hinge`.

    Example:
        >>> Hinge()([[0.0, 1.0]], [[0.5, 2.0]])
        tensor(0.7500)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge",
        dtype: DType = None,
    ) -> None:
        super().__init__(hinge, reduction, name, dtype)


@losses.register()
class SquaredHinge(_BuiltInLoss):
    """The square of the hinge loss.

    See `squared_hinge`.

    Example:
        >>> SquaredHinge()([[0.0, 1.0]], [[0.5, 2.0]])
        tensor(1.1250)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "squared_hinge",
        dtype: DType = None,
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


@losses.register()
class CategoricalHinge(_BuiltInLoss):
    """The hinge loss of the right class against the best wrong one.

    See `categorical_hinge`.

    Example:
        >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 0.25]])
        tensor(1.2500)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_hinge",
        dtype: DType = None,
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)


@losses.register()
class KLDivergence(_BuiltInLoss):
    """The Kullback-Leibler divergence.

    See `kl_divergence`.

    Example:
        >>> KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]])
        tensor(0.1438)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: DType = None,
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


@losses.register()
class Poisson(_BuiltInLoss):
    """The Poisson loss.

    See `poisson`.

    Example:
        >>> Poisson()([[1.0, 2.0]], [[1.0, 1.0]])
        tensor(1.0000)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poisson",
        dtype: DType = None,
    ) -> None:
        super().__init__(poisson, reduction, name, dtype)


@losses.register()
class BinaryCrossentropy(_BuiltInLoss):
    """The crossentropy of labels 0 and 1 and probabilities.

    See `binary_crossentropy`.

    Example:
        >>> BinaryCrossentropy(from_logits=True)([[0.0, 1.0]], [[0.0, 0.0]])
        tensor(0.6931)
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: DType = None,
    ) -> None:
        super().__init__(
            binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@losses.register()
class BinaryFocalCrossentropy(_BuiltInLoss):
    """Binary crossentropy in which what is easy counts less.

    See `binary_focal_crossentropy`.

    Example:
        >>> BinaryFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])
        tensor(0.1733)
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: DType = None,
    ) -> None:
        super().__init__(
            binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@losses.register()
class CategoricalCrossentropy(_BuiltInLoss):
    """The crossentropy of one-hot targets and probabilities.

    See `categorical_crossentropy`.

    Example:
        >>> CategoricalCrossentropy()([[0.0, 1.0]], [[0.25, 0.75]])
        tensor(0.2877)
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: DType = None,
    ) -> None:
        super().__init__(
            categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@losses.register()
class CategoricalFocalCrossentropy(_BuiltInLoss):
    """Categorical crossentropy in which what is easy counts less.

    See `categorical_focal_crossentropy`.

    Example:
        >>> CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])
        tensor(0.0433)
    """

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: DType = None,
    ) -> None:
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@losses.register()
class SparseCategoricalCrossentropy(_BuiltInLoss):
    """The crossentropy of integer labels and probabilities.

    See `sparse_categorical_crossentropy`.

    Example:
        >>> SparseCategoricalCrossentropy()([1], [[0.25, 0.75]])
        tensor(0.2877)
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DType = None,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


@losses.register()
class CategoricalGeneralizedCrossEntropy(_BuiltInLoss):
    """A crossentropy that is robust to wrong labels.

    See `categorical_generalized_cross_entropy`.

    Raises:
        ValueError: when `q` is not between 0 and 1.

    Example:
        >>> CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]])
        tensor(1.)
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: DType = None,
    ) -> None:
        number_in(type(self).__name__, "q", q, 0.0, 1.0)
        if q in (0, 1):
            raise ValueError(
                invalid_argument(type(self).__name__, "q", "between 0 and 1", q)
            )
        super().__init__(
            categorical_generalized_cross_entropy, reduction, name, dtype, q=q
        )


@losses.register()
class CTC(_BuiltInLoss):
    """The loss of connectionist temporal classification.

    See `ctc`.

    Example:
        >>> CTC()([[1]], [[[0.0, 0.0]]])
        tensor(0.6931)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        dtype: DType = None,
    ) -> None:
        super().__init__(ctc, reduction, name, dtype)


@losses.register()
class Dice(_BuiltInLoss):
    """What regions do not share.

    See `dice`.

    Example:
        >>> Dice()([[1.0, 0.0]], [[1.0, 1.0]])
        tensor(0.3333)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axis = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(dice, reduction, name, dtype, axis=axis)


@losses.register()
class Tversky(_BuiltInLoss):
    """What regions do not share, by kind of error.

    See `tversky`.

    Example:
        >>> Tversky(beta=1.0)([[1.0, 0.0]], [[1.0, 1.0]])
        tensor(0.5000)
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axis = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(
            tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis
        )


@losses.register()
class Circle(_BuiltInLoss):
    """The circle loss of unit vectors.

    See `circle`.

    Example:
        >>> vectors = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
        >>> Circle()([0, 1, 0], vectors) < 1e-6
        tensor(True)
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: DType = None,
    ) -> None:
        super().__init__(
            circle,
            reduction,
            name,
            dtype,
            gamma=gamma,
            margin=margin,
            remove_diagonal=remove_diagonal,
        )
