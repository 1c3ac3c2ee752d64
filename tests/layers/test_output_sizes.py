"""Rules for the sizes of outputs: they say what a run of the layer would give."""

import contextlib
import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import torchkeras
from tests.layers.cases import CASES, VARIATIONS
from torchkeras import layers, tree
from torchkeras._core.symbolic import KerasTensor, infer_outputs
from torchkeras.layers.shapes import ruled_outputs

#: Families of layers that models have many of: these must have a rule.
WITH = re.compile(
    "Activation|Dense|Embedding|Flatten|Reshape|Permute|RepeatVector|Masking|Rescaling|"
    "((Depthwise|Separable)?Conv|(Global)?(Average|Max)Pooling)[123]D(Transpose)?|"
    "(Zero|Adaptive|UpSampling).*|.*Normalization|.*Dropout|GaussianNoise|.*LU|Softmax"
)
#: What `adapt` learned decides of these.
WITHOUT = {"Normalization"}


nothing = contextlib.nullcontext()


def described(structure):
    return [(t.shape, t.dtype, t.sizes) for t in tree.flatten(structure)]


def unknown_axes(case):
    """Yield inputs of the case, with more and more unknown axes."""
    shape = case.input
    for axes in ((), (0,), (0, 1), range(len(shape) - 1), (0, len(shape) - 1)):
        sizes = [None if axis in axes else size for axis, size in enumerate(shape)]
        yield KerasTensor(sizes, "int32" if case.high is not None else "float32")


ROWS = [
    case
    for case in [*CASES, *VARIATIONS]
    if not isinstance(case.input, list) and case.layer is not layers.InputLayer
]


@pytest.mark.parametrize("policy", ["float32", "float16", "mixed_bfloat16"])
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_rules_give_what_a_run_gives(case, policy):
    if "policy" in case.skip and policy != "float32":
        return
    layer = case.build(**({} if "policy" in case.skip else {"dtype": policy}))
    for number, x in enumerate(unknown_axes(case)):
        ruled = ruled_outputs(layer, (x,), {})
        if ruled is None:
            continue
        # A size that stands for an unknown one need not fit the weights.
        fits = contextlib.suppress(ValueError, RuntimeError) if number > 1 else nothing
        with fits:
            inferred = infer_outputs(layer, (x,), {})
            assert described(ruled) == described(inferred)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_layers_that_models_have_many_of_have_a_rule(case):
    name = case.layer.__name__
    if WITH.fullmatch(name) and name not in WITHOUT:
        x = next(itertools.islice(unknown_axes(case), 1, None))
        assert ruled_outputs(case.build(), (x,), {}) is not None


class Doubled(layers.Dense):
    def call(self, inputs):
        return torch.cat([super().call(inputs)] * 2, -1)


def widened(layer):
    layer.linear.register_forward_hook(lambda module, args, y: torch.cat([y, y], -1))


def with_another_module(layer):
    layer.linear = nn.Sequential(layer.linear, nn.Linear(5, 10))


def with_another_activation(layer):
    layer.activation = lambda x: torch.cat([x, x], -1)


@pytest.mark.parametrize(
    "change", [widened, with_another_module, with_another_activation]
)
def test_what_changes_the_outputs_of_a_layer_is_seen(change):
    layer = layers.Dense(5)
    layer(torch.ones(2, 3))
    assert layer(torchkeras.Input((3,))).shape == (None, 5)
    change(layer)
    assert layer(torchkeras.Input((3,))).shape == (None, 10)
    assert layer(torch.ones(2, 3)).shape == (2, 10)


def test_a_call_of_ones_own_has_no_rule():
    assert Doubled(5)(torchkeras.Input((3,))).shape == (None, 10)


def test_hooks_of_all_modules_see_symbolic_calls():
    seen = []
    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: seen.append(type(module).__name__)
    )
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(handle.remove)
        layers.Dense(5)(torchkeras.Input((3,)))
    assert "Linear" in seen


def test_parametrized_weights_keep_the_sizes():
    layer = layers.Dense(5)
    layer(torch.ones(2, 3))
    parametrizations.weight_norm(layer.linear)
    assert layer(torchkeras.Input((3,))).shape == (None, 5)


X = KerasTensor((None, None, 4))
Y = KerasTensor((None, None, 4))
WHOLE = KerasTensor((None, None, 4), "int32")


@pytest.mark.parametrize(
    "made",
    [X + Y, X - 1, 2.0 * X, X / Y, 3 / X, X + torch.ones(4), WHOLE / 2, WHOLE + X],
    ids="X+Y X-1 2*X X/Y 3/X X+ones I/2 I+X".split(),
)
def test_operators_on_what_is_alike_give_what_a_run_gives(made):
    args = tuple(x + 0 if isinstance(x, KerasTensor) else x for x in made.history.args)
    run = infer_outputs(lambda a, b: made.history.op(a, b), args, {})
    assert described(made) == described(run)


class Inferring(nn.Linear):
    def infer(self, x):
        raise AssertionError("no business of symbolic calls")


def test_a_method_named_infer_is_left_alone():
    assert Inferring(3, 5)(torchkeras.Input((3,))).shape == (None, 5)


def halved(x):
    return layers.Conv1D(8, 3, strides=2, padding="same")(x)


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(8, return_sequences=True),
        layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        layers.MaxPooling1D(1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_an_unknown_axis_stays_the_same_through_layers(layer):
    x: Any = halved(torchkeras.Input((None, 8)))
    merged = layers.Concatenate()([x + layer(x), layers.Add()([x, x]) * x])
    model = torchkeras.Model(x.history.inputs, merged)
    assert model.output_shape == (None, None, 16)
    assert model(np.ones((2, 10, 8), "float32")).shape == (2, 5, 16)
