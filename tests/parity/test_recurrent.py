"""Recurrent layers and wrappers against Keras's own, from the same weights."""

import itertools
import json
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.layers.cases import CASES, VARIATIONS
from tests.parity import layer_pairs
from tests.parity.layer_pairs import TOLERANCE
from torchkeras import layers

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

BATCH, STEPS, FEATURES, UNITS = 4, 6, 3, 5
LENGTHS = np.array([[6], [3], [1], [4]])

MASKS = {
    "none": None,
    "right": np.arange(STEPS) < LENGTHS,
    "left": np.arange(STEPS) >= STEPS - LENGTHS,
    "holes": np.random.default_rng(5).random((BATCH, STEPS)) < 0.5,
    "empty": np.arange(STEPS) < np.array([[6], [0], [2], [0]]),
}

#: Arguments that say how a step is computed.
OF_STEPS = {
    "units",
    "activation",
    "recurrent_activation",
    "use_bias",
    "reset_after",
    "use_cudnn",
}
VARIANTS = [
    case
    for case in [*CASES, *VARIATIONS]
    if case.layer in (layers.SimpleRNN, layers.LSTM, layers.GRU)
    and case.kwargs.keys() <= OF_STEPS
]


def name_of(value):
    """Return a readable test id."""
    if isinstance(value, dict):
        return "-".join(f"{k}={v}" for k, v in value.items()) or "default"
    return str(value)


def states_of(name):
    """Return random initial states."""
    count = 2 if name == "LSTM" else 1
    return [torch.randn(BATCH, UNITS) for _ in range(count)]


def equip(theirs, ours, shape=(BATCH, STEPS, FEATURES)):
    """Build both and give them the same random weights."""
    layer_pairs.equip(theirs, ours, shape)


def compare(theirs, ours, shape=(BATCH, STEPS, FEATURES), mask=None, **kwargs):
    """Compare outputs and gradients."""
    if mask is not None:
        kwargs["mask"] = torch.tensor(mask)
    layer_pairs.compare(theirs, ours, torch.randn(shape), **kwargs)


def both(name, *args, **kwargs):
    """Return Keras's class and ours, called with the same arguments."""
    return getattr(keras.layers, name)(*args, **kwargs), getattr(layers, name)(
        *args, **kwargs
    )


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("case", VARIANTS, ids=str)
def test_outputs_states_and_gradients(case, mask):
    for sequences, backwards in itertools.product((False, True), repeat=2):
        flags = {"return_sequences": sequences, "go_backwards": backwards}
        theirs, ours = layer_pairs.pair(case, units=UNITS, return_state=True, **flags)
        compare(theirs, ours, mask=MASKS[mask])
        initial = states_of(case.layer.__name__)
        compare(theirs, ours, mask=MASKS[mask], initial_state=initial)


@pytest.mark.parametrize("kwargs", [{}, {"activation": "softsign"}], ids=name_of)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mask", ["right", "left", "holes", "empty"])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_zero_output_for_mask(name, mask, sequences, kwargs):
    theirs, ours = both(
        name, UNITS, return_sequences=sequences, zero_output_for_mask=True, **kwargs
    )
    equip(theirs, ours)
    compare(theirs, ours, mask=MASKS[mask])


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("mask", ["none", "right", "holes"])
def test_stateful(name, mask):
    theirs, ours = both(name, UNITS, stateful=True, return_state=True)
    equip(theirs, ours)
    for step in range(4):
        if step == 2:
            theirs.reset_state()
            ours.reset_state()
        x = torch.randn(BATCH, STEPS, FEATURES)
        chosen = None if MASKS[mask] is None else torch.tensor(MASKS[mask])
        # Keras on torch overwrites states that its backward pass needs.
        with torch.no_grad():
            expected = theirs(x, mask=chosen)
        outputs, _, grads, _ = layer_pairs.run(ours, x, layer_pairs.direct, mask=chosen)
        torch.testing.assert_close(outputs, list(expected), **TOLERANCE)
        assert all(bool(grad.isfinite().all()) for _, grad in grads)
        for other, state in zip(theirs.states, ours.states, strict=True):
            torch.testing.assert_close(state, other.value, **TOLERANCE)


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_cells(name):
    theirs, ours = both(f"{name}Cell", UNITS)
    equip(theirs, ours, (BATCH, FEATURES))
    assert (ours.state_size, ours.output_size) == (theirs.state_size, UNITS)
    x, states = torch.randn(BATCH, FEATURES), states_of(name)
    outputs, new_states = ours(x, states)
    expected, expected_states = theirs(x, states)
    torch.testing.assert_close(outputs, expected, **TOLERANCE)
    torch.testing.assert_close(new_states, expected_states, **TOLERANCE)
    initial = ours.get_initial_state(batch_size=2)
    assert [tuple(s.shape) for s in initial] == [(2, UNITS)] * len(states)


