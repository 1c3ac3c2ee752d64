"""Each metric against Keras's, over several batches, with weights and masks."""

import dataclasses
import inspect
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import metrics

RNG = np.random.default_rng(11)
SIZES = (7, 4, 5)
N, K = sum(SIZES), 4


def floats(*shape):
    return RNG.uniform(0.0, 1.0, shape).astype("float32")


def bits(*shape):
    return RNG.integers(0, 2, shape).astype("float32")


def onehot(*shape, classes=K):
    return np.eye(classes, dtype="float32")[RNG.integers(0, classes, shape)]


REGRESSION = (floats(N, 3) * 4 - 2, floats(N, 3) * 4 - 2)
POSITIVE = (floats(N, 3), floats(N, 3))
BINARY = (bits(N, 1), floats(N, 1))
MANY = (bits(N, 3), floats(N, 3))
VECTOR = (bits(N), floats(N))
COLUMN = (bits(N), floats(N, 1))
CLASSES = (onehot(N), floats(N, K))
LABELS = (RNG.integers(0, K, N), floats(N, K))
SERIES = (RNG.integers(0, K, (N, 2)), floats(N, 2, K))
IDS = (RNG.integers(0, K, N), RNG.permuted(np.tile(np.arange(K), (N, 1)), axis=1))
REGIONS = (RNG.integers(0, 3, (N, 6)), RNG.integers(0, 3, (N, 6)))
COARSE = (bits(N, 1), np.round(floats(N, 1) * 4) / 4)


@dataclasses.dataclass
class Case:
    cls: str
    data: tuple[Any, ...]
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: The shapes of weights, less the batch axis.
    weights: tuple[tuple[int, ...], ...] = ((),)

    def __str__(self):
        arguments = ",".join(f"{k}={v}" for k, v in self.kwargs.items())
        return f"{self.cls}({arguments})-{np.shape(self.data[1])}"


