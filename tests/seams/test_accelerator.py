"""The rows of the tables again on an accelerator: the CPU's numbers, no waiting."""

import contextlib
import copy
import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import torchkeras
from tests.layers.cases import CASES as LAYERS
from tests.parity import test_losses as loss_rows
from tests.parity import test_metrics as metric_rows
from tests.parity import test_optimizers as optimizer_rows
from tests.parity.ops.test_completeness import MODULES
from torchkeras import (
    Input,
    Model,
    Sequential,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
)
from torchkeras._core import tree
from torchkeras.callbacks import Callback

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]
if not torch.accelerator.is_available():
    pytest.skip("needs an accelerator", allow_module_level=True)

OPERATIONS = [case for module in MODULES for case in getattr(module, "CASES", ())]
#: Sums are made in another order.
CLOSE: dict[str, Any] = {"rtol": 2e-4, "atol": 2e-4}
#: Of vectors that are theirs with either sign, and of a tie between two ranks.
AMBIGUOUS = ("eigh", "svd", "percentile")


@pytest.fixture(autouse=True)
def exact():
    """Let convolutions and recurrences compute in all digits, as the CPU does."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def there() -> torch.device:
    device = torch.accelerator.current_accelerator()
    assert device is not None
    return torch.device(device.type, torch.accelerator.current_device_index())


def moved(structure, device):
    def move(leaf):
        return leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf

    return tree.map_structure(move, structure)


def assert_close(ours, expected):
    ours, expected = tree.flatten(ours), tree.flatten(expected)
    assert len(ours) == len(expected)
    for own, reference in zip(ours, expected, strict=True):
        if isinstance(reference, torch.Tensor):
            assert own.dtype == reference.dtype
            assert own.device.type == there().type
            close: Any = {"rtol": 2e-3, "atol": 2e-3} if own.itemsize == 2 else CLOSE
            torch.testing.assert_close(own.cpu(), reference, equal_nan=True, **close)


# Each row of a table


@pytest.mark.parametrize("case", OPERATIONS, ids=str)
def test_an_operation(case):
    if case.values is not True:
        pytest.skip("random, or compared elsewhere")
    if any(name in case.name for name in AMBIGUOUS):
        pytest.skip("more than one result is right")

    def run(device):
        def tensor(leaf):
            array = isinstance(leaf, np.ndarray)
            return torch.tensor(leaf, device=device) if array else leaf

        args, kwargs = tree.map_structure(tensor, (case.args, case.kwargs))
        with torchkeras.device(str(device)):
            return case.ours(*args, **kwargs)

    assert_close(run(there()), run(torch.device("cpu")))


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_a_layer(case):
    with torchkeras.device("cpu"):
        layer = case.build().eval()
        inputs = case.data()
    twin = copy.deepcopy(layer).to(there())
    results = []
    for each, x in ((twin, moved(inputs, there())), (layer, inputs)):
        leaves = [t for t in tree.flatten(x) if t.is_floating_point()]
        for leaf in leaves:
            leaf.requires_grad_()
        outputs = case.run(each, x)
        wanted = [*leaves, *(p for p in each.parameters() if p.requires_grad)]
        total = sum(
            torch.as_tensor(o).square().sum()
            for o in tree.flatten(outputs)
            if o.is_floating_point()
        )
        gradients = (
            torch.autograd.grad(total, wanted, allow_unused=True)
            if wanted and isinstance(total, torch.Tensor) and total.requires_grad
            else ()
        )
        results.append((outputs, gradients))
    assert_close(results[0], results[1])


@pytest.mark.parametrize("case", loss_rows.CASES, ids=str)
def test_a_loss(case):
    loss = getattr(losses, case.cls)(**case.kwargs)
    y_true, y_pred = map(torch.tensor, case.data)
    assert_close(loss(y_true.to(there()), y_pred.to(there())), loss(y_true, y_pred))


@pytest.mark.parametrize("case", metric_rows.CASES, ids=str)
def test_a_metric(case):
    results = []
    for device in (there(), torch.device("cpu")):
        with torchkeras.device(str(device)):
            metric = getattr(metrics, case.cls)(**case.kwargs)
        data = [torch.as_tensor(value, device=device) for value in case.data]
        metric.update_state(*data)
        results.append(metric.result())
    own, reference = (np.asarray(torch.as_tensor(r).cpu()) for r in results)
    np.testing.assert_allclose(own, reference, **CLOSE)


@pytest.mark.parametrize(
    ("name", "options"), optimizer_rows.CASES, ids=optimizer_rows.IDS
)
def test_an_optimizer(name, options):
    x, y = torch.randn(32, 5), torch.randn(32, 2)
    with torchkeras.device("cpu"):
        model = Sequential([layers.Dense(4, activation="tanh"), layers.Dense(2)])
        model.build((None, 5))
    results = []
    for device in (there(), torch.device("cpu")):
        twin = copy.deepcopy(model).to(device)
        twin.compile(optimizer_rows.make(name, options, optimizers), "mse")
        twin.fit(x.numpy(), y.numpy(), 8, epochs=2, shuffle=False, verbose=0)
        results.append([p.detach() for p in twin.parameters()])
    assert_close(results[0], results[1])


# Training


def tabular():
    return Sequential(
        [
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def convolutional():
    return Sequential(
        [
            layers.Reshape((4, 4, 1)),
            layers.Conv2D(4, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def recurrent():
    return Sequential(
        [
            layers.Reshape((8, 2)),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(4),
            layers.Dense(3, activation="softmax"),
        ]
    )


def functional():
    inputs = Input((16,))
    x = layers.Dense(16, activation="gelu")(inputs)
    x = layers.Add()([x, inputs * 2])
    x = ops.concatenate([x, torch.sin(x)], axis=-1)
    return Model(inputs, layers.Dense(3, activation="softmax")(x))


class Attentive(Model):
    def __init__(self):
        super().__init__()
        self.reshape = layers.Reshape((8, 2))
        self.attention = layers.MultiHeadAttention(2, 4, dropout=0.1)
        self.norm = layers.LayerNormalization()
        self.pool = layers.GlobalAveragePooling1D()
        self.head = layers.Dense(3, activation="softmax")

    def call(self, inputs, training=None):
        x = self.reshape(inputs)
        x = self.norm(x + self.attention(x, x, training=training))
        return self.head(self.pool(x))


MODELS = [tabular, convolutional, recurrent, functional, Attentive]
X = np.random.default_rng(0).normal(size=(96, 16)).astype("float32")
Y = np.abs(X[:, :3]).argmax(1)


class Strict(Callback):
    """Makes every wait for the device an error, from the second batch to the last."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it does not find all of them
                torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, batch, logs=None):
        if batch == (self.params or {})["steps"] - 2:
            torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def no_debugging_after():
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("make", MODELS)
def test_the_loop_never_waits_for_the_device(make):
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with no_debugging_after():
        history = model.fit(
            X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[Strict()]
        )
    assert model.trainable_weights[0].value.device.type == there().type
    assert history.history["loss"][1] < history.history["loss"][0] * 1.1