def stack(module, *names):
    """Return cells of different sizes."""
    return [getattr(module, f"{n}Cell")(UNITS - i) for i, n in enumerate(names)]


@pytest.mark.parametrize("mask", ["none", "right", "holes"])
@pytest.mark.parametrize(
    "names", [("LSTM",), ("GRU",), ("LSTM", "GRU"), ("SimpleRNN", "GRU", "LSTM")]
)
def test_rnn_of_cells(names, mask):
    single = len(names) == 1
    for sequences in (False, True):
        theirs, ours = (
            module.RNN(
                stack(module, *names)[0] if single else stack(module, *names),
                return_sequences=sequences,
                return_state=True,
            )
            for module in (keras.layers, layers)
        )
        equip(theirs, ours)
        compare(theirs, ours, mask=MASKS[mask])


def minimal_cell(base):
    """Return a cell as people write it, on either library's `Layer`."""

    class MinimalCell(base):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.state_size = units

        def build(self, input_shape):
            self.kernel = self.add_weight(
                shape=(input_shape[-1], self.units), name="kernel"
            )
            self.built = True

        def call(self, inputs, states):
            output = torch.tanh(inputs @ _tensor(self.kernel) + 0.5 * states[0])
            return output, [output]

    return MinimalCell(UNITS)


def _tensor(weight):
    return weight if isinstance(weight, torch.Tensor) else weight.value


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("stacked", [False, True])
def test_rnn_of_own_cells(mask, stacked):
    theirs, ours = (
        module.RNN(
            [minimal_cell(base), module.GRUCell(UNITS)]
            if stacked
            else minimal_cell(base),
            return_sequences=True,
            return_state=True,
        )
        for module, base in ((keras.layers, keras.Layer), (layers, layers.Layer))
    )
    equip(theirs, ours)
    compare(theirs, ours, mask=MASKS[mask])


@pytest.mark.parametrize("mask", ["none", "right", "left", "empty"])
@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_bidirectional(name, merge_mode, mask):
    for sequences, states in ((False, False), (True, False), (True, True)):
        theirs, ours = (
            module.Bidirectional(
                getattr(module, name)(
                    UNITS, return_sequences=sequences, return_state=states
                ),
                merge_mode=merge_mode,
            )
            for module in (keras.layers, layers)
        )
        equip(theirs, ours)
        initial = [*states_of(name), *states_of(name)] if states else None
        compare(theirs, ours, mask=MASKS[mask], initial_state=initial)


RANDOM: dict[str, Any] = {
    "kernel_initializer": "he_normal",
    "recurrent_initializer": "glorot_normal",
}
REGULARIZED: dict[str, Any] = {
    **RANDOM,
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "recurrent_regularizer": keras.regularizers.L1(0.1),
    "bias_regularizer": "l1",
    "kernel_constraint": "max_norm",
    "recurrent_constraint": "unit_norm",
    "bias_constraint": "non_neg",
    "dropout": 0.1,
    "recurrent_dropout": 0.2,
    "stateful": True,
    "unroll": True,
    "return_state": True,
}


