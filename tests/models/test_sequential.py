"""The stack of layers: building, changing, indexing, configs, summaries."""

import copy
import json

import keras
import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from torchkeras import layers
from torchkeras.models import Model, Sequential, model_from_json

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def stack() -> Sequential:
    return Sequential(
        [layers.Dense(8, activation="relu", name="a"), layers.Dense(2, name="b")]
    )


@pytest.mark.parametrize(
    "first",
    [
        [layers.Input((4,))],
        [layers.InputLayer((4,))],
        [layers.Dense(4, input_shape=(4,))],
        [layers.Dense(4, input_dim=4)],
        [layers.Dense(4, batch_input_shape=(None, 4))],
    ],
    ids=["Input", "InputLayer", "input_shape", "input_dim", "batch_input_shape"],
)
def test_a_known_input_builds_at_once(first) -> None:
    model = Sequential([*first, layers.Dense(2, name="last")])
    assert model.built
    assert model.input_shape == (None, 4)
    assert model.output_shape == (None, 2)
    assert model(X).shape == (3, 2)


def test_a_deferred_build_waits_for_data() -> None:
    model = stack()
    assert not model.built
    assert model.weights == []
    model(X)
    assert model.built
    assert model.output_shape == (None, 2)
    assert model.count_params() == 4 * 8 + 8 + 8 * 2 + 2


def test_add_and_pop() -> None:
    model = Sequential()
    model.add(layers.Input((4,)))
    model.add(layers.Dense(8))
    model.add(layers.Dense(2))
    assert model.output_shape == (None, 2)
    popped = model.pop()
    assert isinstance(popped, layers.Dense)
    assert popped.units == 2
    assert model.output_shape == (None, 8)
    model.add(layers.Dense(5))
    assert model(X).shape == (3, 5)
    with pytest.raises(TypeError, match="no layers to pop"):
        Sequential().pop()


def test_adding_after_compile_trains_the_new_layer() -> None:
    model = Sequential([layers.Dense(8, input_shape=(4,))])
    model.compile("sgd", "mse")
    model.add(layers.Dense(1))
    before = model.get_weights()
    model.fit(X.numpy(), np.ones((3, 1)), verbose=0)
    assert all(
        not np.array_equal(a, b)
        for a, b in zip(model.get_weights(), before, strict=True)
    )


def test_indexing_and_iterating() -> None:
    model = stack()
    assert model[0].name == "a"
    assert model.layers[-1].name == "b"
    assert [layer.name for layer in model] == ["a", "b"]
    assert len(model) == 2
    assert model.get_layer("b") is model.get_layer(index=1)
    with pytest.raises(ValueError, match="has no layer 'aa'"):
        model.get_layer("aa")


def test_nested_stacks() -> None:
    inner = Sequential([layers.Dense(8), layers.Dense(3)], name="inner")
    model = Sequential([layers.Input((4,)), inner, layers.Dense(2)])
    assert model.output_shape == (None, 2)
    assert inner.built
    assert "inner.dense" in next(iter(model.state_dict()))
    assert len(model.weights) == 6


def test_torch_modules_are_layers() -> None:
    model = Sequential(
        [layers.Input((4,)), nn.Linear(4, 8), nn.GELU(), layers.Dense(2), nn.Tanh()]
    )
    assert model.output_shape == (None, 2)
    assert model(X).shape == (3, 2)
    assert [tuple(w.shape) for w in model.weights] == [(8, 4), (8,), (8, 2), (2,)]
    assert next(iter(model.state_dict())) == "linear.weight"
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "?" not in lines[0]
    model.compile("sgd", "mse")
    model.fit(X.numpy(), np.ones((3, 2)), verbose=0)


def test_a_stack_inside_torch() -> None:
    model = nn.Sequential(stack(), nn.Linear(2, 1))
    assert model(X).shape == (3, 1)
    assert len(list(model.parameters())) == 6
    inner = model[0]
    assert isinstance(inner, Sequential)
    assert isinstance(inner[0].linear, nn.Linear)


@pytest.mark.parametrize(
    ("thing", "match"),
    [
        (3, "only layers and torch modules"),
        (layers.Dense, "Call it"),
        (lambda x: x, "only layers and torch modules"),
    ],
)
def test_what_is_no_layer_is_refused(thing, match) -> None:
    with pytest.raises(ValueError, match=match):
        Sequential([thing])


