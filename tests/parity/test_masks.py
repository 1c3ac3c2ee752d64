"""Masks against Keras's: who makes, passes, merges, uses and ends them."""

import inspect
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import Input, Model, Sequential, layers
from torchkeras._core import tree

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

STEPS, WORDS, PAIR = (3, 5, 4), (3, 5, 6, 4), [(3, 5, 4), (3, 5, 4)]
ATTENDED = [(3, 5, 4), (3, 7, 4)]


def lstm(k, **kwargs):
    return k.LSTM(2, **kwargs)


def cells(k):
    return [k.LSTMCell(3), k.GRUCell(2)]


#: How a layer is made of `keras.layers` or ours, the inputs, and the axes of each that
#: its mask has, the batch included; None for no mask.
ROWS: dict[str, tuple[Any, Any, Any]] = {
    "Embedding": (lambda k: k.Embedding(9, 2, mask_zero=True), (3, 5), None),
    "Embedding-plain": (lambda k: k.Embedding(9, 2), (3, 5), None),
    "ReversibleEmbedding": (
        lambda k: k.ReversibleEmbedding(9, 2, mask_zero=True), (3, 5), None),
    "Masking": (lambda k: k.Masking(), STEPS, None),
    "Masking-again": (lambda k: k.Masking(), STEPS, 2),
    "Identity": (lambda k: k.Identity(), STEPS, 2),
    "Dense": (lambda k: k.Dense(2), STEPS, 2),
    "Dropout": (lambda k: k.Dropout(0.5), STEPS, 2),
    "Activation": (lambda k: k.Activation("tanh"), STEPS, 2),
    "LayerNormalization": (lambda k: k.LayerNormalization(), STEPS, 2),
    "BatchNormalization": (lambda k: k.BatchNormalization(), STEPS, 2),
    "Softmax": (lambda k: k.Softmax(), STEPS, 3),
    "Lambda": (lambda k: k.Lambda(abs, mask=lambda x, mask: ~mask), STEPS, 2),
    "GlobalAveragePooling1D": (lambda k: k.GlobalAveragePooling1D(), STEPS, 2),
    "GlobalAveragePooling1D-keepdims": (
        lambda k: k.GlobalAveragePooling1D(keepdims=True), STEPS, 2),
    "Add": (lambda k: k.Add(), PAIR, [2, 2]),
    "Add-one": (lambda k: k.Add(), PAIR, [2, None]),
    "Subtract": (lambda k: k.Subtract(), PAIR, [2, 2]),
    "Multiply": (lambda k: k.Multiply(), PAIR, [2, 2]),
    "Multiply-one": (lambda k: k.Multiply(), PAIR, [None, 2]),
    "Average": (lambda k: k.Average(), PAIR, [2, 2]),
    "Maximum": (lambda k: k.Maximum(), PAIR, [2, 2]),
    "Minimum": (lambda k: k.Minimum(), PAIR, [2, 2]),
    "Concatenate": (lambda k: k.Concatenate(), PAIR, [2, 2]),
    "Concatenate-one": (lambda k: k.Concatenate(), PAIR, [None, 2]),
    "Concatenate-steps": (lambda k: k.Concatenate(1), ATTENDED, [2, 2]),
    "Concatenate-none": (lambda k: k.Concatenate(), PAIR, [None, None]),
    "Dot": (lambda k: k.Dot(2), ATTENDED, [2, 2]),
    "Attention": (lambda k: k.Attention(), ATTENDED, [2, 2]),
    "Attention-query": (lambda k: k.Attention(), ATTENDED, [2, None]),
    "Attention-value": (lambda k: k.Attention(), ATTENDED, [None, 2]),
    "AdditiveAttention": (lambda k: k.AdditiveAttention(), ATTENDED, [2, 2]),
    "SimpleRNN": (lambda k: k.SimpleRNN(2), STEPS, 2),
    "LSTM": (lstm, STEPS, 2),
    "LSTM-sequences": (lambda k: lstm(k, return_sequences=True), STEPS, 2),
    "LSTM-state": (lambda k: lstm(k, return_state=True), STEPS, 2),
    "LSTM-both": (
        lambda k: lstm(k, return_sequences=True, return_state=True), STEPS, 2),
    "GRU": (lambda k: k.GRU(2, go_backwards=True), STEPS, 2),
    "ConvLSTM1D": (lambda k: k.ConvLSTM1D(2, 2), (3, 4, 5, 2), 2),
    "ConvLSTM1D-sequences": (
        lambda k: k.ConvLSTM1D(2, 2, return_sequences=True), (3, 4, 5, 2), 2),
    "ConvLSTM2D": (lambda k: k.ConvLSTM2D(2, 2), (3, 4, 5, 4, 2), 2),
    "ConvLSTM3D": (lambda k: k.ConvLSTM3D(2, 2), (3, 4, 3, 4, 3, 2), 2),
    "RNN": (lambda k: k.RNN(k.SimpleRNNCell(2), return_sequences=True), STEPS, 2),
    "RNN-stack": (lambda k: k.RNN(cells(k), return_sequences=True), STEPS, 2),
    "Bidirectional": (lambda k: k.Bidirectional(lstm(k)), STEPS, 2),
    "Bidirectional-sequences": (
        lambda k: k.Bidirectional(lstm(k, return_sequences=True)), STEPS, 2),
    "Bidirectional-pair": (
        lambda k: k.Bidirectional(lstm(k, return_sequences=True), merge_mode=None),
        STEPS, 2),
    "TimeDistributed": (lambda k: k.TimeDistributed(k.Dense(2)), STEPS, 2),
    "TimeDistributed-words": (lambda k: k.TimeDistributed(k.Dense(2)), WORDS, 3),
    "TimeDistributed-sequences": (
        lambda k: k.TimeDistributed(lstm(k, return_sequences=True)), WORDS, 3),
    "TimeDistributed-mean": (
        lambda k: k.TimeDistributed(k.GlobalAveragePooling1D()), WORDS, 3),
    "TimeDistributed-norm": (
        lambda k: k.TimeDistributed(k.BatchNormalization()), WORDS, 3),
}  # fmt: skip

