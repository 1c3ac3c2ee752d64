"""What metrics do beyond Keras's numbers: torchmetrics' methods, states, refusals."""

import copy

import numpy as np
import pytest
import torch
import torchmetrics

from torchkeras import metrics

Y = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
P = torch.tensor([0.25, 0.75, 0.375, 0.625, 0.875])
SCORES = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
CLASSES = (torch.eye(3)[[0, 1, 2, 1, 0]], SCORES)
NEEDED = {
    "IoU": {"num_classes": 2, "target_class_ids": [0, 1]},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0]},
    "MeanIoU": {"num_classes": 2},
    "OneHotMeanIoU": {"num_classes": 3},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
}
CATEGORICAL = [
    "Categorical",
    "OneHot",
    "F1",
    "FBeta",
    "Correlation",
    "CosineS",
    "KLDiv",
]
NAMES = [
    name
    for name in metrics.__all__
    if name[0].isupper() and name not in ("Metric", "MeanMetricWrapper", "Mean", "Sum")
]


def make(name):
    return getattr(metrics, name)(**NEEDED.get(name, {}))


def data(name):
    if any(part in name for part in CATEGORICAL):
        y_true, y_pred = CLASSES
        return (y_true.argmax(-1) if "Sparse" in name else y_true), y_pred
    if name in ("IoU", "MeanIoU"):
        return Y.long(), (P > 0.5).long()
    return Y, P[:, None]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_torchmetrics_metric(name):
    y_true, y_pred = data(name)
    keras_way, torch_way = make(name), make(name)
    expected = keras_way(y_true, y_pred)
    torch_way.update(y_pred, y_true)
    assert isinstance(torch_way, torchmetrics.Metric)
    torch.testing.assert_close(torch_way.compute(), expected)
    torch_way.update(y_pred, y_true)  # the value before is not kept
    keras_way.update_state(y_true, y_pred)
    torch.testing.assert_close(torch_way.compute(), keras_way.result())
    torch_way.reset()
    torch_way.update(y_pred, y_true)
    torch.testing.assert_close(torch_way.compute(), expected)


@pytest.mark.parametrize("name", NAMES)
def test_untouched_metrics_are_zero(name):
    metric = make(name)
    assert torch.as_tensor(metric.result()).abs().sum() == 0
    assert torch.as_tensor(metric.compute()).abs().sum() == 0


@pytest.mark.parametrize("name", [n for n in NAMES if data(n)[1].shape[-1] == 1])
def test_a_vector_of_targets_is_a_column(name):
    y_true, y_pred = data(name)
    expected = make(name)(y_true[:, None], y_pred)
    torch.testing.assert_close(make(name)(y_true, y_pred), expected)
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 3.0])
    if "IoU" in name:
        weight = weight.int()
    weighted = make(name)(y_true[:, None], y_pred, sample_weight=weight)
    again = make(name)(y_true, y_pred, sample_weight=weight[:, None])
    torch.testing.assert_close(again, weighted)


@pytest.mark.parametrize("name", NAMES)
def test_batches_of_any_size_give_the_value_of_all_rows(name):
    y_true, y_pred = data(name)
    whole, parts = make(name), make(name)
    whole.update_state(y_true, y_pred)
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        parts.update_state(y_true[rows], y_pred[rows])
    torch.testing.assert_close(parts.result(), whole.result(), rtol=1e-6, atol=1e-6)
    known = ("CosineSimilarity", "PearsonCorrelation", "ConcordanceCorrelation")
    assert whole.batchable == (name not in known)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_copied_whole(name):
    y_true, y_pred = data(name)
    metric = make(name)
    metric.update_state(y_true, y_pred)
    expected = metric.result().clone()
    again = copy.deepcopy(metric)
    again.update_state(y_true, y_pred)
    again.reset_state()
    again.update_state(y_true, y_pred)
    torch.testing.assert_close(again.result(), expected)
    torch.testing.assert_close(metric.result(), expected)


def test_no_graph_is_kept():
    metric = metrics.MeanSquaredError()
    metric.update_state(Y, P.clone().requires_grad_())
    assert not metric.result().requires_grad