def test_names_must_differ() -> None:
    model = stack()
    with pytest.raises(ValueError, match="has a layer named 'a' already"):
        model.add(layers.Dense(1, name="a"))
    assert len(model) == 2


def test_names_count_up() -> None:
    first, second = layers.Dense(1), layers.Dense(1)
    base = first.name.split("_")[0]
    assert base == "dense"
    assert first.name != second.name


def test_names_that_are_methods_are_kept_apart_in_state_dict() -> None:
    model = Sequential([layers.Dense(2, name="loss", input_shape=(4,))])
    model.compile("sgd", "mse")
    model.fit(X.numpy(), np.ones((3, 2)), verbose=0)
    assert model.get_layer("loss").units == 2


def test_config_makes_a_twin() -> None:
    model = Sequential([layers.Input((4,)), *stack().layers], name="twin")
    twin = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert [layer.name for layer in twin.layers] == ["a", "b"]
    assert twin.name == "twin"
    twin.set_weights(model.get_weights())
    torch.testing.assert_close(twin(X), model(X))
    again = model_from_json(model.to_json())
    assert again.get_config() == model.get_config()


def test_set_weights_takes_all_or_none() -> None:
    model = stack()
    model(X)
    before = model.get_weights()
    wrong = [*before[:-1], np.zeros(7)]
    with pytest.raises(ValueError, match=r"b/bias: expected \(2,\), got \(7,\)"):
        model.set_weights(wrong)
    with pytest.raises(ValueError, match="has 4 weights, set_weights got 1"):
        model.set_weights(before[:1])
    for own, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, old)


def test_keras_layout_is_a_view() -> None:
    model = stack()
    model(X)
    kernel = model[0].kernel
    assert kernel.shape == (4, 8)
    kernel.assign(np.arange(32).reshape(4, 8))
    assert model[0].linear.weight[1, 0] == 1.0
    assert kernel.value.data_ptr() == model[0].linear.weight.data_ptr()


def test_state_dict_lists_each_tensor_once() -> None:
    model = stack()
    model(X)
    names = ["a.linear.weight", "a.linear.bias", "b.linear.weight", "b.linear.bias"]
    assert list(model.state_dict()) == names


def test_trainable_reaches_inside_and_back() -> None:
    model = stack()
    model.trainable = False
    model(X)
    assert model.trainable_weights == []
    assert not any(p.requires_grad for p in model.parameters())
    model[1].trainable = True
    assert [w.path for w in model[1].trainable_weights] == ["b/kernel", "b/bias"]
    assert model.trainable_weights == []  # as in Keras, it is frozen itself


def test_full_graph_compiles_forward_and_backward() -> None:
    model = stack()
    model(X)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), model(X))
    compiled(X).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_hooks_and_swapped_modules_are_honoured() -> None:
    model = stack()
    model(X)
    seen = []
    model[0].linear.register_forward_hook(lambda *_: seen.append(1))
    model(X)
    assert seen == [1]
    model.get_layer("b").linear = nn.Linear(8, 6)
    assert model(X).shape == (3, 6)


def test_deepcopy_shares_nothing() -> None:
    model = stack()
    model(X)
    twin = copy.deepcopy(model)
    twin[0].kernel.assign(np.zeros((4, 8)))
    assert model[0].kernel.numpy().any()


def test_to_moves_every_tensor() -> None:
    model = Sequential([layers.Dense(3), layers.BatchNormalization()])
    model(X)
    model.to(torch.float64)
    assert {t.dtype for t in model.state_dict().values()} <= {
        torch.float64,
        torch.int64,
    }


SUMMARY = """\
Model: "net"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                      ┃ Output Shape              ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ a (Dense)                         │ (None, 8)                 │            40 │
├───────────────────────────────────┼───────────────────────────┼───────────────┤
│ b (Dense)                         │ (None, 2)                 │            18 │
└───────────────────────────────────┴───────────────────────────┴───────────────┘
 Total params: 58 (232.00 B)
 Trainable params: 58 (232.00 B)
 Non-trainable params: 0 (0.00 B)"""