#: What Keras leaves on the outputs here is the mask of the words, which none of its
#: layers for steps can take.
REDUCED = {"TimeDistributed-mean"}


def given(name):
    """Return random inputs and masks in which each step and word is left in once."""
    shapes, axes = ROWS[name][1:]
    many = isinstance(shapes, list)
    inputs, masks = [], []
    for shape, count in zip(
        shapes if many else [shapes], axes if many else [axes], strict=True
    ):
        integers = "Embedding" in name
        values = np.random.randint(0, 9, shape) if integers else np.random.randn(*shape)
        if name.startswith("Masking"):
            values[:, ::2] = 0
        inputs.append(values.astype("int32" if integers else "float32"))
        mask = None if count is None else np.random.rand(*shape[:count]) > 0.4
        if mask is not None:
            mask[:, 0] = True
        masks.append(mask)
    return (inputs, masks) if many else (inputs[0], masks[0])


def twins(name):
    """Return Keras's layer and ours, with the same weights."""
    make, shapes, _ = ROWS[name]
    pair = []
    for k in (keras.layers, layers):
        layer = make(k)
        x = [np.zeros(s, "float32") for s in shapes] if isinstance(shapes, list) else (
            np.zeros(shapes, "float32")
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not name.startswith(("Softmax", "Lambda")):
                layer(x)
        pair.append(layer)
    theirs, ours = pair
    values = [np.random.rand(*w.shape).astype("float32") for w in theirs.weights]
    theirs.set_weights(values)
    ours.set_weights(values)
    return theirs, ours


def tensors(structure, masks=None):
    """Return arrays as tensors, with the masks riding on them."""
    values: Any = tree.map_structure(lambda x: torch.tensor(x), structure)
    for tensor, mask in zip(tree.flatten(values), tree.flatten(masks), strict=False):
        if mask is not None:
            tensor._keras_mask = torch.tensor(mask)
    return values


def masks_of(outputs):
    return [getattr(y, "_keras_mask", None) for y in tree.flatten(outputs)]


def same(masks, expected):
    """Compare masks, of which some may be None."""
    for one, other in zip(masks, expected, strict=True):
        if one is None or other is None:
            assert one is other
        else:
            assert torch.equal(torch.as_tensor(one), other)


def check(ours, theirs):
    """Compare outputs, and the masks on them."""
    one, other = tree.flatten(ours), tree.flatten(theirs)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    same(masks_of(ours), masks_of(theirs))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_masks_that_ride_are_keras_masks(name, training):
    theirs, ours = twins(name)
    x, masks = given(name)
    if name.startswith("Dropout"):
        training = False
    expected = theirs(tensors(x, masks), training=training)
    outputs = ours(tensors(x, masks), training=training)
    if name in REDUCED:
        assert torch.equal(outputs._keras_mask, torch.tensor(masks).any(-1))
        expected._keras_mask = outputs._keras_mask
    check(outputs, expected)


@pytest.mark.parametrize("name", ROWS)
def test_masks_may_be_arrays(name):
    ours = twins(name)[1]
    x, masks = given(name)
    if all(mask is None for mask in tree.flatten(masks)):
        masks = None
    check(ours(x, mask=masks), ours(tensors(x, masks)))


@pytest.mark.parametrize("name", ROWS)
def test_compute_mask_takes_what_keras_takes(name):
    theirs, ours = twins(name)
    x, masks = given(name)
    argument = list(inspect.signature(theirs.compute_mask).parameters)[1]
    given_masks = tree.map_structure(
        lambda mask: None if mask is None else torch.tensor(mask), masks
    )
    options = {argument: given_masks}
    if name in REDUCED:
        expected = given_masks.any(-1)
    else:
        expected = theirs.compute_mask(tensors(x), **options)
    for values in (x, tensors(x)):
        for mask in (given_masks, masks):
            own = ours.compute_mask(values, **{argument: mask})
            same(tree.flatten(own), tree.flatten(expected))


def test_every_layer_that_knows_masks_has_a_row():
    known = {
        cls.__name__
        for name in layers.__all__
        if isinstance(cls := getattr(layers, name), type)
        and issubclass(cls, layers.Layer)
        and ("mask" in cls._call_arguments or "compute_mask" in vars(cls))
    }
    named = {name.split("-")[0] for name in ROWS}
    assert known - named - {"Layer"} == set()


# Where Keras has no number, or an error


def test_the_mean_over_nothing_is_zero():
    x = torch.randn(2, 3, 4, requires_grad=True)
    mask = np.array([[True, False, True], [False] * 3])
    outputs = layers.GlobalAveragePooling1D()(x, mask=mask)
    torch.testing.assert_close(outputs[0], x[0, ::2].mean(0))
    assert not outputs[1].any()
    outputs.sum().backward()
    assert x.grad is not None
    assert not x.grad[1].any()
    with pytest.raises(ValueError, match=r"\(GlobalAveragePooling1D\): `mask` must"):
        layers.GlobalAveragePooling1D()(x, mask=mask[:, :2])


def encoder_of_words(kind):
    """Return what makes one vector of the words of a sentence."""
    if kind == "layer":
        return layers.LSTM(5)
    if kind == "states":
        return layers.LSTM(5, return_state=True)
    if kind == "steps":
        return layers.RNN(layers.GRUCell(5), stateful=True)
    if kind == "sequential":
        return Sequential([layers.Dense(4), layers.LSTM(5)])
    words = Input((None, 4))
    return Model(words, layers.LSTM(5)(layers.Dropout(0.1)(words)))


@pytest.mark.parametrize("kind", ["layer", "states", "steps", "sequential", "model"])
def test_words_in_sentences(kind):
    encoder = encoder_of_words(kind)
    sentences, outer = layers.TimeDistributed(encoder), layers.LSTM(3)

    def run(array):
        x: Any = torch.tensor(array)
        x._keras_mask = (x != 0).any(-1)
        if kind == "steps":
            encoder.build((2, None, 4))
            encoder.reset_state()
        encoded = tree.flatten(sentences(x))
        for vectors in encoded:
            assert torch.equal(vectors._keras_mask, x._keras_mask.any(-1))
        return outer(encoded[0])

    x = np.random.randn(2, 3, 6, 4).astype("float32")
    expected = run(x)
    words = np.concatenate([x, np.zeros((2, 3, 2, 4), "float32")], 2)
    torch.testing.assert_close(run(words), expected)
    wide = np.concatenate([words, np.zeros((2, 2, 8, 4), "float32")], 1)
    torch.testing.assert_close(run(wide), expected)


@pytest.mark.parametrize("supports", [None, False, True])
def test_a_layer_of_ones_own_passes_masks_on_where_it_says_so(supports):
    class Doubled(layers.Layer):
        def __init__(self):
            super().__init__()
            if supports is not None:
                self.supports_masking = supports

        def call(self, inputs):
            return inputs * 2

    x, mask = torch.randn(2, 5, 4), torch.arange(5) < torch.tensor([[5], [2]])
    x._keras_mask = mask  # pyright: ignore
    layer = Doubled()
    if supports:
        assert getattr(layer(x), "_keras_mask", None) is mask
        return
    with pytest.warns(UserWarning, match="does not support masking: the mask ends"):
        assert getattr(layer(x), "_keras_mask", None) is None


def test_a_model_takes_the_mask_of_a_call():
    x, mask = torch.randn(2, 5, 4), np.arange(5) < np.array([[5], [2]])
    words = Input((None, 4))
    recurrent = layers.LSTM(3)
    model = Model(words, recurrent(layers.Dense(4)(words)))
    hidden = model.layers[1](x)
    expected = recurrent(hidden, mask=mask)
    torch.testing.assert_close(model(x, mask=mask), expected)
    torch.testing.assert_close(model(x.numpy(), mask=torch.tensor(mask)), expected)
    assert getattr(x, "_keras_mask", None) is None
    outer = Input((None, 4))
    nested = Model(outer, model(layers.Masking(9.0)(outer)))
    x[1, 2:] = 9.0
    torch.testing.assert_close(nested(x), expected)
