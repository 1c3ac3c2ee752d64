"""An error for want of memory says where, and a smaller batch goes on."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from torchkeras import Input, callbacks, layers
from torchkeras.models import Model, Sequential

X = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
Y = X[:, :2] * 2 + 1
#: Where memory runs out: in the pass forward, or the one backward.
PASSES = ("forward", "backward")


class Limited(torch.autograd.Function):
    """The identity, with memory for so many samples."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, limits: dict[str, int]) -> torch.Tensor:
        ctx.limits = limits
        require(limits["forward"], x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        require(ctx.limits["backward"], gradients[0])
        return gradients[0], None


def require(limit: int, x: torch.Tensor) -> None:
    if x.device.type != "meta" and len(x) > limit:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.")


class Boom(layers.Layer):
    """Has memory for four samples in one of the passes."""

    def __init__(self, fails: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limits = dict.fromkeys(PASSES, 1000) | {fails: 4}

    def call(self, inputs):
        return Limited.apply(inputs, self.limits)


class BoomDense(layers.Dense):
    """The same with weights."""

    def __init__(self, units: int, fails: str, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.limits = dict.fromkeys(PASSES, 1000) | {fails: 4}

    def call(self, inputs):
        return super().call(Limited.apply(inputs, self.limits))


def boom(kind: str, fails: str) -> layers.Layer:
    if kind == "weights":
        return BoomDense(3, fails, name="boom")
    return Boom(fails, name="boom")


def stack(kind: str, fails: str) -> list[layers.Layer]:
    return [
        layers.Dense(3, name="d1"),
        layers.BatchNormalization(name="norm"),
        boom(kind, fails),
        layers.Dense(2, name="d2"),
    ]


def sequential(kind: str, fails: str) -> Model:
    return Sequential([layers.Input((4,)), *stack(kind, fails)])


def functional(kind: str, fails: str) -> Model:
    outputs = inputs = Input((4,))
    for layer in stack(kind, fails):
        outputs = layer(outputs)
    return Model(inputs, outputs)


def subclassed(kind: str, fails: str) -> Model:
    class Own(Model):
        def __init__(self) -> None:
            super().__init__()
            self.stack = stack(kind, fails)

        def call(self, inputs):
            for layer in self.stack:
                inputs = layer(inputs)
            return inputs

    model = Own()
    model(torch.zeros(1, 4))
    return model


MODELS = {f.__name__: f for f in (sequential, functional, subclassed)}


def state(model: Model) -> list[np.ndarray]:
    return [w.copy() for w in model.get_weights()]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("kind", ["weights", "no weights"])
@pytest.mark.parametrize("fails", PASSES)
@pytest.mark.parametrize("make", MODELS)
def test_it_names_the_layer_and_a_smaller_batch_goes_on(  # A31
    make: str, fails: str, kind: str, optimizer: str
) -> None:
    model, twin = (MODELS[make](kind, fails) for _ in range(2))
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.compile(optimizer, "mse")
        each.fit(X[:4], Y[:4], shuffle=False, verbose=0)
    complete = state(model)
    with pytest.raises(torch.OutOfMemoryError, match="80 GiB") as caught:
        model.fit(X, Y, batch_size=10, verbose=0)
    notes = "\n".join(caught.value.__notes__)
    assert f"Raised {'' if fails == 'forward' else 'in the backward pass, '}by" in notes
    assert "'boom'" in notes
    assert "'d1'" not in notes
    assert ("'d2'" in notes) == (fails == "backward" and kind == "no weights")
    assert "The batch has 10 samples: use a smaller `batch_size`." in notes
    trained = [w in model.trainable_weights for w in model.weights]
    pairs = zip(state(model), complete, strict=True)
    for now, before in itertools.compress(pairs, trained):
        np.testing.assert_array_equal(now, before)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    model.set_weights(complete)  # the averages of batch normalization went on
    for each in (model, twin):
        each.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for now, expected in zip(state(model), state(twin), strict=True):
        np.testing.assert_array_equal(now, expected)


@pytest.mark.parametrize("fails", PASSES)
def test_a_batch_alone_is_told_of_too(fails: str) -> None:
    model = sequential("weights", fails)
    model.compile("sgd", "mse")
    with pytest.raises(torch.OutOfMemoryError, match=r"'boom'(.|\n)*has 10 samples"):
        model.train_on_batch(X, Y)


def test_memory_of_the_optimizer() -> None:
    model = sequential("weights", "forward")
    model.compile("adam", "mse")
    before = state(model)

    def fail() -> None:
        raise torch.OutOfMemoryError("no room for the moments")

    model.optimizer.step = fail
    with pytest.raises(torch.OutOfMemoryError, match=r"has 4 samples"):
        model.train_on_batch(X[:4], Y[:4])
    assert all(p.grad is None for p in model.parameters())
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_an_interrupted_step_leaves_no_gradients() -> None:
    """Else the next step would add to them."""
    model, twin = (Sequential([layers.Input((4,)), layers.Dense(2)]) for _ in range(2))
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.compile("sgd", "mse")

    def interrupted() -> None:
        raise KeyboardInterrupt

    model.optimizer.__dict__["step"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, verbose=0)
    del model.optimizer.__dict__["step"]
    for each in (model, twin):
        each.fit(X, Y, shuffle=False, verbose=0)
    for now, expected in zip(state(model), state(twin), strict=True):
        np.testing.assert_array_equal(now, expected)


def test_it_is_told_of_while_others_listen() -> None:
    """A callback sees no end of the step that failed."""
    seen: list[int] = []
    shown = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    model = sequential("no weights", "backward")
    model.compile("sgd", "mse")
    sizes = [4, 4, 10]
    data = ((X[:n], Y[:n]) for n in sizes)
    with pytest.raises(torch.OutOfMemoryError, match="has 10 samples"):
        model.fit(data, callbacks=[shown], verbose=0)
    assert seen == [0, 1]