def test_arrays_and_lists_are_taken():
    expected = metrics.Precision()(Y, P)
    assert metrics.Precision()(Y.numpy(), P.numpy()) == expected
    assert metrics.Precision()(Y.tolist(), P.tolist()) == expected


def test_outputs_of_one_number_in_a_vector():
    ragged = metrics.MeanSquaredError()
    ragged.update_state(Y[:4], P[:4])
    ragged.update_state(Y[4:], P[4:])
    torch.testing.assert_close(ragged.result(), ((Y - P) ** 2).mean())
    weight = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    value = metrics.MeanSquaredError()(Y, P, sample_weight=weight)
    torch.testing.assert_close(value, (Y[0] - P[0]) ** 2)


class Positives(metrics.Metric):
    def __init__(self, name="positives", **kwargs):
        super().__init__(name=name, **kwargs)
        self.seen = self.add_weight(name="seen", initializer="zeros")
        self.per_class = self.add_variable(shape=(2,), initializer="zeros", name="p")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.assign_add((y_pred > 0.5).sum())
        self.per_class.assign(
            self.per_class.value + torch.stack([(1 - y_true), y_true]).sum(1)
        )

    def result(self):
        return {"seen": self.seen, "share": self.seen / self.per_class.sum()}


def test_a_metric_of_ones_own():
    metric = Positives()
    metric.update_state(Y, P)
    result = metric(Y, P)
    assert float(result["seen"]) == 6
    assert float(result["share"]) == pytest.approx(0.6)
    assert [v.name for v in metric.variables] == ["seen", "p"]
    assert metric.per_class.numpy().tolist() == [4.0, 6.0]
    again = copy.deepcopy(metric)
    metric.reset_state()
    assert float(metric.result()["seen"]) == 0
    again.update_state(Y, P)
    assert float(again.seen.value) == 9
    assert list(again.parameters()) == []
    assert again.state_dict() == {}


def test_a_metric_of_ones_own_moves_to_its_inputs():
    metric = Positives()
    metric.update_state(Y.to("meta"), P.to("meta"))
    assert metric.seen.device.type == "meta"


def test_metrics_move_to_their_inputs():
    metric = metrics.MeanSquaredError()
    metric.update_state(Y[:, None].to("meta"), P[:, None].to("meta"))
    assert metric.total.device.type == "meta"


def test_metrics_within_a_metric():
    class Twice(metrics.Metric):
        def __init__(self):
            super().__init__()
            self.inner = metrics.Mean()

        def update_state(self, values):
            self.inner.update_state(values)

        def result(self):
            return 2 * self.inner.result()

    metric = Twice()
    assert metric.name.startswith("twice")
    assert metric([1.0, 2.0]) == 3
    assert len(metric.variables) == 2
    metric.reset_state()
    assert metric([5.0]) == 10


def test_a_metric_without_methods_says_so():
    with pytest.raises(NotImplementedError, match="Metric does not define `update_st"):
        metrics.Metric().update_state(Y, P)
    with pytest.raises(NotImplementedError, match="Metric does not define `result"):
        metrics.Metric().result()


def test_any_function_is_a_metric():
    def gap(y_true, y_pred):
        return (y_true - y_pred).abs()

    metric = metrics.MeanMetricWrapper(gap, name="gap")
    assert metric(Y, P) == pytest.approx(float((Y - P).abs().mean()))
    assert not metric.batchable
    built_in = metrics.MeanMetricWrapper(metrics.binary_accuracy, threshold=0.3)
    again = metrics.deserialize(metrics.serialize(built_in))
    assert again.get_config() == built_in.get_config()
    assert again.batchable


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("mse", metrics.MeanSquaredError),
        ("MAE", metrics.MeanAbsoluteError),
        ("bce", metrics.BinaryCrossentropy),
        ("binary_accuracy", metrics.BinaryAccuracy),
        ("AUC", metrics.AUC),
        ("auc", metrics.AUC),
        ("precision", metrics.Precision),
        ("root_mean_squared_error", metrics.RootMeanSquaredError),
    ],
)
def test_names_stand_for_objects(name, cls):
    assert type(metrics.get(name)) is cls


