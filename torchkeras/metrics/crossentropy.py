"""The losses of classification as metrics."""

from __future__ import annotations

from torchkeras._core.typing import DType
from torchkeras.losses.functions import (
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    hinge,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from torchkeras.metrics.metric import metrics
from torchkeras.metrics.reduction import BuiltInMetric


@metrics.register("bce", "BCE")
class BinaryCrossentropy(BuiltInMetric):
    """The crossentropy of labels 0 and 1 and probabilities.

    See `binary_crossentropy`.

    Example:
        >>> BinaryCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]])
        tensor(0.6931)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(
            binary_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )


@metrics.register()
class CategoricalCrossentropy(BuiltInMetric):
    """The crossentropy of one-hot targets and probabilities.

    See `categorical_crossentropy`.

    Example:
        >>> CategoricalCrossentropy()([[0.0, 1.0]], [[0.25, 0.75]])
        tensor(0.2877)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        super().__init__(
            categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


@metrics.register()
class SparseCategoricalCrossentropy(BuiltInMetric):
    """The crossentropy of integer labels and probabilities.

    See `sparse_categorical_crossentropy`.

    Example:
        >>> SparseCategoricalCrossentropy()([1], [[0.25, 0.75]])
        tensor(0.2877)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


@metrics.register()
class KLDivergence(BuiltInMetric):
    """The Kullback-Leibler divergence.

    See `kl_divergence`.

    Example:
        >>> KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]])
        tensor(0.1438)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "kl_divergence",
        dtype: DType = None,
    ) -> None:
        super().__init__(kl_divergence, name, dtype)


@metrics.register()
class Poisson(BuiltInMetric):
    """The Poisson loss.

    See `poisson`.

    Example:
        >>> Poisson()([[1.0, 2.0]], [[1.0, 1.0]])
        tensor(1.0000)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "poisson",
        dtype: DType = None,
    ) -> None:
        super().__init__(poisson, name, dtype)


@metrics.register()
class Hinge(BuiltInMetric):
    """The hinge loss.

    See `hinge`.

    Example:
        >>> Hinge()([[0.0, 1.0]], [[0.5, 2.0]])
        tensor(0.7500)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "hinge",
        dtype: DType = None,
    ) -> None:
        super().__init__(hinge, name, dtype)


@metrics.register()
class SquaredHinge(BuiltInMetric):
    """The square of the hinge loss.

    See `squared_hinge`.

    Example:
        >>> SquaredHinge()([[0.0, 1.0]], [[0.5, 2.0]])
        tensor(1.1250)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "squared_hinge",
        dtype: DType = None,
    ) -> None:
        super().__init__(squared_hinge, name, dtype)


@metrics.register()
class CategoricalHinge(BuiltInMetric):
    """The hinge loss of the right class against the best wrong one.

    See `categorical_hinge`.

    Example:
        >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 0.25]])
        tensor(1.2500)
    """

    higher_is_better = False

    def __init__(
        self,
        name: str | None = "categorical_hinge",
        dtype: DType = None,
    ) -> None:
        super().__init__(categorical_hinge, name, dtype)