def exchanged(theirs):
    """Compare configs and losses after going there and back."""
    ours = layers.deserialize(json.loads(json.dumps(keras.layers.serialize(theirs))))
    back = keras.layers.deserialize(json.loads(json.dumps(layers.serialize(ours))))
    config, expected = (json.loads(json.dumps(x.get_config())) for x in (ours, theirs))
    assert json.loads(json.dumps(back.get_config())) == expected
    # Keras forgets the seed of a SimpleRNN.
    assert {k: v for k, v in config.items() if k in expected} == expected
    assert config.keys() - expected.keys() <= {"seed", "activity_regularizer"}
    return ours


@pytest.mark.parametrize("kwargs", [{}, RANDOM, REGULARIZED], ids=["", "init", "all"])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_configs_are_exchanged(name, kwargs):
    theirs = getattr(keras.layers, name)(UNITS, **kwargs)
    ours = exchanged(theirs)
    equip(theirs, ours)
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    if ours.losses:
        torch.testing.assert_close(
            torch.stack(ours.losses).sum(), torch.stack([*theirs.losses]).sum()
        )
    theirs = getattr(keras.layers, f"{name}Cell")(UNITS)
    exchanged(theirs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.RNN(keras.layers.LSTMCell(4), go_backwards=True),
        lambda: keras.layers.RNN([keras.layers.LSTMCell(4), keras.layers.GRUCell(3)]),
        lambda: keras.layers.StackedRNNCells([keras.layers.GRUCell(3)]),
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(4), "sum"),
        lambda: keras.layers.Bidirectional(
            keras.layers.LSTM(4), backward_layer=keras.layers.GRU(4, go_backwards=True)
        ),
        lambda: keras.layers.TimeDistributed(keras.layers.LSTM(4)),
    ],
)
def test_configs_of_nested_layers_are_exchanged(make):
    theirs = make()
    ours = exchanged(theirs)
    shape = (BATCH, STEPS, FEATURES)
    if isinstance(theirs, keras.layers.StackedRNNCells):
        shape = (BATCH, FEATURES)
    if isinstance(theirs, keras.layers.TimeDistributed):
        shape = (BATCH, 2, STEPS, FEATURES)
    equip(theirs, ours, shape)
    rebuilt = layers.deserialize(json.loads(json.dumps(keras.layers.serialize(theirs))))
    assert rebuilt.built
    assert [w.path.split("/")[1:] for w in rebuilt.weights] == [
        w.path.split("/")[1:] for w in theirs.weights
    ]


def test_an_initial_state_in_the_build_config():
    theirs = keras.layers.LSTM(UNITS)
    theirs(torch.ones(2, 3, FEATURES), initial_state=[torch.zeros(2, UNITS)] * 2)
    ours = layers.deserialize(keras.layers.serialize(theirs))
    assert ours.built
    equip(theirs, ours)


def test_time_distributed_passes_masks_in():
    theirs, ours = (
        module.TimeDistributed(module.LSTM(4)) for module in (keras.layers, layers)
    )
    shape = (2, 3, 5, 2)
    equip(theirs, ours, shape)
    mask = np.arange(5) < np.array([[[5], [3], [1]], [[2], [4], [5]]])
    compare(theirs, ours, shape, mask=mask)


def test_training_with_regularizers_constraints_and_masks():
    kwargs = {"kernel_regularizer": "l2", "recurrent_constraint": "max_norm"}
    theirs, ours = both("LSTM", UNITS, **kwargs)
    equip(theirs, ours)
    x = torch.randn(BATCH, STEPS, FEATURES)
    mask = torch.tensor(MASKS["right"])
    for layer, rate in ((theirs, 0.1), (ours, 0.1)):
        for _ in range(20):
            loss = layer(x, mask=mask).square().sum() + sum(layer.losses)
            weights = layer.trainable_weights
            for weight in weights:
                for tensor in getattr(weight, "tensors", (weight.value,)):
                    tensor.grad = None
            loss.backward()
            for weight in weights:
                grad = weight.value.grad if layer is theirs else weight.grad
                weight.assign(weight.value.detach() - rate * grad)
                if weight.constraint is not None:
                    weight.assign(weight.constraint(weight.value.detach()))
    for weight, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-4)
