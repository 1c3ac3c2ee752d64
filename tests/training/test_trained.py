"""What `fit` trains: what `parameters()` says, by every kind of optimizer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from torchkeras import layers, optimizers
from torchkeras.callbacks import LambdaCallback
from torchkeras.models import Model, Sequential


def data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(16, 4)).astype("float32")
    return x, draw.normal(size=(16, 1)).astype("float32")


def make(**options: Any) -> Sequential:
    hidden = layers.Dense(8, activation="tanh", **options)
    return Sequential([layers.Input((4,)), hidden, layers.Dense(1)])


def linear(model: Sequential) -> Any:
    return model.layers[0].linear


class Adapter(nn.Module):
    """A module of low rank beside a frozen one."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.full((2, base.in_features), 0.1))
        self.up = nn.Parameter(torch.full((base.out_features, 2), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


class Shifted(nn.Module):
    """A module with a parameter of its own, as a parametrization."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.shift


def replace(model: Sequential) -> None:
    model.layers[0].linear = nn.Linear(4, 8)


def adapt(model: Sequential) -> None:
    model.layers[0].linear = Adapter(linear(model))


def scale(model: Sequential) -> None:
    inner = linear(model)
    inner.gain = nn.Parameter(torch.ones(8))
    inner.register_forward_hook(lambda module, args, output: output * module.gain)


CHANGES: dict[str, Callable[[Sequential], Any]] = {
    "weight_norm": lambda m: parametrizations.weight_norm(linear(m)),
    "spectral_norm": lambda m: parametrizations.spectral_norm(linear(m)),
    "orthogonal": lambda m: parametrizations.orthogonal(linear(m)),
    "parametrize": lambda m: parametrize.register_parametrization(
        linear(m), "weight", Doubled()
    ),
    "parametrize with a parameter": lambda m: parametrize.register_parametrization(
        linear(m), "weight", Shifted()
    ),
    "prune": lambda m: prune.l1_unstructured(linear(m), "weight", 0.5),
    "prune the bias": lambda m: prune.random_unstructured(linear(m), "bias", 0.5),
    "an adapter": adapt,
    "another module": replace,
    "a parameter more": scale,
    "frozen by torch": lambda m: linear(m).requires_grad_(False),
    "frozen by Keras": lambda m: setattr(m.layers[0], "trainable", False),
    "nothing": lambda m: None,
}
OPTIMIZERS: dict[str, Callable[[Model], Any]] = {
    "a name": lambda m: "adam",
    "sgd": lambda m: optimizers.SGD(0.1, momentum=0.9),
    "decay": lambda m: optimizers.AdamW(0.1, weight_decay=0.1),
    "clipping": lambda m: optimizers.Adam(0.1, global_clipnorm=1.0, use_ema=True),
    "accumulation": lambda m: optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "a class": lambda m: torch.optim.AdamW,
    "an instance": lambda m: torch.optim.SGD(
        [p for p in m.parameters() if p.requires_grad], lr=0.1
    ),
}


def changed(model: Model, train: Callable[[], Any]) -> dict[str, bool]:
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    train()
    return {k: not torch.equal(p, before[k]) for k, p in model.named_parameters()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("change", CHANGES)
def test_all_that_parameters_says_is_trained(change: str, optimizer: str) -> None:
    model = make()
    CHANGES[change](model)
    model.compile(OPTIMIZERS[optimizer](model), "mse")
    trained = {k: p.requires_grad for k, p in model.named_parameters()}
    moved = changed(model, lambda: model.fit(*data(), batch_size=4, verbose=0))
    assert moved == trained
    moved = changed(model, lambda: model.fit(*data(), batch_size=4, verbose=0))
    assert moved == trained


@pytest.mark.parametrize("change", CHANGES)
def test_the_loop_is_torch_s(change: str) -> None:
    models = [make(), make()]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        torch.manual_seed(0)
        CHANGES[change](model)
    models[1].load_state_dict(models[0].state_dict())
    models[0].compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    models[0].fit(*data(), shuffle=False, epochs=3, batch_size=16, verbose=0)
    sgd = torch.optim.SGD(models[1].parameters(), lr=0.1, momentum=0.9)
    x, y = map(torch.from_numpy, data())
    models[1].train()
    for _ in range(3):
        sgd.zero_grad()
        nn.functional.mse_loss(models[1](x), y).backward()
        sgd.step()
    for (key, one), other in zip(
        models[0].named_parameters(), models[1].parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("change", ["weight_norm", "prune"])
def test_a_constraint_on_a_computed_weight_is_refused(change: str) -> None:
    model = make(kernel_constraint="non_neg")
    CHANGES[change](model)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="/kernel has a constraint and is computed"):
        model.fit(*data(), verbose=0)


# Freezing and thawing


FREEZING: dict[str, Callable[[Any, bool], Any]] = {
    "Keras": lambda layer, on: setattr(layer, "trainable", on),
    "torch": lambda layer, on: layer.requires_grad_(on),
    "a module": lambda layer, on: layer.linear.requires_grad_(on),
    "each parameter": lambda layer, on: [
        p.requires_grad_(on) for p in layer.parameters()
    ],
}


@pytest.mark.parametrize("way", FREEZING)
def test_freezing_holds_from_the_next_fit_on(way: str) -> None:
    model = make()
    model.compile("sgd", "mse")
    set_trained = FREEZING[way]
    first = {"dense.linear.weight", "dense.linear.bias"}
    names = {k: k.split(".", 1)[1] for k, _ in model.named_parameters()}
    assert len(names) == len(first) * 2
    for state in (True, False, True):
        set_trained(model.layers[0], state)
        moved = changed(model, lambda: model.fit(*data(), verbose=0))
        assert list(moved.values()) == [state, state, True, True]


@pytest.mark.parametrize("way", FREEZING)
def test_thawing_after_steps_needs_a_new_optimizer(way: str) -> None:
    model = make()
    FREEZING[way](model.layers[0], False)
    model.compile("sgd", "mse")
    model.fit(*data(), verbose=0)
    FREEZING[way](model.layers[0], True)

    def refused() -> None:
        with pytest.raises(
            ValueError, match=r"built over other weights than .*`compile` ag"
        ):
            model.fit(*data(), verbose=0)

    assert not any(changed(model, refused).values())
    model.compile("sgd", "mse")
    assert all(changed(model, lambda: model.fit(*data(), verbose=0)).values())


def test_thawing_before_the_first_step_binds_anew() -> None:
    model = make()
    model.layers[0].trainable = False
    model.compile(optimizers.Adam(0.5), "mse")
    model.evaluate(*data(), verbose=0)
    assert model.optimizer.built
    model.layers[0].trainable = True
    assert all(changed(model, lambda: model.fit(*data(), verbose=0)).values())
    assert float(model.optimizer.learning_rate) == 0.5


def test_thawing_within_a_training_is_refused() -> None:
    model = make()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")

    def thaw(epoch: int, logs: Any) -> None:
        model.layers[0].trainable = epoch > 0

    with pytest.raises(ValueError, match="built over other weights"):
        model.fit(
            *data(),
            epochs=3,
            verbose=0,
            callbacks=[LambdaCallback(on_epoch_begin=thaw)],
        )


# Layers that are built late


class Half(Model):
    """A model of which a part is built on its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(3), layers.Dense(1)
        self.first.build((None, 4))

    def call(self, x: Any) -> Any:
        return self.last(self.first(x))


class BuiltByHalf(Half):
    def build(self, input_shape: Any) -> None:
        self.built = True


class OnlyInTraining(Model):
    """A model with a layer that is called in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.extra = layers.Dense(1), layers.Dense(1)
        self.norm = layers.BatchNormalization()

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.norm(x)
        return self.first(x) + self.extra(x) if training else self.first(x)


class Later(Model):
    """A model that calls a layer from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.late = layers.Dense(1), layers.Dense(1)
        self.calls = 0

    def call(self, x: Any) -> Any:
        self.calls += 1
        return self.first(x) + self.late(x) if self.calls > 4 else self.first(x)


@pytest.mark.parametrize("make", [Half, BuiltByHalf, OnlyInTraining])
def test_layers_are_built_before_the_optimizer_binds(make: Callable[[], Model]) -> None:
    model = make()
    model.compile("adam", "mse")
    model.fit(*data(), batch_size=16, verbose=0)
    assert all(m.built for m in model.modules() if isinstance(m, layers.Layer))
    assert len(model.optimizer.parameters) == len(list(model.parameters()))
    assert all(changed(model, lambda: model.fit(*data(), verbose=0)).values())


def test_building_in_training_leaves_no_trace() -> None:
    model = OnlyInTraining()
    model.compile("adam", "mse")
    model.evaluate(*data(), verbose=0)
    assert model.extra.built
    assert model.norm.moving_mean.numpy().tolist() == [0.0] * 4


def test_a_layer_that_is_built_within_an_epoch_is_refused() -> None:
    model = Later()
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"other weights than dense_?\d*/"):
        model.fit(*data(), batch_size=4, epochs=2, verbose=0)


@pytest.mark.parametrize("make", [Half, BuiltByHalf])
def test_an_optimizer_made_before_all_weights_were_is_refused(make: Any) -> None:
    model = make()
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    before = model.first.get_weights()
    with pytest.raises(
        ValueError, match=r"SGD given was made before .*2 weight\(s\) \("
    ):
        model.fit(*data(), verbose=0)
    for old, new in zip(before, model.first.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    assert all(changed(model, lambda: model.fit(*data(), verbose=0)).values())


def test_an_optimizer_over_a_part_of_the_model_says_so() -> None:
    model = make()
    head = torch.optim.SGD(model.layers[1].parameters(), lr=0.1)
    model.compile(head, "mse")
    with pytest.warns(
        UserWarning, match=r"does not train 2 weight\(s\) \(.*Freeze them"
    ):
        model.fit(*data(), verbose=0)
    moved = changed(model, lambda: model.fit(*data(), verbose=0))
    assert list(moved.values()) == [False, False, True, True]
    model.layers[0].trainable = False
    model.compile(head, "mse")
    model.fit(*data(), verbose=0)


@pytest.mark.parametrize("train", ["fit", "train_on_batch"])
def test_only_training_warns_that_nothing_is_trained(train: str) -> None:
    model = make()
    model.trainable = False
    model.compile("sgd", "mse")
    x, y = data()
    model.evaluate(x, y, verbose=0)
    model.test_on_batch(x, y)
    for _ in range(2):
        with pytest.warns(UserWarning, match="has no trainable weights") as told:
            getattr(model, train)(x, y)
        assert [warning.filename for warning in told] == [__file__]
        getattr(model, train)(x, y)  # once is enough
        model.compile("sgd", "mse")


# `compute_loss` of one's own


class WithoutTraining(Sequential):
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        return (y - y_pred).abs().mean()


class WithTraining(Sequential):
    def compute_loss(self, x, y, y_pred, sample_weight, training):
        self.modes = {*getattr(self, "modes", ()), training}
        return (y - y_pred).abs().mean()


class WithKeywords(Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
        self.modes = {*getattr(self, "modes", ()), kwargs["training"]}
        return super().compute_loss(x, y, y_pred, sample_weight, **kwargs)


@pytest.mark.parametrize("cls", [WithoutTraining, WithTraining, WithKeywords])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on import
@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_compute_loss_with_and_without_the_mode(cls, jit_compile) -> None:
    model = cls([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mae", jit_compile=jit_compile)
    x, y = data()
    history = model.fit(x, y, validation_data=(x, y), verbose=0)
    assert history.history.keys() == {"loss", "val_loss"}
    model.train_on_batch(x, y)
    error = np.abs(model.predict(x, verbose=0) - y).mean()
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), error, rtol=1e-5)
    if cls is not WithoutTraining:
        assert model.modes == {False, True}