BOTH = ((), (1,))
EVEN = {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}
LOGITS = {"from_logits": True}
REGRESSIONS = [
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "LogCoshError",
    "RootMeanSquaredError",
]
CASES = [
    *(Case(cls, REGRESSION) for cls in REGRESSIONS),
    *(Case(cls, COLUMN, weights=BOTH) for cls in REGRESSIONS),
    Case("RootMeanSquaredError", VECTOR),
    Case("MeanSquaredError", SERIES[1:] * 2, weights=((), (2,))),
    Case("MeanSquaredLogarithmicError", POSITIVE),
    Case("CosineSimilarity", REGRESSION),
    Case("CosineSimilarity", REGRESSION, {"axis": 1}),
    Case("PearsonCorrelation", REGRESSION),
    Case("ConcordanceCorrelation", REGRESSION),
    Case("R2Score", REGRESSION, weights=BOTH),
    Case("R2Score", COLUMN, weights=BOTH),
    Case("R2Score", REGRESSION, {"class_aggregation": None}),
    Case("R2Score", REGRESSION, {"class_aggregation": "variance_weighted_average"}),
    Case("R2Score", REGRESSION, {"num_regressors": 4}),
    Case("Accuracy", (RNG.integers(0, 2, N), RNG.integers(0, 2, N))),
    Case("BinaryAccuracy", BINARY, weights=BOTH),
    Case("BinaryAccuracy", COLUMN, weights=BOTH),
    Case("BinaryAccuracy", VECTOR),
    Case("BinaryAccuracy", MANY, {"threshold": 0.3}),
    Case("CategoricalAccuracy", CLASSES),
    Case("CategoricalAccuracy", (onehot(N, 2), SERIES[1]), weights=((), (2,))),
    Case("SparseCategoricalAccuracy", LABELS),
    Case("SparseCategoricalAccuracy", (LABELS[0][:, None], LABELS[1]), weights=BOTH),
    Case("SparseCategoricalAccuracy", SERIES, weights=((), (2,))),
    Case("TopKCategoricalAccuracy", CLASSES, {"k": 2}),
    Case("TopKCategoricalAccuracy", (onehot(N, 2), SERIES[1]), {"k": 2}),
    Case("SparseTopKCategoricalAccuracy", LABELS, {"k": 2}),
    Case("SparseTopKCategoricalAccuracy", SERIES, {"k": 3}),
    Case("SparseTopKCategoricalAccuracy", IDS, {"k": 2, "from_sorted_ids": True}),
    Case("BinaryCrossentropy", MANY),
    Case("BinaryCrossentropy", MANY, {"label_smoothing": 0.2}),
    Case("BinaryCrossentropy", (MANY[0], REGRESSION[0]), LOGITS),
    Case("CategoricalCrossentropy", CLASSES),
    Case("CategoricalCrossentropy", CLASSES, {"label_smoothing": 0.2, **LOGITS}),
    Case("SparseCategoricalCrossentropy", LABELS),
    Case("SparseCategoricalCrossentropy", SERIES, LOGITS, ((), (2,))),
    Case("SparseCategoricalCrossentropy", LABELS, {"ignore_class": 1}),
    Case("KLDivergence", POSITIVE),
    Case("Poisson", POSITIVE),
    Case("Hinge", (MANY[0], REGRESSION[1])),
    Case("SquaredHinge", (MANY[0], REGRESSION[1])),
    Case("CategoricalHinge", CLASSES),
    *(
        Case(cls, data, kwargs, weights)
        for cls in (
            "TruePositives",
            "FalsePositives",
            "TrueNegatives",
            "FalseNegatives",
        )
        for data, kwargs, weights in [
            (BINARY, {}, BOTH),
            (MANY, {"thresholds": [0.1, 0.6]}, ((), (3,))),
            (COARSE, EVEN, BOTH),
        ]
    ),
    *(
        Case(cls, data, kwargs, weights)
        for cls in ("Precision", "Recall")
        for data, kwargs, weights in [
            (BINARY, {}, BOTH),
            (COLUMN, {}, ((),)),
            (VECTOR, {}, ((),)),
            (MANY, {"thresholds": [0.1, 0.6]}, ((), (3,))),
            (COARSE, EVEN, BOTH),
            (CLASSES, {"top_k": 2}, ((),)),
            (CLASSES, {"class_id": 1}, ((),)),
            (CLASSES, {"class_id": 0, "top_k": 3}, ((),)),
        ]
    ),
    *(
        Case(cls, data, {argument: 0.6, **kwargs})
        for cls, argument in [
            ("SensitivityAtSpecificity", "specificity"),
            ("SpecificityAtSensitivity", "sensitivity"),
            ("PrecisionAtRecall", "recall"),
            ("RecallAtPrecision", "precision"),
        ]
        for data, kwargs in [
            (BINARY, {}),
            (MANY, {"num_thresholds": 1}),
            (MANY, {"class_id": 2, "num_thresholds": 20}),
        ]
    ),
    *(
        Case("AUC", data, {"curve": curve, "summation_method": method})
        for data, curve, method in [
            (BINARY, "ROC", "interpolation"),
            (COLUMN, "ROC", "majoring"),
            (VECTOR, "ROC", "minoring"),
            (MANY, "PR", "interpolation"),
            (BINARY, "PR", "majoring"),
            (BINARY, "PRGAIN", "interpolation"),
            (COARSE, "ROC", "interpolation"),
        ]
    ),
    Case("AUC", COARSE, {"num_thresholds": 5}, BOTH),
    Case("AUC", BINARY, {"thresholds": [0.5, 0.2, 0.9]}, BOTH),
    Case("AUC", BINARY, {"thresholds": [0.25, 0.5, 0.75]}),
    Case("AUC", (MANY[0], REGRESSION[0]), LOGITS),
    Case("AUC", MANY, {"label_weights": [0.1, 0.6, 0.3]}),
    Case("AUC", MANY, {"multi_label": True}),
    Case("AUC", MANY, {"multi_label": True, "num_labels": 3, "curve": "PR"}),
    Case("AUC", MANY, {"multi_label": True, "label_weights": [0.1, 0.6, 0.3]}),
    Case("AUC", MANY, {"multi_label": True, "thresholds": [0.3, 0.9]}),
    Case("FBetaScore", MANY, {"beta": 2.0, "threshold": 0.4}),
    *(
        Case("F1Score", CLASSES, {"average": average})
        for average in (None, "micro", "macro", "weighted")
    ),
    Case("IoU", REGIONS, {"num_classes": 3, "target_class_ids": [0, 2]}, ((6,),)),
    Case(
        "IoU", REGIONS, {"num_classes": 3, "target_class_ids": [1], "ignore_class": 2}
    ),
    Case("BinaryIoU", VECTOR, {"threshold": 0.4}),
    Case("BinaryIoU", BINARY, {"target_class_ids": [1]}),
    Case("MeanIoU", REGIONS, {"num_classes": 4, "dtype": "float32"}, ((6,),)),
    Case("MeanIoU", SERIES, {"num_classes": K, "sparse_y_pred": False}),
    Case("OneHotIoU", CLASSES, {"num_classes": K, "target_class_ids": [0, 3]}),
    Case("OneHotMeanIoU", CLASSES, {"num_classes": K}),
]


def batches(case, weights):
    """Yield the data in batches of several sizes, with weights of a shape or None."""
    rng = np.random.default_rng(5)
    y_true, y_pred = (np.asarray(value) for value in case.data)
    start = 0
    for size in SIZES:
        weight = None
        if weights is not None:
            weight = rng.integers(1, 4, (size, *weights))
            integers = "IoU" in case.cls
            weight = torch.tensor(weight.astype("int32" if integers else "float32"))
        rows = slice(start, start + size)
        yield torch.tensor(y_true[rows]), torch.tensor(y_pred[rows]), weight
        start += size


