"""True and false positives and negatives, and what is computed from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core import config, limits, torch_private
from torchkeras._core.errors import (
    invalid_argument,
    number_in,
    one_of,
    positive_integer,
)
from torchkeras._core.typing import DType
from torchkeras.losses.shapes import append_axes, as_target, divide_no_nan, match_shapes
from torchkeras.metrics.metric import Metric, metrics

#: Below every score, so that a class among the `top_k` is always predicted.
_LOWEST = -1e10

Thresholds = float | Sequence[float] | None


def _thresholds(owner: str, thresholds: Thresholds, default: float) -> list[float]:
    if thresholds is None:
        return [default]
    many = isinstance(thresholds, (list, tuple)) or hasattr(thresholds, "__iter__")
    values: Any = list(thresholds) if many else [thresholds]  # pyright: ignore
    return [number_in(owner, "thresholds", value, 0.0, 1.0) for value in values]


def _even_thresholds(count: int) -> list[float]:
    limits.spend_list("thresholds", count, 64)
    return [i / (count - 1) for i in range(count)]


def _is_even(thresholds: Sequence[float]) -> bool:
    if len(thresholds) < 3:
        return False
    near = config.epsilon()
    even = _even_thresholds(len(thresholds))
    return all(
        math.isclose(a, b, rel_tol=1e-5, abs_tol=near)
        for a, b in zip(thresholds, even, strict=True)
    )


def _weights(y_pred: Tensor, sample_weight: Any) -> Tensor:
    """Return a weight for each output."""
    weight = as_target(sample_weight, y_pred).to(y_pred.dtype)
    if weight.ndim == y_pred.ndim + 1 and weight.shape[-1] == 1:
        weight = weight.squeeze(-1)
    try:
        return append_axes(weight, y_pred.ndim).expand(y_pred.shape)
    except RuntimeError as error:
        raise ValueError(
            f"`sample_weight` of shape {tuple(weight.shape)} does not fit outputs of "
            f"shape {tuple(y_pred.shape)}. Give one weight per sample, or per output."
        ) from error


def _only_top_k(scores: Tensor, k: int) -> Tensor:
    top = scores.topk(k, -1)
    return torch.full_like(scores, _LOWEST).scatter(-1, top.indices, top.values)


@dataclasses.dataclass(frozen=True)
class Counts:
    """The weights of the positive and of the negative labels, above each threshold.

    Args:
        true_positives: of positive labels, what is above each threshold.
        false_positives: of negative labels, what is above each threshold.
        positives: the weight of all positive labels.
        negatives: the weight of all negative labels.
    """

    true_positives: Tensor
    false_positives: Tensor
    positives: Tensor
    negatives: Tensor

    @property
    def false_negatives(self) -> Tensor:
        """Of positive labels, what is below each threshold."""
        return self.positives - self.true_positives

    @property
    def true_negatives(self) -> Tensor:
        """Of negative labels, what is below each threshold."""
        return self.negatives - self.false_positives


class ConfusionMetric(Metric):
    """The base of metrics that count outputs above thresholds.

    The states of a subclass are named after the attributes of `Counts`.
    """

    batchable = True

    thresholds: Sequence[float]
    top_k: int | None = None
    class_id: int | None = None
    #: Whether columns are counted apart.
    multi_label = False

    true_positives: Tensor
    false_positives: Tensor
    true_negatives: Tensor
    false_negatives: Tensor

    def set_thresholds(self, thresholds: Sequence[float], even: bool) -> None:
        """Keep the thresholds; even ones are not compared with, but computed from."""
        self.thresholds = thresholds
        self._even = even
        self._table = torch.tensor(thresholds, dtype=self._state_dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        counts = self.count(y_true, self.as_input(y_pred), sample_weight)
        for state in torch_private.states_of(self):
            getattr(self, state).add_(getattr(counts, state))

    def count(
        self,
        y_true: Any,
        y_pred: Tensor,
        sample_weight: Any = None,
        label_weights: Tensor | None = None,
    ) -> Counts:
        """Count a batch."""
        y_true, y_pred = match_shapes(self.name, y_true, y_pred)
        weight = None if sample_weight is None else _weights(y_pred, sample_weight)
        if self.top_k is not None:
            y_pred = _only_top_k(y_pred, self.top_k)
        if self.class_id is not None:
            if y_pred.ndim == 1:
                raise ValueError(
                    f"{self.name}: outputs must be of shape (batch, classes) where "
                    f"`class_id` is given, got {tuple(y_pred.shape)}."
                )
            chosen = slice(self.class_id, self.class_id + 1)
            y_true, y_pred = y_true[..., chosen], y_pred[..., chosen]
            weight = None if weight is None else weight[..., chosen]
        if label_weights is not None:
            weight = label_weights if weight is None else weight * label_weights
        positive = (y_true != 0).to(y_pred.dtype)
        negative = 1.0 - positive
        if weight is not None:
            positive, negative = positive * weight, negative * weight
        # Labels of either kind, ``(2, samples, columns)``.
        columns = y_pred.shape[-1] if self.multi_label else 1
        labels = torch.stack((positive, negative)).reshape(2, -1, columns)
        # NaN is above no threshold, and would be no index of a bucket.
        scores = y_pred.reshape(-1, columns).nan_to_num(0.0)
        above = self._above_even if self._even else self._above_any
        found, total = above(labels, scores), labels.sum(1)
        if not self.multi_label:
            found, total = found.squeeze(-1), total.squeeze(-1)
        return Counts(found[0], found[1], total[0], total[1])

    def _above_any(self, labels: Tensor, scores: Tensor) -> Tensor:
        self._table = self._table.to(scores.device)
        above = scores > self._table.reshape(-1, 1, 1)
        # Not a matrix product, which autocast would compute in half precision.
        return torch.where(above, labels.unsqueeze(1), 0.0).sum(2)

    def _above_even(self, labels: Tensor, scores: Tensor) -> Tensor:
        """Sum into the buckets between thresholds, then from the last one down."""
        count = len(self.thresholds)
        bucket = torch.ceil(scores.clamp(0.0, 1.0) * (count - 1)).long()
        if self.thresholds[0] < 0.0:
            bucket = bucket.clamp(min=1)  # 0 is above a first threshold below it
        sums = labels.new_zeros(2, count + 1, labels.shape[-1])
        sums.scatter_add_(1, bucket.expand(labels.shape), labels)
        # Bucket `i` holds what is above threshold `i - 1` and not above `i`.
        return sums[:, 1:].flip(1).cumsum(1).flip(1)

    def first_if_single(self, values: Tensor) -> Tensor:
        """Return a scalar where there is one threshold."""
        return values[0] if len(self.thresholds) == 1 else values


class _Count(ConfusionMetric):
    """The base of the metrics that are a count."""

    accumulator: Tensor
    _counted = ""

    def __init__(
        self,
        thresholds: Thresholds = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        values = _thresholds(type(self).__name__, thresholds, 0.5)
        self.set_thresholds(values, _is_even(values))
        self.add_zeros("accumulator", shape=(len(values),))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        counts = self.count(y_true, self.as_input(y_pred), sample_weight)
        self.accumulator.add_(getattr(counts, self._counted))

    def result(self) -> Tensor:
        """Return the count, or one for each threshold."""
        return self.first_if_single(self.accumulator).clone()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds}


@metrics.register()
class TruePositives(_Count):
    """The number of positive labels that are predicted.

    Args:
        thresholds: outputs above are positive; a number or several, 0.5 by default.
        name: the name.
        dtype: the dtype of the state and the result.

    Example:
        >>> TruePositives()([0, 1, 1, 1], [1, 0, 1, 1])
        tensor(2.)
    """

    higher_is_better = True
    _counted = "true_positives"


@metrics.register()
class FalsePositives(_Count):
    """The number of negative labels that are predicted as positive.

    Args:
        thresholds: outputs above are positive; a number or several, 0.5 by default.
        name: the name.
        dtype: the dtype of the state and the result.

    Example:
        >>> FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1])
        tensor(2.)
    """

    higher_is_better = False
    _counted = "false_positives"


@metrics.register()
class TrueNegatives(_Count):
    """The number of negative labels that are predicted.

    Args:
        thresholds: outputs above are positive; a number or several, 0.5 by default.
        name: the name.
        dtype: the dtype of the state and the result.

    Example:
        >>> TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0])
        tensor(2.)
    """

    higher_is_better = True
    _counted = "true_negatives"


@metrics.register()
class FalseNegatives(_Count):
    """The number of positive labels that are predicted as negative.

    Args:
        thresholds: outputs above are positive; a number or several, 0.5 by default.
        name: the name.
        dtype: the dtype of the state and the result.

    Example:
        >>> FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0])
        tensor(2.)
    """

    higher_is_better = False
    _counted = "false_negatives"


class _Ratio(ConfusionMetric):
    """The base of precision and recall: true positives and another count."""

    higher_is_better = True
    _other = ""

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = type(self).__name__
        self.init_thresholds = thresholds
        self.top_k = None if top_k is None else positive_integer(owner, "top_k", top_k)
        self.class_id = class_id
        values = _thresholds(owner, thresholds, 0.5 if top_k is None else _LOWEST)
        self.set_thresholds(values, _is_even(values))
        self.add_zeros("true_positives", self._other, shape=(len(values),))

    def result(self) -> Tensor:
        """Return the ratio, or one for each threshold."""
        found = self.true_positives
        return self.first_if_single(
            divide_no_nan(found, found + getattr(self, self._other))
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "thresholds": self.init_thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


@metrics.register()
class Precision(_Ratio):
    """Of what is predicted positive, the share that is.

    Args:
        thresholds: outputs above are positive; a number or several, 0.5 by default.
        top_k: if given, only the `top_k` largest outputs of a sample are positive.
        class_id: the only column that counts, if given.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> Precision()([0, 1, 1, 1], [1, 0, 1, 1])
        tensor(0.6667)
    """

    _other = "false_positives"


@metrics.register()
class Recall(_Ratio):
    """Of what is positive, the share that is predicted.

    Args:
        thresholds: outputs above are positive; a number or several, 0.5 by default.
        top_k: if given, only the `top_k` largest outputs of a sample are positive.
        class_id: the only column that counts, if given.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> Recall()([0, 1, 1, 1], [1, 0, 1, 1])
        tensor(0.6667)
    """

    _other = "false_negatives"


class _BestUnderConstraint(ConfusionMetric):
    """The base of the best of one ratio where another is at least a value."""

    higher_is_better = True

    def __init__(
        self,
        value: float,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: DType,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = type(self).__name__
        self._argument = owner.lower().rpartition("at")[2]
        self.value = number_in(owner, self._argument, value, 0.0, 1.0)
        self.num_thresholds = positive_integer(owner, "num_thresholds", num_thresholds)
        self.class_id = class_id
        single = num_thresholds == 1
        values = [0.5] if single else _even_thresholds(num_thresholds)
        self.set_thresholds(values, even=not single)
        self.add_zeros(
            "true_positives",
            "false_positives",
            "true_negatives",
            "false_negatives",
            shape=(len(values),),
        )

    @property
    def _recalls(self) -> Tensor:
        found = self.true_positives
        return divide_no_nan(found, found + self.false_negatives)

    @property
    def _precisions(self) -> Tensor:
        found = self.true_positives
        return divide_no_nan(found, found + self.false_positives)

    @property
    def _specificities(self) -> Tensor:
        found = self.true_negatives
        return divide_no_nan(found, found + self.false_positives)

    def _best(self, wanted: Tensor, constrained: Tensor) -> Tensor:
        return torch.where(constrained >= self.value, wanted, 0.0).max()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            self._argument: self.value,
            "num_thresholds": self.num_thresholds,
            "class_id": self.class_id,
        }


@metrics.register()
class SensitivityAtSpecificity(_BestUnderConstraint):
    """The best sensitivity (recall) where the specificity is at least a value.

    Args:
        specificity: the value.
        num_thresholds: the number of even thresholds that are tried.
        class_id: the only column that counts, if given.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> metric = SensitivityAtSpecificity(0.5)
        >>> metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        tensor(0.5000)
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)
        self.specificity = specificity

    def result(self) -> Tensor:
        """Return the sensitivity."""
        return self._best(self._recalls, self._specificities)


