"""Threads that train, predict, save and set weights at the same time."""

import contextlib
import threading
import time

import numpy as np
import pytest
import torch

from torchkeras import layers, models
from torchkeras._core import turns
from torchkeras.callbacks import LambdaCallback, ModelCheckpoint

X, Y = np.ones((16, 3), "float32"), np.ones((16, 2), "float32")


@contextlib.contextmanager
def beside(function, *args, **kwargs):
    """Run a function in another thread meanwhile, and raise what it raises."""
    failures = []

    def run():
        try:
            function(*args, **kwargs)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive(), "the threads wait for each other"
    for failure in failures:
        raise failure


class Witness(layers.Layer):
    """Passes its inputs on, and notes in which mode each thread calls it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = {}
        self.inner = torch.nn.Dropout(0.0)

    def call(self, inputs):
        modes = {self.training, self.inner.training}
        time.sleep(0.001)  # another thread has its chance
        modes |= {self.training, self.inner.training}
        self.seen.setdefault(threading.get_ident(), []).append(modes)
        return self.inner(inputs)

    def of(self, thread):
        return set().union(*self.seen.get(thread, ()))

    def of_this_thread(self):
        return self.of(threading.get_ident())


def with_witness():
    model = models.Sequential([layers.Input((3,)), Witness(name="w"), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.layers[0].seen.clear()  # it was called for its shapes
    return model


# Files and weights


class Steps(models.Model):
    """A model whose step adds one to each weight, slowly; they are equal between."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stack = [layers.Dense(2, name=f"d{i}") for i in range(4)]
        self.torn = 0
        self.ends = False

    def call(self, inputs):
        for layer in self.stack:
            inputs = layer(inputs)
        return inputs

    def train_step(self, data):
        values = {value.item() for w in self.weights for value in w.numpy().flat}
        self.torn += len(values) > 1
        for weight in self.weights:
            weight.assign(weight + 1.0)
            time.sleep(0)
        self.optimizer.step()
        self.stop_training = self.ends
        return {"loss": 0.0}


def slow_model():
    model = Steps()
    model.compile("sgd", "mse")
    model(np.ones((1, 2), "float32"))
    model.set_weights([np.zeros(w.shape) for w in model.weights])
    model.optimizer.build(model.trainable_weights)
    return model


def often(model, use):
    """Use a model while it is trained, until three moments of it were seen."""
    x, seen = np.ones((64, 2), "float32"), set()
    with beside(model.fit, x, x, 1, epochs=10**6, verbose=0):
        try:
            end = time.monotonic() + 20
            while len(seen) < 3 and time.monotonic() < end:
                values = {float(value) for weight in use() for value in weight.flat}
                assert len(values) <= 1
                seen |= values
        finally:
            model.ends = True
    assert model.torn == 0
    assert len(seen) == 3


@pytest.mark.parametrize("name", ["w.safetensors", "w.weights.h5"])
def test_a_file_is_of_one_moment(name, tmp_path):
    model, other = slow_model(), slow_model()

    def use():
        model.save_weights(tmp_path / name)
        other.load_weights(tmp_path / name)
        return other.get_weights()

    often(model, use)


def test_weights_are_got_and_set_between_steps():
    model = slow_model()

    def use():
        values = model.get_weights()
        model.set_weights(values)
        return values

    often(model, use)


def test_weights_are_loaded_between_steps(tmp_path):
    model = slow_model()
    model.save_weights(tmp_path / "w.safetensors")

    def use():
        time.sleep(0.002)
        values = model.get_weights()
        model.load_weights(tmp_path / "w.safetensors")
        return values

    often(model, use)


