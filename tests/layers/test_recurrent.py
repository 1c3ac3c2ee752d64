"""Recurrent layers: what runs them, masks, states, dropout, and what they refuse."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import Input, Sequential, layers
from torchkeras._core import tree
from torchkeras.layers.recurrent import rnn

FUSED = [
    (layers.SimpleRNN, {}, nn.RNN),
    (layers.SimpleRNN, {"activation": "relu"}, nn.RNN),
    (layers.LSTM, {}, nn.LSTM),
    (layers.GRU, {}, nn.GRU),
]
ALL: list[Any] = [layers.SimpleRNN, layers.LSTM, layers.GRU]


def total(tensors: Any) -> Any:
    """Return a sum that depends on all tensors."""
    return torch.stack([tensor.float().sum() for tensor in tensors]).sum()


def lengths_mask(*lengths, steps=6):
    """Return a mask of right-padded rows."""
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


@pytest.fixture
def no_loop(monkeypatch):
    """Fail when a layer loops over steps in Python."""

    def refuse(*_):
        raise AssertionError("a loop over steps")

    monkeypatch.setattr(layers.RNN, "_loop", refuse)


# Torch's modules


@pytest.mark.parametrize(("cls", "kwargs", "module"), FUSED)
def test_weights_are_those_of_torchs_module(cls, kwargs, module):
    layer, x = cls(5, **kwargs), torch.randn(2, 6, 3)
    layer.build((None, None, 3))
    inner = [m for m in layer.modules() if type(m) is module]
    assert len(inner) == 1
    layer.cell.bias.assign(torch.randn(*layer.cell.bias.shape))
    nonlinearity = {"nonlinearity": kwargs["activation"]} if kwargs else {}
    plain = module(3, 5, batch_first=True, **nonlinearity)
    plain.load_state_dict(inner[0].state_dict())
    torch.testing.assert_close(layer(x), plain(x)[0][:, -1])


@pytest.mark.parametrize(("cls", "kwargs", "module"), FUSED)
@pytest.mark.parametrize(
    "flags",
    [{}, {"return_sequences": True}, {"return_state": True}, {"go_backwards": True}],
)
def test_default_arguments_need_no_loop(cls, kwargs, module, flags, no_loop):
    layer = cls(5, dropout=0.2, **kwargs, **flags)
    x = torch.randn(4, 6, 3)
    for mask in (None, lengths_mask(6, 2, 0, 4), lengths_mask(6, 2, 0, 4).flip(1)):
        layer(x, mask=mask)
        layer(x, mask=mask, training=True)


def test_cells_in_rnn_need_no_loop(no_loop):
    cells = [layers.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(2)]
    assert layers.RNN(cells)(torch.ones(2, 6, 3)).shape == (2, 2)
    assert layers.RNN(layers.LSTMCell(4))(torch.ones(2, 6, 3)).shape == (2, 4)


@pytest.mark.parametrize("cls", [layers.SimpleRNN, layers.LSTM])
def test_torchs_second_bias_stays_a_frozen_zero(cls):
    layer, x = cls(5), torch.randn(2, 6, 3)
    layer(x)
    module: Any = next(m for m in layer.modules() if isinstance(m, nn.RNNBase))
    assert "bias_hh_l0" not in dict(module.named_parameters())
    layer.trainable = False
    layer.trainable = True
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    layer(x).sum().backward()
    optimizer.step()
    layer.to(torch.float64).to(torch.float32)
    assert not module.bias_hh_l0.requires_grad
    assert not module.bias_hh_l0.any()
    layer.to_empty(device="cpu")
    assert not module.bias_hh_l0.any()


def test_weights_of_plain_torch_are_taken_over():
    plain: Any = nn.LSTM(3, 5, batch_first=True)
    layer = layers.LSTM(5)
    x = torch.randn(2, 6, 3)
    layer.build(x.shape)
    layer.lstm.load_state_dict(plain.state_dict())
    torch.testing.assert_close(layer(x), plain(x)[0][:, -1])
    bias = plain.bias_ih_l0 + plain.bias_hh_l0
    torch.testing.assert_close(layer.bias.value, bias)
    assert not layer.lstm.bias_hh_l0.any()


@pytest.mark.parametrize("cls", ALL)
def test_attributes_of_the_cell_are_passed_on(cls):
    layer = cls(5, use_bias=False, dropout=0.1)
    layer.build((None, None, 3))
    assert (layer.units, layer.use_bias, layer.dropout) == (5, False, 0.1)
    assert layer.kernel is layer.cell.kernel
    with pytest.raises(AttributeError, match="units_of"):
        layer.units_of  # noqa: B018


def test_swapped_parameters_are_used():
    layer, x = layers.LSTM(4), torch.randn(2, 5, 3)
    layer(x)
    zeros = {k: torch.zeros_like(v) for k, v in layer.named_parameters()}
    assert not torch.func.functional_call(layer, zeros, (x,)).any()
    expected = layer(x)
    nn.utils.parametrize.register_parametrization(
        layer.lstm, "weight_ih_l0", nn.Identity(), unsafe=True
    )
    torch.testing.assert_close(layer(x), expected)


def test_copies_have_weights_of_their_own():
    layer, x = layers.GRU(4), torch.randn(2, 5, 3)
    before = layer(x)
    twin = copy.deepcopy(layer)
    twin.kernel.assign(np.zeros((3, 12)))
    torch.testing.assert_close(layer(x), before)
    assert not torch.equal(twin(x), before)


def test_unit_forget_bias():
    for flag, expected in ((True, [0.0, 1.0, 0.0, 0.0]), (False, [0.0] * 4)):
        layer = layers.LSTM(2, unit_forget_bias=flag)
        layer.build((None, None, 3))
        assert layer.bias.value.view(4, 2)[:, 0].tolist() == expected


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
@pytest.mark.parametrize("options", [{}, {"recurrent_dropout": 0.2}])
def test_policies(cls, policy, options):
    layer = cls(4, dtype=policy, return_sequences=True, return_state=True, **options)
    mask = lengths_mask(6, 2)
    outputs = layer(torch.randn(2, 6, 3), mask=mask, training=True)
    dtype = torch.float64 if policy == "float64" else torch.bfloat16
    assert all(out.dtype == dtype for out in outputs)
    total(outputs).backward()
    assert all(w.grad is not None for w in layer.trainable_weights)


# Masks


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("sequences", [False, True])
def test_right_padding_is_no_special_case(cls, sequences, monkeypatch):
    layer = cls(4, return_sequences=sequences, return_state=True)
    x, mask = torch.randn(4, 6, 3), lengths_mask(6, 3, 0, 1)
    looked = layer(x, mask=mask)
    monkeypatch.setattr(rnn, "_is_right_padded", lambda mask: False)
    torch.testing.assert_close(layer(x, mask=mask), looked)


def test_padding_has_no_influence():
    layer, mask = layers.LSTM(4, return_state=True), lengths_mask(6, 3)
    x: Any = torch.randn(2, 6, 3, requires_grad=True)
    outputs, hidden, carry = layer(x, mask=mask)
    short = layer(x[1:, :3])
    torch.testing.assert_close((outputs[1:], hidden[1:], carry[1:]), short)
    (outputs.sum() + carry.sum()).backward()
    assert not x.grad[~mask].any()
    assert x.grad[mask].all()


def test_a_mask_rides_on_its_tensor():
    embedding = layers.Embedding(9, 3, mask_zero=True)
    words = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
    sequences: Any = layers.LSTM(4, return_sequences=True)(embedding(words))
    assert torch.equal(sequences._keras_mask, words != 0)
    last = layers.GRU(4)(sequences)
    assert getattr(last, "_keras_mask", None) is None


def test_a_mask_beside_a_positional_state():
    x: Any = torch.randn(2, 6, 3)
    layer = layers.GRU(4)
    state, mask = [torch.randn(2, 4)], lengths_mask(2, 5)
    expected = layer(x, initial_state=state, mask=mask)
    x._keras_mask = mask
    torch.testing.assert_close(layer(x, state), expected)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("cls", ALL)
def test_masked_layers_compile_to_one_graph(cls, backend):
    layer = cls(4, return_sequences=True, return_state=True, stateful=True)
    x, mask = torch.randn(2, 6, 3), lengths_mask(6, 2)
    expected = layer(x, mask=mask)
    layer.reset_state()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    outputs = compiled(x, mask=mask)
    torch.testing.assert_close(outputs, expected)
    total(outputs).backward()
    torch.testing.assert_close(layer.states, list(expected[1:]))


# States


def test_states_are_kept_but_not_saved():
    layer = layers.LSTM(4, stateful=True)
    first, second = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    layer(first)
    outputs = layer(second)
    twin = layers.LSTM(4)
    twin.build((2, 5, 3))
    twin.set_weights(layer.get_weights())
    torch.testing.assert_close(outputs, twin(torch.cat([first, second], 1)))
    assert len(layer.weights) == 3
    assert not any("state" in key for key in layer.state_dict())
    layer.reset_state()
    assert not any(state.any() for state in layer.states or [])
    torch.testing.assert_close(layer(first), twin(first))


def test_states_survive_inference_mode_and_moves():
    layer, x = layers.GRU(4, stateful=True), torch.randn(2, 5, 3)
    layer(x)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    layer.to("meta")
    assert (layer.states or [])[0].is_meta


def test_initial_states_get_gradients():
    layer, x = layers.LSTM(4), torch.randn(2, 5, 3)
    states = [torch.randn(2, 4, requires_grad=True) for _ in range(2)]
    layer(x, initial_state=states).sum().backward()
    assert all(state.grad is not None for state in states)


def test_states_of_stacked_cells():
    layer = layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], stateful=True)
    layer(torch.randn(2, 5, 3))
    assert [[s.shape[1] for s in states] for states in layer.states or []] == [
        [4, 4],
        [3],
    ]


def state_layers():
    """Return stateful layers of each kind, and the sizes of their states."""
    options: Any = {"stateful": True, "return_state": True}
    return [
        (layers.SimpleRNN(4, **options), [4]),
        (layers.LSTM(4, **options), [4, 4]),
        (layers.GRU(4, **options), [4]),
        (layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], **options), [4, 4, 3]),
        (layers.Bidirectional(layers.LSTM(4, **options)), [4] * 4),
        (layers.Bidirectional(layers.GRU(4, **options), merge_mode=None), [4] * 2),
    ]


@pytest.mark.parametrize("index", range(len(state_layers())))
@pytest.mark.parametrize("way", ["assign", "attribute", "reset_states", "arrays"])
def test_states_can_be_set(index, way):
    layer, sizes = state_layers()[index]
    x = torch.randn(2, 5, 3)
    layer(x)
    values = [torch.randn(2, size) for size in sizes]
    structured = tree.pack_sequence_as(layer.states, values)
    if way == "assign":
        for state, value in zip(tree.flatten(layer.states), values, strict=True):
            state.assign(value)
    elif way == "attribute":
        layer.states = structured
    elif way == "reset_states":
        layer.reset_states(structured)
    else:
        layer.reset_states(tree.map_structure(torch.Tensor.numpy, structured))
    for state, value in zip(tree.flatten(layer.states), values, strict=True):
        assert torch.equal(state, value)
    outputs = tree.flatten(layer(x))
    expected = tree.flatten(layer(x, initial_state=structured))
    torch.testing.assert_close(outputs, expected)
    for state, end in zip(
        tree.flatten(layer.states), outputs[-len(sizes) :], strict=True
    ):
        assert torch.equal(state, end)
    layer.reset_states()
    assert not any(state.any() for state in tree.flatten(layer.states))
    count = len(layer.weights)
    assert count == len(layer.trainable_weights)
    assert not any("state" in key for key in layer.state_dict())


@pytest.mark.parametrize("index", range(len(state_layers())))
def test_states_that_do_not_fit_change_nothing(index):
    layer, sizes = state_layers()[index]
    layer(torch.randn(2, 5, 3))
    before = [state.clone() for state in tree.flatten(layer.states)]
    wrong = [torch.zeros(2, size) for size in sizes]
    wrong[-1] = torch.zeros(3, sizes[-1])
    for values in (wrong, wrong[:-1], [*wrong, wrong[0]]):
        with pytest.raises(ValueError, match="expected states of shapes"):
            layer.reset_states(values)
    with pytest.raises(ValueError, match="expected a batch of 2"):
        layer(torch.randn(3, 5, 3))
    with pytest.raises(ValueError, match="expected a batch of 2"):
        layer(
            torch.randn(3, 5, 3), initial_state=[torch.zeros(3, size) for size in sizes]
        )
    for state, old in zip(tree.flatten(layer.states), before, strict=True):
        assert torch.equal(state, old)


def test_there_are_no_states_to_set():
    layer = layers.LSTM(4)
    layer.reset_states()
    with pytest.raises(ValueError, match="it needs `stateful=True`"):
        layer.states = [torch.zeros(2, 4)] * 2
    with pytest.raises(ValueError, match="it needs to be built first"):
        layers.LSTM(4, stateful=True).reset_states([torch.zeros(2, 4)] * 2)


def test_a_model_resets_the_states_of_all_layers():
    inner = Sequential([Input(batch_shape=(2, 5, 4)), layers.GRU(3, stateful=True)])
    model = Sequential(
        [
            Input(batch_shape=(2, 5, 3)),
            layers.Bidirectional(
                layers.LSTM(2, return_sequences=True, stateful=True), name="both"
            ),
            inner,
        ]
    )
    x = torch.randn(2, 5, 3)
    first, second = model(x), model(x)
    assert not torch.equal(first, second)
    twin = copy.deepcopy(model)
    twin.reset_states()
    assert torch.equal(twin(x), first)
    assert not torch.equal(model(x), first)
    model.reset_states()
    assert torch.equal(model(x), first)


# Dropout


def dropping(**kwargs):
    """Return a layer whose outputs show its masks: those of inputs, or of states."""
    layer = layers.SimpleRNN(
        400,
        activation="linear",
        use_bias=False,
        kernel_initializer="identity",
        recurrent_initializer="identity",
        return_sequences=True,
        **kwargs,
    )
    layer.build((None, None, 400))
    return layer


def test_input_dropout_is_constant_over_steps():
    layer = dropping(dropout=0.3, seed=1)
    layer.recurrent_kernel.assign(torch.zeros(400, 400))
    x = torch.ones(8, 5, 400)
    outputs = layer(x, training=True)
    assert torch.equal(outputs, outputs[:, :1].expand_as(outputs))
    assert not torch.equal(outputs[0], outputs[1])
    assert abs((outputs[:, 0] == 0).float().mean().item() - 0.3) < 0.03
    torch.testing.assert_close(outputs.max().item(), 1 / 0.7)
    assert not torch.equal(layer(x, training=True), outputs)
    torch.testing.assert_close(layer(x), x)


def test_recurrent_dropout_is_constant_over_steps():
    layer = dropping(recurrent_dropout=0.5, seed=1)
    x = torch.zeros(8, 4, 400)
    x[:, 0] = 1.0
    outputs = layer(x, training=True)
    mask = outputs[:, 1]
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(outputs[:, 2], mask**2)
    torch.testing.assert_close(outputs[:, 3], mask**3)
    assert abs((mask == 0).float().mean().item() - 0.5) < 0.03


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    "rates", [{"dropout": 0.4}, {"dropout": 0.4, "recurrent_dropout": 0.4}]
)
def test_seeds(cls, rates):
    x = torch.randn(2, 5, 3)
    layer, twin = cls(4, seed=7, **rates), cls(4, seed=7, **rates)
    layer.build(x.shape)
    twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    for _ in range(3):
        torch.testing.assert_close(layer(x, training=True), twin(x, training=True))
    mean = torch.stack([layer(x, training=True) for _ in range(50)]).std(0)
    assert mean.min() > 0


@pytest.mark.parametrize("cls", ALL)
def test_dropping_all(cls):
    layer = cls(4, dropout=1.0, recurrent_dropout=1.0, bias_initializer="zeros")
    assert not layer(torch.randn(2, 5, 3), training=True).any()


def test_cells_keep_their_mask_until_it_is_reset():
    cell = layers.GRUCell(4, dropout=0.5, seed=0)
    x, states = torch.ones(2, 50), [torch.zeros(2, 4)]
    first = cell(x, states, training=True)[0]
    assert torch.equal(cell(x, states, training=True)[0], first)
    cell.reset_dropout_mask()
    assert not torch.equal(cell(x, states, training=True)[0], first)


# Shapes


def test_symbolic_shapes():
    x = layers.Input((None, 3))
    outputs = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    assert [y.shape for y in outputs] == [(None, None, 4), (None, 4), (None, 4)]
    assert layers.GRU(5)(x, initial_state=[layers.Input((5,))]).shape == (None, 5)
    stacked = layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], return_state=True)
    shapes = ((2, 3), [(2, 4), (2, 4)], [(2, 3)])
    assert stacked.compute_output_shape((2, 7, 3)) == shapes
    outputs, *states = stacked(torch.ones(2, 7, 3))
    assert [[tuple(s.shape) for s in own] for own in states] == list(shapes[1:])


# Arguments

WEIGHT_OPTIONS = [
    f"{weight}_{kind}"
    for weight in ("kernel", "recurrent", "bias")
    for kind in ("initializer", "regularizer", "constraint")
]


@pytest.mark.parametrize("cls", ALL)
def test_cells_get_the_arguments_of_their_layer(cls):
    values = dict.fromkeys(WEIGHT_OPTIONS[::3], "ones")
    values |= dict.fromkeys(WEIGHT_OPTIONS[1::3], "l2")
    values |= dict.fromkeys(WEIGHT_OPTIONS[2::3], "non_neg")
    values |= {"activation": "relu", "use_bias": True, "seed": 3, "dropout": 0.1}
    values |= {"recurrent_dropout": 0.2, "dtype": "float64", "trainable": False}
    layer = cls(4, return_sequences=True, activity_regularizer="l1", **values)
    cell = layer.cell
    twin = type(cell)(4, name=cell.name, **values)
    assert cell.get_config() == twin.get_config()
    layer.build((2, 5, 3))
    for weight in layer.weights:
        assert not weight.trainable
        assert weight.regularizer is getattr(
            cell, f"{weight.name.removesuffix('_kernel')}_regularizer"
        )
    assert layer.return_sequences
    assert layer.activity_regularizer is not None
    assert cell.activity_regularizer is None


@pytest.mark.parametrize("cls", ALL)
def test_a_class_below_has_arguments_of_its_own(cls):
    class Twice(cls):
        def __init__(self, size, **kwargs):
            super().__init__(2 * size, "relu", return_state=True, **kwargs)
            self.size = size

    layer = Twice(2, dropout=0.5, name="twice")
    assert (layer.units, layer.cell.dropout, layer.name) == (4, 0.5, "twice")
    assert layer(torch.ones(2, 5, 3))[0].shape == (2, 4)


# Refusals


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"units": 0}, ValueError, "`units` must be a positive integer, got 0"),
        ({"units": -3}, ValueError, "`units` must be a positive integer, got -3"),
        ({"units": 3.5}, TypeError, "`units` must be a positive integer, got 3.5"),
        ({"units": 3, "dropout": 2.0}, ValueError, r"`dropout` must be a number in"),
        ({"units": 3, "recurrent_dropout": -1}, ValueError, "`recurrent_dropout`"),
        ({"units": 3, "activation": "tahn"}, ValueError, "Did you mean 'tanh'"),
        ({"units": 3, "return_sequence": 1}, ValueError, "'return_sequences'"),
    ],
)
def test_illegal_arguments(cls, kwargs, error, match):
    with pytest.raises(error, match=match):
        cls(**kwargs)


def test_other_illegal_arguments():
    yes: Any = "yes"
    with pytest.raises(ValueError, match="LSTM: `use_cudnn` must be one of 'auto'"):
        layers.LSTM(4, use_cudnn=yes)
    with pytest.raises(ValueError, match="a cell, which has a `call`"):
        layers.RNN(4)
    with pytest.raises(ValueError, match="a cell, which has a `state_size`"):
        layers.StackedRNNCells([layers.Dense(4)])


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("options", [{}, {"activation": "softsign"}])
def test_wrong_shapes_are_refused_before_torch_reads_them(cls, options):
    layer = cls(4, **options)
    with pytest.raises(ValueError, match=r"expected 3 axes, got .* \(2, 3\)"):
        layer(torch.ones(2, 3))
    layer(torch.ones(2, 6, 3))
    for shape in ((2, 6, 5), (2, 3), (2, 0, 3)):
        with pytest.raises(ValueError, match=r"expected an input of .* got \("):
            layer(torch.ones(*shape))
    x = torch.ones(2, 6, 3)
    count = 2 if cls is layers.LSTM else 1
    with pytest.raises(ValueError, match=r"state of shape \(2, 4\), got \(3, 4\)"):
        layer(x, initial_state=[torch.ones(3, 4)] * count)
    with pytest.raises(ValueError, match=f"must be {count} tensor"):
        layer(x, initial_state=[torch.ones(2, 4)] * 3)
    with pytest.raises(ValueError, match=r"`mask` must have the shape \(batch, time\)"):
        layer(x, mask=torch.ones(2, 5))


def test_stateful_needs_a_fixed_batch():
    layer = layers.LSTM(4, stateful=True)
    with pytest.raises(ValueError, match="needs a fixed batch size"):
        layer(layers.Input((6, 3)))
    layer = layers.LSTM(4, stateful=True)
    layer(torch.ones(4, 6, 3))
    with pytest.raises(ValueError, match="expected a batch of 4"):
        layer(torch.ones(2, 6, 3))


@pytest.mark.gpu
@pytest.mark.parametrize("cls", ALL)
def test_an_accelerator_gives_the_same(cls):
    layer = cls(4, return_sequences=True, return_state=True)
    x, mask = torch.randn(4, 6, 3), lengths_mask(6, 3, 0, 1).flip(1)
    layer.build(x.shape)
    layer.to("cpu")
    expected = layer(x, mask=mask)
    layer.to("cuda")
    outputs = layer(x.cuda(), mask=mask.cuda())
    torch.testing.assert_close([o.cpu() for o in outputs], list(expected))