@metrics.register()
class SpecificityAtSensitivity(_BestUnderConstraint):
    """The best specificity where the sensitivity (recall) is at least a value.

    Args:
        sensitivity: the value.
        num_thresholds: the number of even thresholds that are tried.
        class_id: the only column that counts, if given.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> metric = SpecificityAtSensitivity(0.5)
        >>> metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        tensor(0.6667)
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = sensitivity

    def result(self) -> Tensor:
        """Return the specificity."""
        return self._best(self._specificities, self._recalls)


@metrics.register()
class PrecisionAtRecall(_BestUnderConstraint):
    """The best precision where the recall is at least a value.

    Args:
        recall: the value.
        num_thresholds: the number of even thresholds that are tried.
        class_id: the only column that counts, if given.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> metric = PrecisionAtRecall(0.5)
        >>> metric([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        tensor(0.5000)
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)
        self.recall = recall

    def result(self) -> Tensor:
        """Return the precision."""
        return self._best(self._precisions, self._recalls)


@metrics.register()
class RecallAtPrecision(_BestUnderConstraint):
    """The best recall where the precision is at least a value.

    Args:
        precision: the value.
        num_thresholds: the number of even thresholds that are tried.
        class_id: the only column that counts, if given.
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> metric = RecallAtPrecision(0.8)
        >>> metric([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        tensor(0.5000)
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
        self.precision = precision

    def result(self) -> Tensor:
        """Return the recall."""
        return self._best(self._recalls, self._precisions)


_CURVES = ("ROC", "PR", "PRGAIN")
_SUMMATIONS = ("interpolation", "majoring", "minoring")


@metrics.register()
class AUC(ConfusionMetric):
    """The area under a curve of true and false positives, approximated by thresholds.

    Args:
        num_thresholds: the number of thresholds, from below 0 to above 1.
        curve: ``"ROC"``, ``"PR"`` (precision over recall) or ``"PRGAIN"``.
        summation_method: how the area between thresholds is taken:
            ``"interpolation"``, ``"majoring"`` or ``"minoring"``.
        name: the name.
        dtype: the dtype of the states and the result.
        thresholds: thresholds in [0, 1] of your own, in place of even ones.
        multi_label: whether each column has an area, of which the mean is taken.
        num_labels: the number of columns, with `multi_label`; from the data by default.
        label_weights: the weights of the columns: of their areas with `multi_label`, of
            their outputs without.
        from_logits: whether outputs are logits.

    Raises:
        ValueError: for illegal arguments.

    Example:
        >>> AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        tensor(0.7500)
    """

    higher_is_better = True

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: DType = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.curve = one_of("AUC", "curve", str(curve).upper(), _CURVES)
        method = str(summation_method).lower()
        self.summation_method = one_of("AUC", "summation_method", method, _SUMMATIONS)
        if num_labels and not multi_label:
            expected = "None where `multi_label` is False"
            raise ValueError(
                invalid_argument("AUC", "num_labels", expected, num_labels)
            )
        if positive_integer("AUC", "num_thresholds", num_thresholds) < 2:
            raise ValueError(
                invalid_argument("AUC", "num_thresholds", "at least 2", num_thresholds)
            )
        self.init_thresholds = thresholds
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = label_weights
        self.from_logits = from_logits
        inner = _even_thresholds(num_thresholds)[1:-1]
        if thresholds is not None:
            inner = sorted(_thresholds("AUC", thresholds, 0.5))
        even = thresholds is None or _is_even([0.0, *inner, 1.0])
        self.num_thresholds = len(inner) + 2
        margin = config.epsilon()
        self.set_thresholds([-margin, *inner, 1.0 + margin], even)
        if num_labels or not multi_label:
            self._make_states(num_labels)

    def _make_states(self, num_labels: int | None) -> None:
        shape = (self.num_thresholds, *([num_labels] if num_labels else ()))
        self.add_zeros(
            "true_positives",
            "false_positives",
            "true_negatives",
            "false_negatives",
            shape=shape,
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        y_pred = self.as_input(y_pred)
        if self.multi_label and y_pred.ndim != 2:
            raise ValueError(
                f"{self.name}: outputs must be of shape (batch, labels) where "
                f"`multi_label` is True, got {tuple(y_pred.shape)}."
            )
        if not torch_private.states_of(self):
            self._make_states(y_pred.shape[-1])
        if self.from_logits:
            y_pred = torch.sigmoid(y_pred)
        weights = None if self.multi_label else self._label_weights(y_pred)
        counts = self.count(y_true, y_pred, sample_weight, weights)
        for state in torch_private.states_of(self):
            getattr(self, state).add_(getattr(counts, state))

    def _label_weights(self, like: Tensor) -> Tensor | None:
        if self.label_weights is None:
            return None
        return as_target(self.label_weights, like).to(like)

    def result(self) -> Tensor:
        """Return the area; 0 before the first update."""
        if not torch_private.states_of(self):
            return torch.zeros((), dtype=self._state_dtype, device=self.device)
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = self._interpolated_pr()
        else:
            x, y = self._points()
            left, right = y[:-1], y[1:]
            heights = {
                "interpolation": (left + right) / 2.0,
                "minoring": torch.minimum(left, right),
                "majoring": torch.maximum(left, right),
            }[self.summation_method]
            areas = (x[:-1] - x[1:]) * heights
        if not self.multi_label:
            return areas.sum()
        by_label = areas.sum(0)
        weights = self._label_weights(by_label)
        if weights is None:
            return by_label.mean()
        return divide_no_nan((by_label * weights).sum(), weights.sum())

    def _points(self) -> tuple[Tensor, Tensor]:
        """Return the curve at each threshold."""
        tp, fp = self.true_positives, self.false_positives
        tn, fn = self.true_negatives, self.false_negatives
        if self.curve == "ROC":
            return divide_no_nan(fp, fp + tn), divide_no_nan(tp, tp + fn)
        if self.curve == "PR":
            return divide_no_nan(tp, tp + fn), divide_no_nan(tp, tp + fp)
        # Flach and Kull, 2015: precision and recall against always saying yes.
        scale = divide_no_nan(tp + fn, tn + fp)
        recall = torch.where(tp == 0, 0.0, 1.0 - scale * divide_no_nan(fn, tp))
        precision = torch.where(tp == 0, 1.0, 1.0 - scale * divide_no_nan(fp, tp))
        return recall.clamp(min=0.0), precision

    def _interpolated_pr(self) -> Tensor:
        """Interpolate true positives, not precision, which is not linear in between.

        Davis and Goadrich, 2006.
        """
        tp, fn = self.true_positives, self.false_negatives
        predicted = tp + self.false_positives
        gained = tp[:-1] - tp[1:]
        slope = divide_no_nan(gained, (predicted[:-1] - predicted[1:]).clamp(min=0.0))
        intercept = tp[1:] - slope * predicted[1:]
        both = (predicted[:-1] > 0) & (predicted[1:] > 0)
        ratio = divide_no_nan(predicted[:-1], predicted[1:].clamp(min=0.0))
        ratio = torch.where(both, ratio, 1.0)
        area = slope * (gained + intercept * torch.log(ratio))
        return divide_no_nan(area, (tp[1:] + fn[1:]).clamp(min=0.0))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        arguments = {
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
        }
        if self.init_thresholds is not None:
            arguments["thresholds"] = list(self.thresholds[1:-1])
        return {**super().get_config(), **arguments}