@pytest.mark.parametrize("name", ["m.safetensors", "m.keras", "m.h5"])
def test_a_model_is_saved_while_it_is_trained(name, tmp_path):
    model = models.Sequential([layers.Input((3,)), layers.BatchNormalization()])
    model.add(layers.Dense(2))
    model.compile("adam", "mse")
    enough = threading.Event()

    def stop(*_):
        model.stop_training = enough.is_set()

    called = [LambdaCallback(on_train_batch_end=stop)]
    with beside(model.fit, X, Y, 1, epochs=10**6, callbacks=called, verbose=0):
        try:
            for _ in range(4):
                model.save(tmp_path / name)
                loaded = models.load_model(tmp_path / name)  # it has checksums
                assert loaded.optimizer is not None
        finally:
            enough.set()


def test_saving_within_steps_of_several_threads(tmp_path):
    class Saving(models.Sequential):
        def train_step(self, data):
            self.save_weights(tmp_path / f"{self.name}.weights.h5")
            logs = super().train_step(data)
            self.predict(X[:2], verbose=0)
            return logs

    def train(name):
        model = Saving([layers.Input((3,)), layers.Dense(2)], name=name)
        model.compile("sgd", "mse")
        model.fit(X, Y, 2, epochs=2, verbose=0)

    with beside(train, "a"), beside(train, "b"):
        train("c")


def test_a_checkpoint_after_each_batch(tmp_path):
    model = with_witness()
    checkpoint = ModelCheckpoint(tmp_path / "m.weights.h5", save_freq=1,
                                 save_weights_only=True)  # fmt: skip
    with beside(model.fit, X, Y, 2, callbacks=[checkpoint], verbose=0):
        for _ in range(10):
            model.save_weights(tmp_path / "other.weights.h5")


# The mode

