"""Training steps of one's own: in Keras's form, in torch's, with several optimizers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from torchkeras import layers
from torchkeras.models import Model, Sequential

rng = np.random.default_rng(0)
X = rng.normal(size=(64, 8)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def dense() -> tuple:
    inputs = torchkeras.Input((8,))
    return inputs, layers.Dense(1)(layers.Dense(6, activation="tanh")(inputs))


class KerasStep(Model):
    def train_step(self, data):
        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        loss.backward()
        weights = list(self.trainable_weights)
        gradients = [v.value.grad for v in weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class TorchStep(Model):
    def train_step(self, data):
        x, y = data
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self(x), y)
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


class LabelsIn(Model):
    """Takes what it learns from out of a dict, or as it comes."""

    def train_step(self, data):
        x, y = data
        self.optimizer.zero_grad()
        y = y["labels"] if isinstance(y, dict) else y
        loss = nn.functional.cross_entropy(torch.log(self(x)), y)
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


@pytest.mark.parametrize("cls", [Model, LabelsIn])
def test_labels_are_looked_at_before_a_step_of_ones_own_too(cls):
    inputs = torchkeras.Input((8,))
    model = cls(inputs, layers.Dense(3, activation="softmax")(inputs))
    model.compile("sgd", "sparse_categorical_crossentropy")
    labels = np.arange(64) % 3
    before = model.get_weights()
    with pytest.raises(ValueError, match="label"):
        model.fit(X, labels + 1, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(X, labels, verbose=0)


def test_targets_that_only_a_step_of_ones_own_understands():
    inputs = torchkeras.Input((8,))
    model = LabelsIn(inputs, layers.Dense(3, activation="softmax")(inputs))
    model.compile("sgd", "sparse_categorical_crossentropy")
    labels = np.arange(64) % 3
    model.fit(X, {"labels": labels, "names": labels + 7}, verbose=0)


@pytest.mark.parametrize("cls", [KerasStep, TorchStep])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_of_ones_own_trains_as_fit_does(cls, optimizer):
    model = Model(*dense())
    own = cls(*dense())
    own.set_weights(model.get_weights())
    histories = []
    for trained in (model, own):
        trained.compile(optimizer, "mse", metrics=["mae"])
        history = trained.fit(
            X, Y, batch_size=64, epochs=4, shuffle=False, verbose=0
        ).history
        histories.append(history)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)
    if cls is KerasStep:
        np.testing.assert_allclose(histories[0]["mae"], histories[1]["mae"], rtol=1e-5)
        expected = model.evaluate(X, Y, batch_size=64, verbose=0, return_dict=True)
        results = own.evaluate(X, Y, batch_size=64, verbose=0, return_dict=True)
        assert results == pytest.approx(expected, rel=1e-5)
    for a, b in zip(model.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_predict_step_and_compute_loss_are_used():
    class Doubled(Model):
        def predict_step(self, data):
            return 2 * self(data)

        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs
        ):
            return 3 * super().compute_loss(x, y, y_pred, sample_weight, **kwargs)

    model, plain = Doubled(*dense()), Model(*dense())
    plain.set_weights(model.get_weights())
    for each in (model, plain):
        each.compile("sgd", "mse")
    np.testing.assert_allclose(
        model.predict(X, verbose=0), 2 * plain.predict(X, verbose=0), rtol=1e-6
    )
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(
        3 * plain.evaluate(X, Y, verbose=0), rel=1e-5
    )


@pytest.mark.parametrize("batch_size", [3, 64])
def test_predict_step_may_return_arrays_and_lists(batch_size):
    class Host(Model):
        def predict_step(self, data):
            outputs = self(data)
            return {"array": outputs.numpy(), "of each": (outputs, -outputs.numpy())}

    model = Host(*dense())
    expected = model(X[:7]).numpy(force=True)
    outputs = model.predict(X[:7], batch_size=batch_size, verbose=0)
    np.testing.assert_allclose(outputs["array"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["of each"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["of each"][1], -expected, rtol=1e-5)


def test_the_function_of_a_mode_is_kept_until_compile():
    model = KerasStep(*dense())
    model.compile("sgd", "mse")
    assert model.train_function is None
    for mode in ("train", "test", "predict"):
        make = getattr(model, f"make_{mode}_function")
        function = make()
        assert getattr(model, f"{mode}_function") is function
        assert make() is function
        data = (torch.tensor(X), torch.tensor(Y))
        expected = X.shape[:1] if mode == "predict" else ()
        result = function([data])
        given = result if mode == "predict" else result["loss"]
        assert tuple(given.shape)[:1] == expected
    model.compile("sgd", "mse")
    assert model.train_function is None


def test_a_step_needs_no_fit_before_it():
    data = torch.tensor(X), torch.tensor(Y)
    logs = []
    for call in ("train_step", "train_on_batch"):
        torchkeras.utils.set_random_seed(0)
        model = Sequential([layers.Dense(1, kernel_regularizer="l2")])
        model.compile("adam", "mse")
        for _ in range(3):
            given = (data,) if call == "train_step" else data
            model.reset_metrics()
            result = getattr(model, call)(*given)
        logs.append(float(result["loss"] if call == "train_step" else result))
    assert logs[0] == pytest.approx(logs[1])


def test_a_copy_trains_itself_by_its_train_function():
    model = Sequential([layers.Dense(1, input_shape=(8,))])
    model.compile("sgd", "mse")
    model.make_train_function()
    twin = copy.deepcopy(model)
    before = model.get_weights()
    twin.fit(X, Y, epochs=1, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(twin.get_weights()[0], before[0])


@pytest.mark.parametrize("returns", [True, False])
def test_a_train_function_of_ones_own_is_what_fit_calls(returns):
    class TwoSteps(Model):
        def make_train_function(self, force=False):
            def function(data):
                self.train_step(data[0])
                return self.train_step(data[0])

            self.train_function = function
            return function if returns else None

        def make_predict_function(self, force=False):
            return lambda data: -self.predict_step(data[0])

    model = TwoSteps(*dense())
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    assert model.optimizer.iterations == 8
    model.train_on_batch(X, Y)
    assert model.optimizer.iterations == 10
    expected = -model(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(X), expected, rtol=1e-5)


def test_a_student_learns_from_a_teacher():
    class Distiller(Model):
        def __init__(self, student, teacher):
            super().__init__()
            self.student, self.teacher = student, teacher
            self.teacher.trainable = False

        def compile(self, optimizer, distillation_loss, alpha):
            super().compile(optimizer=optimizer, loss="mse", metrics=["mae"])
            self.distillation_loss, self.alpha = distillation_loss, alpha

        def call(self, inputs):
            return self.student(inputs)

        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            with torch.no_grad():
                target = self.teacher(x, training=False)
            own = super().compute_loss(x, y, y_pred, sample_weight, training)
            return self.alpha * own + (1 - self.alpha) * self.distillation_loss(
                target, y_pred
            )

    teacher, student = Model(*dense()), Sequential([layers.Dense(1)])
    before = teacher.get_weights()
    model = Distiller(student, teacher)
    model.compile("adam", torchkeras.losses.MeanSquaredError(), alpha=0.0)
    history = model.fit(X, Y, epochs=60, batch_size=8, verbose=0).history
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert history["loss"][-1] < history["loss"][0] / 2
    expected = np.square(teacher.predict(X) - student.predict(X)).mean()
    assert model.evaluate(X, Y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


def test_views_of_a_sample_are_drawn_together():
    class Contrastive(Model):
        def __init__(self):
            super().__init__()
            self.encoder = Sequential([layers.Dense(8, activation="relu")])
            self.head = layers.Dense(4)
            self.noise = layers.GaussianNoise(0.1)
            self.loss_tracker = torchkeras.metrics.Mean(name="c_loss")

        @property
        def metrics(self):
            return [self.loss_tracker]

        def call(self, inputs):
            return self.encoder(inputs)

        def train_step(self, x):
            one, two = (
                self.head(self.encoder(self.noise(x, training=True))) for _ in range(2)
            )
            similarity = torchkeras.ops.matmul(
                torchkeras.ops.normalize(one, axis=1),
                torchkeras.ops.transpose(torchkeras.ops.normalize(two, axis=1)),
            )
            labels = torchkeras.ops.arange(len(x))
            loss = torchkeras.losses.sparse_categorical_crossentropy(
                labels, similarity / 0.1, from_logits=True
            ).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.loss_tracker.update_state(loss)
            return {m.name: m.result() for m in self.metrics}

    torchkeras.utils.set_random_seed(0)
    model = Contrastive()
    model.compile("adam")
    losses = model.fit(X, batch_size=32, epochs=20, verbose=0).history["c_loss"]
    assert losses[-1] < losses[0]


def test_data_without_targets_come_as_they_are():
    seen = []

    class Spy(Model):
        def train_step(self, data):
            seen.append(data)
            return {"loss": torch.zeros(())}

    model = Spy(*dense())
    model.compile("sgd")
    model.fit(X, batch_size=16, verbose=0)
    assert [batch.shape for batch in seen] == [(16, 8)] * 4


class Pair(Model):
    """Two networks, each with an optimizer of its own; it has no `call`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Sequential([layers.Input((3,)), layers.Dense(8)])
        self.second = Sequential([layers.Input((8,)), layers.Dense(1)])
        self.seeds = torchkeras.random.SeedGenerator(0)
        self.tracker = torchkeras.metrics.Mean(name="first_loss")

    @property
    def metrics(self):
        return [self.tracker]

    def compile(self, first_optimizer, second_optimizer, loss):
        super().compile()
        self.first_optimizer = first_optimizer
        self.second_optimizer = second_optimizer
        self.loss = loss

    def train_step(self, data):
        noise = torchkeras.random.normal((len(data), 3), seed=self.seeds)
        for network, optimizer in (
            (self.second, self.second_optimizer),
            (self.first, self.first_optimizer),
        ):
            self.zero_grad()
            loss = self.loss(torch.ones(len(data), 1), self.second(self.first(noise)))
            loss.backward()
            weights = network.trainable_weights
            with torch.no_grad():
                optimizer.apply([w.value.grad for w in weights], weights)
        self.tracker.update_state(loss)
        return {"first_loss": self.tracker.result()}