def test_summary() -> None:
    model = Sequential([layers.Input((4,)), *stack().layers], name="net")
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=80)
    assert "\n".join(lines) == SUMMARY


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_summary_counts_the_optimizer_as_keras_does(optimizer) -> None:
    def totals(library) -> list[str]:
        model = library.Sequential(
            [library.layers.Input((4,)), library.layers.Dense(2)]
        )
        model.compile(optimizer, "mse")
        model.train_on_batch(np.ones((3, 4)), np.ones((3, 2)))
        lines: list[str] = []
        model.summary(print_fn=lambda text, **_: lines.append(text))
        return [line for line in "".join(lines).splitlines() if "params:" in line]

    assert totals(torchkeras) == totals(keras)


@pytest.mark.parametrize(
    ("units", "size"),
    [(1, "8.00 B"), (2**8, "2.00 KB"), (2**27, "1.00 GB"), (2**48, "2048.00 TB")],
)
def test_summary_gives_sizes_in_a_unit_that_fits(units, size) -> None:
    with torch.device("meta"):  # without the memory
        model = Sequential([layers.Input((1,)), layers.Dense(units)])
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    shown = "\n".join(lines).splitlines()
    (total,) = [line for line in shown if line.startswith(" Total params")]
    assert total == f" Total params: {2 * units:,} ({size})"


def test_summary_breaks_long_names_at_spaces() -> None:
    model = Sequential([layers.Input((4,)), layers.BatchNormalization(name="n" * 24)])
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=80)
    first, second = lines[0].splitlines()[4:6]
    assert first.startswith(f"│ {'n' * 24}  ")
    assert second.startswith("│ (BatchNormalization)  ")


def test_summary_runs_nothing() -> None:
    class Loud(layers.Layer):
        def call(self, inputs):
            assert inputs.device.type == "meta"
            return inputs

    model = Sequential([layers.Input((4,)), Loud()])
    model.summary(print_fn=lambda _: None)


