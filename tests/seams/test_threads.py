"""What one thread does is its own: nothing of it shows in what another one does."""

import threading

import numpy as np
import pytest
import torch

import torchkeras as tk
from torchkeras import layers, losses, metrics, models, saving, utils
from torchkeras._core import config
from torchkeras._core.context import Context, context
from torchkeras._core.limits import active, limits
from torchkeras._core.naming import auto_name
from torchkeras._core.registry import find_custom

ROUNDS = 12


class Penalized(layers.Layer):
    """A layer that adds one term to the loss in each call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def call(self, inputs):
        self.add_loss(inputs.mean())
        return self.dense(inputs)


class Subclassed(tk.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(4, "relu"), layers.BatchNormalization()]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def _sequential():
    return tk.Sequential([tk.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(2)])


def _functional():
    inputs = tk.Input((8, 8, 3))
    hidden = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    hidden = layers.BatchNormalization()(hidden)
    hidden = torch.nn.Conv2d(8, 4, 1)(hidden) + layers.Conv2D(4, 1)(inputs).mean(
        dim=(1, 2), keepdim=True
    )
    return tk.Model(inputs, layers.Flatten()(hidden))


def _recurrent():
    inputs = tk.Input((None, 5))
    hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(inputs)
    return tk.Model(inputs, layers.GRU(2)(hidden))


def _subclassed():
    model = Subclassed()
    model.build((None, 6))
    return model


BUILDERS = {
    _sequential: (2, 6),
    _functional: (2, 8, 8, 3),
    _recurrent: (2, 7, 5),
    _subclassed: (2, 6),
}


def _in_threads(*functions):
    """Run functions at once, and raise what any of them raised."""
    errors, barrier = [], threading.Barrier(len(functions))

    def run(function):
        try:
            barrier.wait()
            function()
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _check_built(model, builder):
    twin = builder()
    described = [(tuple(w.shape), w.dtype, w.value.device.type) for w in model.weights]
    expected = [(tuple(w.shape), w.dtype, w.value.device.type) for w in twin.weights]
    assert described == expected
    inputs = torch.rand(BUILDERS[builder])
    model.set_weights(twin.get_weights())
    assert torch.equal(model(inputs), twin(inputs))
    assert context.probes == context.call_stack == []


def test_building_predicting_and_counting_at_once():
    predictor = _functional()
    images = torch.rand(4, 8, 8, 3)
    expected = predictor.predict(images, verbose=0)
    built = {builder: [] for builder in BUILDERS}
    mean, accuracy = metrics.Mean(), metrics.BinaryAccuracy()
    penalized = Penalized()
    penalized(torch.ones(2, 4))

    def build(builder):
        def run():
            for _ in range(ROUNDS):
                built[builder].append(builder())

        return run

    def predict():
        for _ in range(ROUNDS):
            assert np.array_equal(predictor.predict(images, verbose=0), expected)

    def count():
        for index in range(20 * ROUNDS):
            mean.update_state(torch.tensor([float(index)]))
            accuracy.update_state(torch.ones(2), torch.tensor([0.9, 0.1]))
            penalized(torch.ones(2, 4))
            assert len(penalized.losses) == 1

    _in_threads(*map(build, BUILDERS), predict, count)
    assert float(mean.count) == 20 * ROUNDS
    assert float(mean.result()) == (20 * ROUNDS - 1) / 2
    assert float(accuracy.result()) == 0.5
    for builder, made in built.items():
        assert len(made) == ROUNDS
        for model in made:
            _check_built(model, builder)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_model_predicts_while_another_is_built_around_it(builder):
    base = builder()
    inputs = torch.rand(BUILDERS[builder])
    expected = base(inputs)
    state = {name: value.clone() for name, value in base.state_dict().items()}

    def build_around():
        for _ in range(ROUNDS):
            outer = tk.Input(inputs.shape[1:])
            tk.Model(outer, layers.Dense(2)(base(outer)))

    def predict():
        for _ in range(8 * ROUNDS):
            with torch.no_grad():
                assert torch.equal(base(inputs), expected)

    _in_threads(build_around, predict)
    assert base.state_dict().keys() == state.keys()
    assert all(torch.equal(base.state_dict()[name], v) for name, v in state.items())


class Stateful(torch.nn.Module):
    """A module that changes its buffers in every way, and looks at its weights."""

    total: torch.Tensor

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)
        self.seen = []
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))
        self.register_buffer("total", torch.zeros(3))
        self.register_buffer("none", None)

    def forward(self, inputs):
        self.calls += 1
        self.last = self.none = inputs.detach()
        self.total.add_(inputs.sum(0)).mul_(self.norm.weight)
        torch.add(self.total, 1, out=self.total)
        self.norm.weight.requires_grad_(False)
        self.seen += [self.norm.weight, self.norm.running_mean, self.norm.weight.device]
        return self.norm(inputs) * self.calls


class Holder(layers.Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def test_shapes_are_inferred_without_a_change_to_the_module():
    inner = Stateful()
    model = tk.Sequential([tk.Input((3,)), Holder(inner)]).train()
    inner.seen.clear()
    before = {name: value.clone() for name, value in inner.state_dict().items()}
    output = model.layers[0](tk.Input((3,)), training=True)
    assert output.shape == (None, 3)
    weight, mean, device = inner.seen[:3]
    assert weight is inner.norm.weight
    assert mean is inner.norm.running_mean
    assert device.type == "meta"  # as the operations see it
    after = inner.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert inner.none is None
    assert not inner.norm.weight.requires_grad  # what is no value is done


def test_scopes_are_of_their_thread():
    inside, checked = threading.Event(), threading.Event()

    def within():
        scope = utils.custom_object_scope({"cube": pow})
        with scope, limits(layers=3), config.device("meta"):
            inside.set()
            checked.wait()
            assert find_custom("cube") is pow
            assert active().layers == 3
            assert context.device == torch.device("meta")

    def outside():
        inside.wait()
        try:
            assert find_custom("cube") is None
            assert active().layers != 3
            assert layers.Dense(2).name
            assert config.default_device().type != "meta"
            saving.register_keras_serializable("threads")(outside)
        finally:
            checked.set()

    _in_threads(within, outside)
    assert find_custom("threads>outside") is outside  # leaving a scope keeps it


def test_each_thread_has_every_part_of_the_context():
    """A new part of the context is one of a thread, as all are."""
    fresh = vars(Context())
    seen = []
    mine = {name: object() for name in fresh}
    before = dict(vars(context))
    try:
        vars(context).update(mine)
        _in_threads(lambda: seen.append(dict(vars(context))))
    finally:
        vars(context).update(before)
    assert seen == [fresh]


def test_names_are_given_once():
    names = []
    _in_threads(*[lambda: names.extend(auto_name("thr") for _ in range(500))] * 4)
    assert len(set(names)) == len(names) == 2000


def test_freezing_concerns_the_model_that_holds_the_layer():
    models_ = [_sequential(), _sequential()]
    x, y = torch.rand(8, 6), torch.rand(8, 2)
    for model in models_:
        model.compile("sgd", losses.MeanSquaredError())
        model.fit(x, y, verbose=0)
    bound = []
    for model in models_:
        bind = model.optimizer.bind
        model.optimizer.bind = lambda w, bind=bind: bound.append(w) or bind(w)
    models_[0].layers[0].trainable = False
    before = models_[0].layers[0].get_weights()
    for model in models_:
        model.fit(x, y, verbose=0)
    assert [len(weights) for weights in bound] == [2]
    for weight, value in zip(models_[0].layers[0].get_weights(), before, strict=True):
        assert np.array_equal(weight, value)


def test_compiled_calls_trace_through_the_context():
    model = tk.Sequential([tk.Input((4,)), Penalized(), layers.Dropout(0.5)])
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    inputs = torch.rand(3, 4)
    results = []
    _in_threads(lambda: results.append(compiled(inputs)))
    assert torch.equal(results[0], model(inputs))
    assert torch.equal(compiled(inputs), results[0])
    assert models.clone_model(model).output_shape == model.output_shape