def test_two_optimizers_given_to_a_compile_of_ones_own():
    model = Pair()
    before = [copy.deepcopy(m.get_weights()) for m in (model.first, model.second)]
    model.compile(
        torchkeras.optimizers.Adam(1e-2),
        torchkeras.optimizers.SGD(1e-2),
        torchkeras.losses.MeanSquaredError(),
    )
    history = model.fit(X, batch_size=16, epochs=5, verbose=0).history
    assert history["first_loss"][-1] < history["first_loss"][0]
    for network, old in zip((model.first, model.second), before, strict=True):
        assert (network.get_weights()[0] != old[0]).any()


def test_gradients_are_accumulated_over_steps():
    class Accumulating(Model):
        count = 0

        def train_step(self, data):
            x, y = data
            loss = self.compute_loss(y=y, y_pred=self(x)) / 2
            loss.backward()
            self.count += 1
            if self.count % 2 == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            return {"loss": loss}

    own, plain = Accumulating(*dense()), Model(*dense())
    own.set_weights(plain.get_weights())
    for model, size in ((own, 16), (plain, 32)):
        model.compile("sgd", "mse")
        model.fit(X, Y, batch_size=size, shuffle=False, verbose=0)
    for a, b in zip(own.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_second_network_follows_by_a_moving_average():
    class Teacher(KerasStep):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.__dict__["teacher"] = copy.deepcopy(Model(*args))

        def train_step(self, data):
            logs = super().train_step(data)
            for own, follows in zip(self.weights, self.teacher.weights, strict=True):
                follows.assign(0.9 * follows.value + 0.1 * own.value)
            return logs

    model = Teacher(*dense())
    start = model.teacher.get_weights()[0]
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert 0 < abs(model.teacher.get_weights()[0] - start).max() < 0.1


def test_a_term_of_a_layer_adds_to_the_loss():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * x.square().mean())
            return x

    inputs = torchkeras.Input((8,))
    hidden = Penalty()(layers.Dense(4)(inputs))
    model = Model(inputs, layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    loss = model.evaluate(X, Y, verbose=0, batch_size=64)
    features = Model(inputs, hidden)
    expected = ((model.predict(X, verbose=0) - Y) ** 2).mean()
    expected += 0.1 * (features.predict(X, verbose=0) ** 2).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_loop_from_scratch():
    model = Sequential([layers.Input((8,)), layers.Dense(1)])
    loss_fn = torchkeras.losses.MeanSquaredError()
    metric = torchkeras.metrics.MeanAbsoluteError()
    optimizer = torchkeras.optimizers.Adam(1e-1)
    losses = []
    for _ in range(20):
        metric.reset_state()
        model.zero_grad()
        predictions = model(torch.tensor(X), training=True)
        loss = loss_fn(torch.tensor(Y), predictions)
        loss.backward()
        weights = model.trainable_weights
        with torch.no_grad():
            optimizer.apply([w.value.grad for w in weights], weights)
        metric.update_state(torch.tensor(Y), predictions)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    keras_style = float(metric.result())
    metric.reset()
    metric.update(predictions, torch.tensor(Y))
    assert float(metric.compute()) == pytest.approx(keras_style)


def test_torch_parameters_of_a_layer_are_weights():
    class Scale(layers.Layer):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(8))
            self.register_buffer("shift", torch.zeros(8))

        def forward(self, x):
            return x * self.gain + self.shift

    layer = Scale()
    model = Sequential([layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert [w.name for w in layer.trainable_weights] == ["gain"]
    assert [w.name for w in layer.non_trainable_weights] == ["shift"]
    assert (layer.gain != 1).any()


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (
            lambda self: setattr(self, "dense", layers.Dense(3)),
            "`self.dense` was assigned before the layer was ready",
        ),
        (
            lambda self: setattr(self, "blocks", [layers.Dense(3)]),
            "`self.blocks` was assigned before",
        ),
    ],
)
@pytest.mark.parametrize("base", [layers.Layer, Model])
def test_a_forgotten_super_is_named(base, define, message):
    cls = type("Forgetful", (base,), {"__init__": define})
    with pytest.raises(RuntimeError, match=message):
        cls()


def test_a_forgotten_super_is_named_at_the_first_call():
    class Forgetful(layers.Layer):
        def __init__(self):
            self.units = 3

        def call(self, x):
            return x

    with pytest.raises(RuntimeError, match=r"`super\(\)\.__init__\(\)` was not called"):
        Forgetful()(torch.ones(2))


def test_what_is_made_in_call_is_refused():
    class Weights(layers.Layer):
        def call(self, x):
            return x * self.add_weight((3,), name="gain")

    class Layers(layers.Layer):
        def call(self, x):
            self.dense = layers.Dense(3)
            return self.dense(x)

    with pytest.raises(RuntimeError, match="the weight 'gain' was made in `call`"):
        Weights()(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match=r"layer `self\.dense` was made in `call`"):
        Layers()(torch.ones(2, 3))


def test_call_must_be_written():
    with pytest.raises(NotImplementedError, match="does not have a `call` method"):
        type("Empty", (layers.Layer,), {})()(torch.ones(2))
    with pytest.raises(NotImplementedError, match="does not define `call`"):
        type("Empty", (Model,), {})()(torch.ones(2))