@pytest.mark.parametrize("make", [convolutional, recurrent, functional])
def test_fit_gives_the_weights_that_it_gives_on_the_cpu(make):
    with torchkeras.device("cpu"):
        model = make()
        model.build((None, 16))
    results = []
    for device in (there(), torch.device("cpu")):
        twin = copy.deepcopy(model).to(device)
        twin.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = twin.fit(X, Y, 16, epochs=3, shuffle=False, verbose=0).history
        results.append((list(map(torch.Tensor.detach, twin.parameters())), history))
        prediction = twin.predict(X, verbose=0)
        assert isinstance(prediction, np.ndarray)
        results[-1] += (twin.evaluate(X, Y, verbose=0), prediction)
    assert_close(results[0][0], results[1][0])
    for own, reference in zip(results[0][2:], results[1][2:], strict=True):
        np.testing.assert_allclose(own, reference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("make", MODELS)
def test_mixed_precision(make, policy):
    before = torchkeras.config.dtype_policy()
    torchkeras.config.set_dtype_policy(policy)
    try:
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        losses_ = model.fit(X, Y, batch_size=8, epochs=4, verbose=0).history["loss"]
    finally:
        torchkeras.config.set_dtype_policy(before)
    assert np.isfinite(losses_).all()
    assert losses_[-1] < losses_[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("make", [tabular, functional, Attentive])
def test_compiled_the_graph_is_whole(make):
    model = make()
    x = torch.tensor(X, device=there())
    expected = model.eval()(x)
    compiled = torch.compile(model, fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = compiled(x)
        outputs.square().sum().backward()
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-3)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_tensors_that_are_there_stay_there():
    model = functional()
    x, y = torch.tensor(X, device=there()), torch.tensor(Y, device=there())
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, validation_split=0.25, verbose=0)
    dataset = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(dataset, 32)
    model.fit(loader, validation_data=(X, Y), verbose=0)
    np.testing.assert_allclose(
        model.predict(loader, verbose=0), model.predict(x, verbose=0), rtol=1e-5
    )


def test_a_seed_gives_the_same_numbers_again():
    predictions = []
    for _ in range(2):
        torchkeras.utils.set_random_seed(3)
        model = tabular()
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(X, Y, epochs=2, verbose=0)
        predictions.append(model.predict(X, verbose=0))
    np.testing.assert_allclose(*predictions, rtol=1e-5)


@pytest.mark.parametrize("name", ["quickstart", "vae", "gan", "text_transformer"])
def test_an_example(name, capsys):
    examples = importlib.import_module("tests.test_examples")
    result = examples.run_example(name, **examples.SETTINGS[name])
    assert examples.LEAST.get(name, 0.3) <= result <= 1