class Frame:
    """What a data frame has in common with arrays."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: [x],
        lambda x: {"x": x},
        lambda x: x[..., None],
        Frame,
    ],
    ids=["list", "dict", "one more axis", "frame"],
)
def test_one_input_in_another_dress(wrap) -> None:
    model = Sequential([layers.Dense(2, input_shape=(4,))])
    x = X.numpy()
    torch.testing.assert_close(model(wrap(x)), model(X))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_last_axis_of_one_may_be_left_out(kind) -> None:
    model = Sequential([layers.Dense(2, input_shape=[1])])
    x = kind(np.arange(3, dtype="float32"))
    assert model(x).shape == (3, 2)
    assert model.predict(x, verbose=0).shape == (3, 2)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (X[0], r"expected an input of shape \(None, 4\), got \(4,\). For one sample"),
        (X[:, None], r"expected an input of shape \(None, 4\), got \(3, 1, 4\)"),
        ([X, X], r"a stack takes one array or tensor, got 2: \['Tensor of shape"),
    ],
    ids=["one sample", "an axis too many", "two inputs"],
)
def test_inputs_that_do_not_fit_are_refused(x, match) -> None:
    model = Sequential([layers.Dense(2, input_shape=(4,))])
    with pytest.raises(ValueError, match=match):
        model(x)


def test_a_layer_is_no_list_of_layers() -> None:
    with pytest.raises(TypeError, match="`layers` must be a list of layers"):
        Sequential(layers.Dense(2))


def test_reset_states_reaches_every_stateful_layer() -> None:
    lstm = layers.LSTM(3, stateful=True, batch_input_shape=(2, 5, 4))
    model = Sequential([lstm, layers.Dense(1)])
    model(torch.ones(2, 5, 4))
    states = lstm.states or []
    assert any(state.any() for state in states)
    model.reset_states()
    assert not any(state.any() for state in states)


def test_summary_of_frozen_and_unbuilt_layers() -> None:
    lines: list[str] = []
    stack().summary(print_fn=lines.append)
    assert "0 (unbuilt)" in lines[0]
    model = Sequential([layers.Input((4,)), *stack().layers])
    model[0].trainable = False
    model.summary(print_fn=lines.append, show_trainable=True)
    assert "Trainable params: 18" in lines[1]
    assert "Non-trainable params: 40" in lines[1]


def test_summary_says_what_is_trained() -> None:
    inner = Sequential([layers.Input((8,)), layers.Dense(8), layers.Dropout(0.5)])
    frozen = layers.BatchNormalization(name="frozen")
    frozen.trainable = False
    stacked = [layers.Input((4,)), layers.Dense(8), inner, frozen, layers.ReLU()]
    model = Sequential(stacked)
    lines: list[str] = []
    model.summary(print_fn=lines.append, show_trainable=True, expand_nested=True)
    rows = [line.split("│")[1:-1] for line in lines[0].splitlines() if "│" in line]
    assert [row[-1].strip() for row in rows] == ["Y", "Y", "Y", "-", "N", "-"]


@pytest.mark.parametrize(
    "before",
    [
        lambda: [layers.Input((4,))],
        lambda: [layers.Dense(2)],
        lambda: [layers.Dense(2, input_shape=(4,))],
        lambda: [layers.Input((4,)), layers.Dense(2)],
    ],
    ids=["an input", "a layer", "a built layer", "both"],
)
@pytest.mark.parametrize("late", [layers.Input, layers.InputLayer])
def test_an_input_comes_first_and_once(before, late) -> None:
    model = Sequential(before())
    count, shape = len(model.layers), model.built and model.input_shape
    with pytest.raises(ValueError, match="an Input must come first and only once"):
        model.add(late((5,), name="late"))
    assert len(model.layers) == count
    assert (model.built and model.input_shape) == shape


def test_a_subclassed_model() -> None:
    class Twice(Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, inputs):
            return self.dense(self.dense(inputs))

    model = Twice()
    model.build((None, 4))
    assert model.built
    assert model.count_params() == 20
    assert [layer.name for layer in model.layers] == [model.dense.name]
    model.compile("sgd", "mse")
    model.fit(X.numpy(), np.ones((3, 4)), verbose=0)


def test_building_is_linear_in_the_layers(monkeypatch):
    """Adding a layer looks at that layer, not at those below it."""
    looked_at = []
    train = torch.nn.Module.train

    def counted(module, mode=True):
        looked_at.append(module)
        return train(module, mode)

    monkeypatch.setattr(torch.nn.Module, "train", counted)
    counts = []
    for number in (10, 20, 40):
        looked_at.clear()
        model = Sequential(
            [layers.Input((4,)), *[layers.Dense(4) for _ in range(number)]]
        )
        counts.append(len(looked_at))
        assert model.built
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])


def test_a_layer_added_later_is_finished_like_the_first():
    late = Sequential([layers.Input((4,)), layers.Dense(4)], trainable=False)
    late.train()
    late.add(layers.Dense(3, activity_regularizer="l2"))
    assert late.layers[-1].training
    assert not late.layers[-1].trainable_weights
    assert late.get_build_config() == {"input_shape": (None, 4)}
    late(torch.ones(2, 4))
    assert len(late.losses) == 1
    late.pop()
    late(torch.ones(2, 4))
    assert late.losses == []


def float32_tail():
    """The end of a model of mixed precision, as Keras's guide advises, and one more."""
    return [layers.Dense(3, dtype="float32"), layers.Dense(2, dtype="float32")]


MIXED = {
    "an input first": lambda: Sequential(
        [layers.Input((4,)), layers.Dense(4), *float32_tail()]
    ),
    "built by a shape": lambda: Sequential([layers.Dense(4), *float32_tail()]),
    "added later": lambda: stacked(layers.Dense(4, input_shape=(4,)), *float32_tail()),
    "a stack inside": lambda: Sequential(
        [layers.Input((4,)), layers.Dense(4), Sequential(float32_tail())]
    ),
}


def stacked(*parts):
    model = Sequential()
    for part in parts:
        model.add(part)
    return model


@pytest.mark.parametrize("make", list(MIXED.values()), ids=list(MIXED))
def test_each_layer_of_a_mixed_stack_computes_in_its_own_dtype(make):
    before = torchkeras.mixed_precision.global_policy()
    torchkeras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = make()
        if not model.built:
            model.build((None, 4))
        dtypes = []
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_hook(
                    lambda own, given, made: dtypes.append(made.dtype)
                )
        for _ in range(2):
            dtypes.clear()
            assert model(X).dtype == torch.float32
            assert dtypes == [torch.bfloat16, torch.float32, torch.float32]
    finally:
        torchkeras.mixed_precision.set_global_policy(before)