def run(module, case, weights):
    metric = getattr(module, case.cls)(**case.kwargs)
    results = []
    for y_true, y_pred, weight in batches(case, weights):
        metric.update_state(y_true, y_pred, sample_weight=weight)
        results.append(np.asarray(metric.result()).copy())
    return metric, results


def weights_of(case):
    # Keras's IoU flattens weights: they are one for each place.
    return (
        [None] if "IoU" in case.cls and case.weights == ((),) else [None, *case.weights]
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_results_are_those_of_keras(case):
    for weights in weights_of(case):
        mine, results = run(metrics, case, weights)
        theirs, expected = run(keras.metrics, case, weights)
        for value, reference in zip(results, expected, strict=True):
            assert value.shape == reference.shape
            np.testing.assert_allclose(value, reference, rtol=1e-5, atol=1e-6)
        assert len(mine.variables) == len(theirs.variables)
        first = results[0]
        mine.reset_state()
        assert all((v.numpy() == 0).all() for v in mine.variables)
        y_true, y_pred, weight = next(batches(case, weights))
        np.testing.assert_array_equal(mine(y_true, y_pred, sample_weight=weight), first)


@pytest.mark.parametrize("weights", [None, (), (2,)])
@pytest.mark.parametrize("cls", ["MeanSquaredError", "BinaryAccuracy", "Poisson"])
def test_masks_count_as_in_keras(cls, weights):
    data = (floats(N, 2, 3), floats(N, 2, 3))
    results = []
    for module in (metrics, keras.metrics):
        rng = np.random.default_rng(4)
        metric = getattr(module, cls)()
        for y_true, y_pred, weight in batches(Case(cls, data), weights):
            if weight is not None and weight.ndim == 1:
                weight = weight[:, None].repeat(1, 2)
            mask = torch.tensor(rng.uniform(size=(len(y_true), 2)) > 0.3)
            y_pred._keras_mask = mask  # type: ignore[attr-defined]
            metric.update_state(y_true, y_pred, sample_weight=weight)
        results.append(float(metric.result()))
    assert results[0] == pytest.approx(results[1], rel=1e-5)


@pytest.mark.parametrize("cls", ["Mean", "Sum"])
@pytest.mark.parametrize("shape", [(), (5,), (5, 3), (5, 2, 3)])
def test_means_and_sums_are_those_of_keras(cls, shape):
    values = np.asarray(RNG.uniform(size=shape).astype("float32"))
    weight_shapes = [shape[:i] for i in range(1, len(shape) + 1)]
    mine, theirs = getattr(metrics, cls)(), getattr(keras.metrics, cls)()
    for weights in [None, *weight_shapes]:
        weight = None if weights is None else np.ones(weights, "float32") * 0.5
        mine.update_state(values, sample_weight=weight)
        theirs.update_state(values, sample_weight=weight)
        assert float(mine.result()) == pytest.approx(float(theirs.result()), rel=1e-5)


FUNCTIONS = [n for n in dir(keras.metrics) if n[0].islower()]
ACCESS = ["deserialize", "get", "serialize"]
DATA = {
    "binary_accuracy": MANY,
    "categorical": CLASSES,
    "sparse": (LABELS[0], floats(N, 9)),
    "top_k": (onehot(N, classes=9), floats(N, 9)),
}


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ACCESS])
def test_the_functions_are_those_of_keras(name):
    data = next((d for key, d in DATA.items() if name.startswith(key)), POSITIVE)
    y_true, y_pred = (torch.tensor(value) for value in data)
    value = getattr(metrics, name)(y_true, y_pred)
    expected = getattr(keras.metrics, name)(y_true, y_pred)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


def test_each_class_has_a_case():
    classes = {n for n in metrics.__all__ if inspect.isclass(getattr(metrics, n))}
    tested = {case.cls for case in CASES}
    assert classes == tested | {"Metric", "Mean", "Sum", "MeanMetricWrapper"}


@pytest.mark.parametrize("name", [n for n in dir(keras.metrics) if n[0] != "_"])
def test_names_and_signatures_are_those_of_keras(name):
    mine, theirs = getattr(metrics, name), getattr(keras.metrics, name)
    assert [
        (p.name, p.default) for p in inspect.signature(mine).parameters.values()
    ] == [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_configs_cross_over(case):
    mine = getattr(metrics, case.cls)(**case.kwargs)
    theirs = keras.metrics.deserialize(metrics.serialize(mine))
    assert type(theirs) is getattr(keras.metrics, case.cls)
    if "label_weights" in case.kwargs:
        return  # Keras writes a tensor of its backend
    back = metrics.deserialize(keras.metrics.serialize(theirs))
    config = theirs.get_config()
    assert {k: v for k, v in back.get_config().items() if k in config} == config


def test_no_metric_warns_without_a_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in CASES:
            run(metrics, case, None)