def test_processes_are_summed():
    first, second = metrics.Precision(), metrics.Precision()
    both = metrics.Precision()
    first.update_state(Y, P)
    second.update_state(1 - Y, P)
    both.update_state(torch.cat([Y, 1 - Y]), torch.cat([P, P]))
    merged = metrics.Precision()

    def gather(tensor, group=None):
        twin = next(
            getattr(second, s) for s in first._defaults if tensor is getattr(merged, s)
        )
        return [tensor, twin]

    merged.dist_sync_fn = gather
    merged.distributed_available_fn = lambda: True
    merged.update_state(Y, P)
    assert merged.compute() == both.result()
    assert merged.result() == first.result()


def test_scores_that_are_not_numbers_are_above_no_threshold():
    scores = torch.tensor([0.9, float("nan")])
    labels = torch.tensor([1.0, 0.0])
    assert metrics.AUC()(labels, scores) == 1.0
    assert metrics.Precision()(labels, scores) == 1.0


def test_labels_that_are_no_classes_are_in_no_top():
    metric = metrics.SparseTopKCategoricalAccuracy(k=9)
    assert metric(torch.tensor([0, -1, 3]), torch.rand(3, 3)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.Precision(thresholds=1.5), "`thresholds` must be a number in"),
        (lambda: metrics.Recall(top_k=0), "`top_k` must be a positive integer"),
        (lambda: metrics.AUC(curve="roc auc"), "`curve` must be one of 'ROC'"),
        (lambda: metrics.AUC(summation_method="all"), "`summation_method` must be"),
        (lambda: metrics.AUC(num_thresholds=1), "`num_thresholds` must be at least 2"),
        (lambda: metrics.AUC(num_labels=3), "`num_labels` must be None"),
        (lambda: metrics.PrecisionAtRecall(recall=1.5), "`recall` must be a number in"),
        (lambda: metrics.F1Score(average="mean"), "`average` must be one of"),
        (lambda: metrics.FBetaScore(beta=0.0), "`beta` must be a float above 0"),
        (lambda: metrics.F1Score(threshold=2.0), "`threshold` must be a float above 0"),
        (lambda: metrics.IoU(2, [2]), "`target_class_ids` must be classes from 0 to 1"),
        (lambda: metrics.MeanIoU(0), "`num_classes` must be a positive integer"),
        (lambda: metrics.R2Score("mean"), "`class_aggregation` must be one of"),
        (lambda: metrics.R2Score(num_regressors=-1), "`num_regressors` must be"),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), "`k` must be a positive"),
        (lambda: metrics.get("acuracy"), "Did you mean 'accuracy'"),
        (
            lambda: metrics.MeanSquaredError()(torch.ones(4, 3), torch.ones(4, 2)),
            "shape",
        ),
        (
            lambda: metrics.BinaryAccuracy()(torch.ones(4), torch.ones(4, 2)),
            "one shape",
        ),
        (
            lambda: metrics.CategoricalAccuracy()(torch.ones(4), torch.ones(4, 2)),
            "Targets are one-hot",
        ),
        (lambda: metrics.F1Score()(Y, P), "one shape, \\(batch, classes\\)"),
        (lambda: metrics.R2Score()(torch.ones(2, 2, 2), torch.ones(2, 2, 2)), "r2_sc"),
        (lambda: metrics.AUC(multi_label=True)(Y, P), "`multi_label` is True"),
        (lambda: metrics.Precision(class_id=0)(Y, P), "`class_id` is given"),
        (lambda: metrics.MeanIoU(2)(torch.ones(3), torch.ones(3, 2)), "sparse_y_pred"),
        (
            lambda: metrics.Precision()(Y, P, sample_weight=Y[:3]),
            "does not fit outputs",
        ),
        (lambda: metrics.Mean()(Y, sample_weight=Y[:3]), "does not fit values"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_float_weights_of_integer_states_are_warned_of():
    with pytest.warns(UserWarning, match="float weights are cut"):
        metrics.MeanIoU(2)(Y.long(), Y.long(), sample_weight=P)


def test_too_many_regressors_are_warned_of():
    with pytest.warns(UserWarning, match="5 regressors are too many"):
        metrics.R2Score(num_regressors=5)(Y, P)


def test_numpy_reads_results():
    assert np.asarray(metrics.Mean()([1.0, 2.0])) == 1.5
