"""Attributes and methods of layers that scripts written for Keras use."""

import inspect
import re
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
from tests.layers.cases import CASES, TENSORFLOW, Case
from torchkeras import layers

#: Layers without some of their weights, and the names of these, which are None.
LEFT_OUT = [
    (lambda k: k.layers.Dense(2, use_bias=False), (2, 4), ["bias"]),
    (lambda k: k.layers.Conv1D(2, 2, use_bias=False), (2, 5, 3), ["bias"]),
    (lambda k: k.layers.Conv2D(2, 2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.Conv3D(2, 2, use_bias=False), (2, 3, 3, 3, 3), ["bias"]),
    (lambda k: k.layers.Conv2DTranspose(2, 2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.DepthwiseConv2D(2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.SeparableConv2D(2, 2, use_bias=False), (2, 5, 5, 3), ["bias"]),
    (lambda k: k.layers.EinsumDense("ab,bc->ac", 2), (2, 4), ["bias"]),
    (
        lambda k: k.layers.BatchNormalization(scale=False, center=False),
        (2, 4),
        ["gamma", "beta"],
    ),
    (
        lambda k: k.layers.LayerNormalization(scale=False, center=False),
        (2, 4),
        ["gamma", "beta"],
    ),
    (
        lambda k: k.layers.GroupNormalization(2, scale=False, center=False),
        (2, 4),
        ["gamma", "beta"],
    ),
    (lambda k: k.layers.LSTMCell(2, use_bias=False), None, ["bias"]),
    (lambda k: k.layers.GRUCell(2, use_bias=False), None, ["bias"]),
    (lambda k: k.layers.SimpleRNNCell(2, use_bias=False), None, ["bias"]),
]


@pytest.mark.parametrize("row", range(len(LEFT_OUT)))
def test_weights_that_options_leave_out_are_none(row: int) -> None:
    make, shape, names = LEFT_OUT[row]
    for k in (keras, torchkeras):
        layer = make(k)
        layer.build(shape or (2, 4))
        assert [getattr(layer, name) for name in names] == [None] * len(names)


def test_attention_without_its_weights() -> None:
    for layer in (layers.Attention(), layers.AdditiveAttention(use_scale=False)):
        layer([torch.ones(2, 3, 4)] * 2)
        assert layer.scale is None


@pytest.mark.parametrize("early", [None, 0, [], "text"])
def test_a_weight_takes_the_place_of_what_stood_there(early: Any) -> None:
    class Late(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.kernel: Any = early
            self.steps: Any = early

        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight((3,), "ones", name="kernel")
            self.steps = self.add_weight((), "zeros", trainable=False, name="steps")

        def call(self, inputs: Any) -> Any:
            return inputs * self.kernel + self.steps

    layer = Late()
    assert torch.equal(layer(torch.ones(2, 3)), torch.ones(2, 3))
    assert list(layer.state_dict()) == ["kernel", "steps"]


def test_a_weight_that_is_shown_is_returned_and_an_attribute() -> None:
    class Shown(layers.Layer):
        def __init__(self, kernel_initializer: Any = "ones") -> None:
            super().__init__()
            self.keep_weight_options(locals(), "kernel")

        def build(self, input_shape: Any) -> None:
            self.inner = torch.nn.Linear(input_shape[-1], 2)
            self.seen = self.show_weight("kernel", self.inner, "weight")

    layer = Shown()
    layer.build((None, 3))
    assert layer.seen is layer.kernel
    assert layer.kernel in layer.weights
    assert layer.kernel.path == f"{layer.name}/kernel"
    assert (layer.inner.weight == 1).all()


def test_add_weight_in_the_order_of_keras_2() -> None:
    layer = layers.Layer()
    named = layer.add_weight("kernel", shape=(3,), initializer="ones")
    placed = layer.add_weight("gain", (2,), "float64", "zeros", None, False)
    assert (named.name, tuple(named.shape), named.trainable) == ("kernel", (3,), True)
    assert (placed.name, placed.dtype, placed.trainable) == (
        "gain",
        torch.float64,
        False,
    )
    with pytest.raises(TypeError, match=r"add_weight.*Pass them by name"):
        layer.add_weight("kernel", name="gain")


OPTIONS = [
    {},
    {"padding": "same", "strides": 2, "activation": "relu"},
    {"data_format": "channels_first", "use_bias": False},
    {"dilation_rate": 2},
    {"groups": 3, "filters": 6},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_op_can_be_used_and_overridden(
    rank: int, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    base = getattr(layers, f"Conv{rank}D")

    class Doubled(base):
        def convolution_op(self, inputs: Any, kernel: Any) -> Any:
            return super().convolution_op(inputs, kernel * 2)

    kwargs = {"filters": 3, "kernel_size": 2, **options}
    plain, doubled = base(**kwargs), Doubled(**kwargs)
    size = (2, *[6] * rank, 3)
    x = (
        torch.randn(size).movedim(-1, 1)
        if "data_format" in options
        else torch.randn(size)
    )
    expected = plain(x)
    doubled(x)
    kernel, *bias = plain.get_weights()
    doubled.set_weights([kernel / 2, *bias])
    torch.testing.assert_close(doubled(x), expected)


def test_causal_convolution_op() -> None:
    layer, x = layers.Conv1D(3, 2, padding="causal"), torch.randn(2, 6, 3)
    outputs = layer(x)
    assert layer.bias is not None
    alone = layer.convolution_op(x, layer.kernel.value) + layer.bias.value
    torch.testing.assert_close(alone, outputs)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_added_losses_are_summed(shape: tuple[int, ...]) -> None:
    found = []
    for k in (keras, torchkeras):

        class Adds(k.layers.Layer):
            def call(self, inputs: Any) -> Any:
                self.add_loss(torch.full(shape, 0.5))
                return inputs

        dense = k.layers.Dense(4, kernel_initializer="ones")
        model = k.Sequential([k.layers.Input((4,)), Adds(), dense])
        model.compile("sgd", "mse")
        found.append(model.evaluate(np.ones((3, 4)), np.ones((3, 4)), verbose=0))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_the_policy_can_be_set_by_name() -> None:
    layer = layers.Dense(2)
    layer(torch.ones(2, 3))
    layer.dtype_policy = "float64"
    assert layer(torch.ones(2, 3)).dtype == layer.linear.weight.dtype == torch.float64
    layer.dtype_policy = "mixed_bfloat16"
    assert layer(torch.ones(2, 3)).dtype == torch.bfloat16
    assert layer.linear.weight.dtype == torch.float32
    with pytest.raises(ValueError, match=re.escape("'float31'")):
        layer.dtype_policy = "float31"


def theirs_of(case: Case) -> Any:
    """Return Keras's layer of a case, None where Keras has none such."""
    made = getattr(keras.layers, case.layer.__name__, None)
    holds = any(isinstance(v, torch.nn.Module) for v in case.kwargs.values())
    if made is None or holds or case.differs == TENSORFLOW["differs"]:
        return None
    return made(**case.kwargs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layers_without_weights_are_built_from_the_start(case: Case) -> None:
    layer = case.make()
    if (theirs := theirs_of(case)) is not None and theirs.built:
        assert layer.built
    if not layer.built:
        with pytest.raises(ValueError, match="no weights yet"):
            layer.count_params()
        return
    count = layer.count_params()
    case.run(layer, case.data())
    assert layer.built
    assert layer.count_params() == count


class Held(layers.Layer):
    """Holds a layer or torch module, and writes no `build`."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs)


@pytest.mark.parametrize(
    ("inner", "built"),
    [
        (lambda: torch.nn.Linear(3, 2), True),
        (lambda: layers.ReLU(), True),
        (lambda: torch.nn.LazyLinear(2), False),
        (lambda: layers.Dense(2), False),
        (lambda: Held(layers.Dense(2)), False),
        (lambda: torchkeras.Sequential([layers.ReLU()]), False),
    ],
)
def test_layers_that_hold_others_are_built_when_these_are(
    inner: Any, built: bool
) -> None:
    layer = Held(inner())
    assert layer.built == built
    layer(torch.ones(2, 3))
    assert layer.built


def test_a_build_written_later_is_waited_for() -> None:
    class Scaled(layers.MaxPooling1D):
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.scale = self.add_weight(shape=(input_shape[-1],), name="scale")

    layer = Scaled()
    assert not layer.built
    layer(torch.ones(2, 4, 3))
    assert layer.built
    assert layer.count_params() == 3
    assert not torchkeras.Sequential().built
    assert not torchkeras.Sequential([layers.ReLU()]).built


@pytest.mark.parametrize("policy", ["float64", "bfloat16"])
def test_a_layer_built_from_the_start_takes_a_policy(policy: str) -> None:
    layer = layers.ReLU()
    layer.dtype_policy = policy
    for _ in range(2):
        assert layer(torch.ones(2, 3)).dtype == getattr(torch, policy)


def undeclared(layer: layers.Layer) -> set[str]:
    """What a layer holds that neither a class body nor a constructor names."""
    named = set(vars(torch.nn.Module()))
    for cls in type(layer).__mro__:
        named |= {*vars(cls), *vars(cls).get("__annotations__", {})}
        if cls.__module__.startswith("torchkeras."):
            named |= inspect.signature(cls.__init__).parameters.keys()
    return vars(layer).keys() - named


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_a_layer_holds_is_declared(case: Case) -> None:
    layer = case.make()
    assert undeclared(layer) == set()
    case.run(layer, case.data())
    for inner in layer.modules():
        if isinstance(inner, layers.Layer):
            assert undeclared(inner) == set()


def test_what_a_call_on_an_input_leaves_is_declared() -> None:
    layer = layers.Dense(2)
    layer(keras_input := torchkeras.Input((3,)))
    assert layer.input is keras_input
    assert undeclared(layer) == set()
    assert undeclared(layers.Layer()) == set()


@pytest.mark.parametrize("library", [keras, torchkeras], ids=["keras", "ours"])
def test_the_config_below_one_of_ones_own_is_that_of_the_built_in_class(
    library,
) -> None:
    class Eight(library.layers.Dense):
        def __init__(self, factor: float = 2.0, **options: Any) -> None:
            super().__init__(8, activation="relu", **options)
            self.factor = factor

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "factor": self.factor}

    config = Eight(3.0, use_bias=False, name="own").get_config()
    expected = {"units": 8, "activation": "relu", "use_bias": False, "factor": 3.0}
    assert {**config, **expected, "name": "own"} == config


X = torch.ones(2, 5, 4)
#: Layers and the arguments of a call of them.
BUILT: list[tuple[Any, tuple[Any, ...]]] = [
    (lambda: layers.Dense(3), (X,)),
    (lambda: layers.LSTM(3), (X,)),
    (lambda: layers.Bidirectional(layers.GRU(2)), (X,)),
    (lambda: layers.TimeDistributed(layers.Dense(2)), (X,)),
    (lambda: layers.MultiHeadAttention(2, 3), (X, X)),
    (lambda: layers.AdditiveAttention(), ([X, X],)),
    (lambda: layers.BatchNormalization(), (X,)),
]


@pytest.mark.parametrize("row", range(len(BUILT)))
def test_a_layer_is_built_from_what_another_was_built_from(row: int) -> None:
    make, inputs = BUILT[row]
    layer, twin = make(), make()
    twin.build_from_config(dict.fromkeys(layer.get_build_config() or {"input_shape"}))
    assert not twin.built  # there is nothing known to build from
    layer(*inputs)
    twin.build_from_config(layer.get_build_config())
    assert twin.built
    assert twin.get_build_config() == layer.get_build_config()
    weights = [(w.name, w.shape) for w in twin.weights]
    assert weights == [(w.name, w.shape) for w in layer.weights] != []
    kept = list(map(id, twin.weights))
    twin.build_from_config(layer.get_build_config())
    assert list(map(id, twin.weights)) == kept