INFERENCE = {
    "predict": lambda model: model.predict(X, 4, verbose=0),
    "predict_on_batch": lambda model: model.predict_on_batch(X),
    "evaluate": lambda model: model.evaluate(X, Y, 4, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(X, Y),
}


def sharing(model):
    """Return another model with the layers of the first."""
    inputs = layers.Input((3,))
    outputs = inputs
    for layer in model.layers:
        outputs = layer(outputs)
    other = models.Model(inputs, outputs)
    other.compile("sgd", "mse")
    return other


@pytest.mark.parametrize("shares", ["all", "layers", "inside"])
@pytest.mark.parametrize("way", INFERENCE)
def test_inference_beside_a_training(way, shares):
    model = with_witness()
    other = {
        "all": lambda: model,
        "layers": lambda: sharing(model),
        "inside": lambda: with_witness(),
    }[shares]()
    if shares == "inside":
        other = models.Sequential([layers.Input((3,)), model])
        other.compile("sgd", "mse")
    if shares == "all" and "predict" not in way:
        other = sharing(model)  # the sums of one model are for one thread
    witness = model.layers[0]
    with beside(model.fit, X, Y, 2, epochs=6, verbose=0) as thread:
        while thread.is_alive():
            INFERENCE[way](other)
            time.sleep(0.001)
    assert witness.of_this_thread() == {False}
    assert witness.of(thread.ident) == {True}
    assert not any(module.training for module in model.modules())


def test_a_training_that_begins_within_a_prediction():
    model = with_witness()
    witness = model.layers[0]
    model.train()
    begun = threading.Event()

    def batches():
        for number in range(40):
            yield X[:2]
            if number == 2:
                begun.set()

    with beside(model.predict, batches(), verbose=0, steps=40) as thread:
        begun.wait()
        model.fit(X, Y, 2, epochs=2, verbose=0)
    assert witness.of(thread.ident) == {False}
    assert witness.of_this_thread() == {True}


def test_a_prediction_beside_a_training_with_validation():
    model = with_witness()
    with beside(
        model.fit, X, Y, 4, epochs=8, verbose=0, validation_data=(X, Y)
    ) as thread:
        while thread.is_alive():
            model.predict(X, 4, verbose=0)
    assert model.layers[0].of_this_thread() == {False}
    modes = [m for m in model.layers[0].seen[thread.ident] if len(m) > 1]
    assert not modes


def test_trainings_of_models_that_share_layers():
    """One ends, and validates, while the other goes on."""
    shared = with_witness()
    shared.trainable = False

    def around():
        model = models.Sequential([layers.Input((3,)), shared, layers.Dense(2)])
        model.compile("sgd", "mse")
        return model

    first, second = around(), around()
    witness = shared.layers[0]
    with beside(first.fit, X, Y, 2, epochs=6, verbose=0) as thread:
        while thread.is_alive():
            second.fit(X, Y, 8, verbose=0)
            second.train_on_batch(X, Y)
            second.evaluate(X, Y, verbose=0)
    assert witness.of(thread.ident) == {True}
    assert not any(module.training for module in first.modules())


def test_predictions_of_several_threads():
    model = with_witness()
    model.train()
    with beside(model.predict, X, 1, verbose=0) as thread:
        for _ in range(4):
            model.predict(X, 4, verbose=0)
    witness = model.layers[0]
    assert witness.of(thread.ident) == witness.of_this_thread() == {False}
    assert all(module.training for module in model.modules())


def test_an_exception_gives_the_mode_back():
    model = with_witness()
    model.train()
    with pytest.raises(ValueError, match="expected"):
        model.predict(np.ones((2, 7)), verbose=0)
    assert all(module.training for module in model.modules())


def test_layers_keep_a_mode_of_their_own_over_a_prediction():
    model = with_witness()
    model.train()
    model.layers[0].inner.eval()
    model.predict(X, verbose=0)
    assert model.training
    assert model.layers[0].training
    assert not model.layers[0].inner.training


def test_layers_made_within_a_prediction_have_the_mode_of_the_model():
    model = models.Sequential([layers.Dense(2), layers.BatchNormalization()])
    model.train()
    model.predict(X, verbose=0)
    assert all(module.training for module in model.modules())


# The sums


@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_a_model_is_trained_or_evaluated_by_one_thread(way):
    model = with_witness()
    begun, end = threading.Event(), threading.Event()

    wait = LambdaCallback(on_train_batch_end=lambda *_: (begun.set(), end.wait()))
    with beside(model.fit, X, Y, callbacks=[wait], verbose=0):
        begun.wait()
        before = model.get_weights()
        verbose = {} if "batch" in way else {"verbose": 0}
        with pytest.raises(RuntimeError, match=f"{way}: .*by another thread"):
            getattr(model, way)(X, Y, **verbose)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        end.set()
    model.evaluate(X, Y, verbose=0)


def test_a_callback_may_evaluate():
    model = with_witness()
    called = LambdaCallback(
        on_epoch_end=lambda *_: model.evaluate(X, Y, verbose=0),
        on_train_batch_end=lambda *_: model.predict(X, verbose=0),
    )
    model.fit(X, Y, 4, epochs=2, callbacks=[called], verbose=0)


# Turns


def test_who_is_alone_waits_for_steps_and_they_for_it():
    order, inside = [], threading.Event()

    def step():
        with turns.own().step:
            inside.set()
            time.sleep(0.05)
            order.append("step")

    with beside(step):
        inside.wait()
        turns.alone(order.append, "alone")
    assert order == ["step", "alone"]
    held, begun = threading.Event(), threading.Event()

    def be_alone():
        held.set()
        begun.wait()
        time.sleep(0.02)
        order.append("alone")

    def late():
        begun.set()
        with turns.own().step:
            order.append("step")

    with beside(turns.alone, be_alone):
        held.wait()
        with beside(late):
            pass
    assert order == ["step", "alone", "alone", "step"]


def test_an_error_leaves_nothing_locked():
    def fail():
        raise KeyboardInterrupt

    def with_step():
        with turns.own().step:
            pass

    held = turns.own().step
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), held, held:
            turns.alone(turns.alone, fail)
        with beside(turns.alone, lambda: None):
            pass
        with beside(with_step):
            pass


def test_steps_of_several_threads_run_side_by_side():
    barrier = threading.Barrier(2, timeout=30)

    def step():
        with turns.own().step:
            barrier.wait()

    with beside(step):
        step()
