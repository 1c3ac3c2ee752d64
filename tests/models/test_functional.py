"""Functional models: graphs of `torch.fx` that come out again as plain PyTorch."""

import copy
import gc
import io
import operator
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import torchkeras
from tests.parity.functional_models import MODELS, several_outputs
from torchkeras import KerasTensor, layers, ops
from torchkeras._core import symbolic, tree
from torchkeras.layers import Dense, Input
from torchkeras.models import (
    Functional,
    Model,
    Sequential,
    clone_model,
    load_model,
    schema,
)

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def forget_compiled():
    """Let each test compile anew: dynamo counts what it compiled for one function."""
    torch.compiler.reset()


def small() -> Model:
    inputs = Input((4,), name="x")
    hidden = Dense(6, activation="relu", name="hidden")(inputs)
    joined = torch.cat([hidden, inputs], dim=-1)
    return Model(inputs, Dense(2, name="last")(joined), name="small")


class Twice(Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = Dense(4, activation="tanh")
        self.norm = layers.LayerNormalization()

    def call(self, inputs):
        return self.norm(self.dense(self.dense(inputs)) + inputs)


def stack() -> Sequential:
    return Sequential([Input((4,)), Dense(8, "relu"), layers.Dropout(0.5), Dense(2)])


# Torch's view


def test_the_source_reads_like_hand_written_torch():
    code = small().code
    for line in ("hidden = self.hidden(x)", "torch.cat([hidden, x], dim = -1)"):
        assert line in code
    assert "return last" in code


def test_state_dict_keys_are_the_names_of_layers():
    assert list(small().state_dict()) == [
        "hidden.linear.weight",
        "hidden.linear.bias",
        "last.linear.weight",
        "last.linear.bias",
    ]


@pytest.mark.parametrize("make", [small, stack, Twice])
def test_one_graph_forward_and_backward(make):
    model = make()
    model(X)
    model.eval()
    expected = model(X)
    expected.square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    outputs = compiled(X)
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("build", MODELS)
def test_every_model_compiles_as_one_graph(build):
    model = build(torchkeras)
    inputs = tree.map_structure(torch.tensor, MODELS[build])
    expected = tree.flatten(model(inputs))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for own, reference in zip(tree.flatten(compiled(inputs)), expected, strict=True):
        torch.testing.assert_close(own, reference)


def test_torch_tools_transform_the_graph():
    model = small()
    module = fx.GraphModule(model, model.graph)
    torch.testing.assert_close(module(X), model(X))
    before = model(X)
    for node in model.graph.nodes:
        if node.op == "call_function" and node.target is torch.cat:
            with model.graph.inserting_after(node):
                doubled = model.graph.call_function(torch.mul, (node, 0.0))
            node.replace_all_uses_with(doubled)
            doubled.args = (node, 0.0)
            break
    model.recompile()
    torch.testing.assert_close(model(X), model.last.linear.bias.expand(5, 2))
    assert not torch.equal(model(X), before)


def test_a_layer_may_be_replaced():
    model = small()
    model.last = nn.Linear(10, 3)
    assert model(X).shape == (5, 3)


@pytest.mark.parametrize("build", MODELS)
def test_a_deep_copy_stands_on_its_own(build):
    model = build(torchkeras)
    twin = copy.deepcopy(model)
    inputs = MODELS[build]
    for own, reference in zip(
        tree.flatten(twin(inputs)), tree.flatten(model(inputs)), strict=True
    ):
        assert torch.equal(own, reference)
    assert twin.layers[-1] is not model.layers[-1]
    part = Model(twin.inputs, twin.layers[-1].output)
    assert part.layers[-1] is twin.layers[-1]
    for weight in twin.weights:
        weight.assign(torch.zeros(tuple(weight.shape)))
    assert any(w.numpy().any() for w in model.weights)


def test_a_pickled_model_computes_the_same():
    model = small()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    # Of our own making, in this very test.
    loaded = torch.load(file, weights_only=False)  # noqa: TID251
    assert torch.equal(loaded(X), model(X))
    assert loaded.code == model.code


def test_hooks_and_modes_reach_the_layers():
    model = small()
    seen = []
    model.hidden.register_forward_hook(lambda m, i, o: seen.append(o.shape))
    model(X)
    assert seen == [(5, 6)]
    model.train()
    assert model.hidden.training
    assert not model.eval().hidden.training


def test_a_deep_graph_needs_no_recursion():
    tensor = inputs = Input((4,))
    for _ in range(600):
        tensor = tensor + 1.0
    model = copy.deepcopy(Model(inputs, tensor))
    torch.testing.assert_close(model(X), X + 600)


# What symbolic tensors pass through


def test_torch_modules_are_layers():
    inputs = Input((4,))
    hidden = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.9))(inputs)
    outputs = nn.Linear(6, 2)(hidden)
    model = Model(inputs, outputs)
    assert model.output_shape == (None, 2)
    assert [type(layer) for layer in model.layers[1:]] == [nn.Sequential, nn.Linear]
    assert len(model.trainable_weights) == 4
    assert torch.equal(model(X), model(X))  # in inference mode, as Keras's models are
    assert not torch.equal(model(X, training=True), model(X, training=True))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, torch.zeros(5, 2), verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_torch_module_may_return_several_tensors():
    inputs = Input((6, 4))
    outputs, (state, cell) = nn.LSTM(4, 3, batch_first=True)(inputs)
    attended, weights = nn.MultiheadAttention(3, 1, batch_first=True)(
        outputs, outputs, outputs
    )
    model = Model(inputs, [attended, weights, state, cell])
    assert model.output_shape == [
        (None, 6, 3),
        (None, 6, 6),
        (1, None, 3),
        (1, None, 3),
    ]
    x = torch.randn(2, 6, 4)
    lstm, attention = model.layers[1:]
    hidden, (h, c) = lstm(x)
    expected = [*attention(hidden, hidden, hidden), h, c]
    for own, reference in zip(model(x), expected, strict=True):
        torch.testing.assert_close(own, reference)


def test_a_module_of_ones_own_that_asks_for_sizes():
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x):
            batch, length, width = x.shape
            heads = self.linear(x).view(batch, length, 2, width // 2).transpose(1, 2)
            return heads.reshape(batch, -1).to(x.dtype)

    inputs = Input((6, 8))
    model = Model(inputs, Heads()(inputs))
    assert model.output_shape == (None, 48)
    assert model(torch.randn(3, 6, 8)).shape == (3, 48)


def test_any_torch_function_and_tensor_method():
    inputs = Input((4, 6))
    outputs = [
        torch.einsum("bij,kj->bik", inputs, torch.ones(3, 6)),
        F.scaled_dot_product_attention(inputs, inputs, inputs),
        inputs.mean(1).softmax(-1),
        inputs.view(inputs.size(0), -1),
        inputs.permute(0, 2, 1).flatten(1),
        inputs.mT @ inputs,
        (inputs > 0).float() * inputs.abs().sqrt() - inputs**2 // 1,
        inputs[:, ::2, None],
        torch.stack(inputs.unbind(1)).amax(0),
    ]
    model = Model(inputs, outputs)
    x = torch.randn(3, 4, 6)
    made = model(x)
    for expected, tensor in zip(outputs, made, strict=True):
        assert expected.shape[1:] == tensor.shape[1:]
    torch.testing.assert_close(made[3], x.reshape(3, -1))
    torch.testing.assert_close(made[5], x.mT @ x)
    torch.testing.assert_close(made[8], x.amax(1))


def test_tensors_in_the_graph_belong_to_the_model():
    inputs = Input((4,))
    scale = nn.Parameter(torch.full((4,), 2.0))
    shift = torch.ones(4)
    model = Model(inputs, inputs * scale + shift)
    torch.testing.assert_close(model(X), X * 2 + 1)
    assert [w.shape for w in model.trainable_weights] == [(4,)]
    assert model.double()(X.double()).dtype == torch.float64


def test_a_weight_may_be_tied():
    inputs = Input((3,), dtype="int32")
    embedding = layers.Embedding(10, 4)
    hidden = Dense(4, activation="tanh")(embedding(inputs))
    logits = torch.einsum("blh,vh->blv", hidden, embedding.embeddings)
    model = copy.deepcopy(Model(inputs, logits))
    x = torch.tensor([[1, 2, 3]])
    hidden = model.layers[2](model.layers[1](x))
    expected = hidden @ model.layers[1].embedding.weight.T
    torch.testing.assert_close(model(x), expected)
    with pytest.raises(ValueError, match="computed from weights before"):
        Model(inputs, torch.matmul(logits, embedding.embeddings * 2.0))


def test_arguments_of_a_call_are_kept():
    class Scaled(layers.Layer):
        def call(self, x, y, factor=1.0, training=False):
            return x * factor + y * (2.0 if training else 1.0)

    first, second = Input((4,)), Input((4,))
    model = Model([first, second], Scaled()(first, y=second, factor=3.0))
    torch.testing.assert_close(model([X, X]), X * 4)
    torch.testing.assert_close(model([X, X], training=True), X * 5)
    frozen = Model([first, second], Scaled()(first, second, training=False))
    torch.testing.assert_close(frozen([X, X], training=True), X * 2)


def test_a_slice_of_an_unknown_batch():
    inputs = Input((4,))
    model = Model(inputs, inputs[:2] * 1.0)
    assert model(X).shape == (2, 4)


# Inputs of a call


def test_inputs_by_position_by_name_and_in_their_structure():
    model = several_outputs(torchkeras)
    wide, deep = MODELS[several_outputs]
    expected = model([wide, deep])
    for inputs in ((wide, deep), {"deep": deep, "wide": wide}):
        for own, reference in zip(model(inputs), expected, strict=True):
            assert torch.equal(own, reference)


def _difference(structure, trained=None):
    """Return a model that subtracts "a" from "z", of inputs in a structure."""
    made = {name: Input((2,), name=name) for name in ("z", "a")}
    outputs = layers.Subtract()([made["z"], made["a"]])
    return Model(structure(made), outputs if trained is None else trained(outputs))


STRUCTURES = {
    "a dict": lambda t: {"z": t["z"], "a": t["a"]},
    "a dict in another order": lambda t: {"a": t["a"], "z": t["z"]},
    "a list of a dict": lambda t: [{"z": t["z"], "a": t["a"]}],
    "a dict of dicts": lambda t: {"z": {"z": t["z"]}, "a": {"a": t["a"]}},
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_inputs_with_names_are_never_taken_by_position(structure):
    one, zero = np.ones((1, 2), "float32"), np.zeros((1, 2), "float32")
    identity = layers.Dense(2, use_bias=False, kernel_initializer="identity")
    model = _difference(STRUCTURES[structure], identity)
    model.compile("sgd", "mse")
    for given in ({"z": one, "a": zero}, {"a": zero, "z": one}):
        given = STRUCTURES[structure](given)
        np.testing.assert_array_equal(model(given).detach(), [[1, 1]])
        np.testing.assert_array_equal(model.predict(given, verbose=0), [[1, 1]])
        assert model.evaluate(given, np.ones((1, 2)), verbose=0) == 0
    for given in ([one, zero], (one, zero)):
        for use in (
            model,
            lambda x: model.predict(x, verbose=0),
            lambda x: model.fit(x, np.ones((1, 2)), verbose=0),
        ):
            with pytest.raises(
                ValueError, match=r"names \['a', 'z'\], got \['.*without"
            ):
                use(given)


def test_inputs_in_a_list_are_taken_in_their_order():
    one, zero = np.ones((1, 2), "float32"), np.zeros((1, 2), "float32")
    for kind in (list, tuple, lambda view: view):
        model = _difference(lambda tensors, kind=kind: kind(tensors.values()))
        np.testing.assert_array_equal(model([one, zero]), [[1, 1]])
        np.testing.assert_array_equal(model((one, zero)), [[1, 1]])
        np.testing.assert_array_equal(model({"a": zero, "z": one}), [[1, 1]])


def test_a_dict_of_one_input_needs_no_names():
    only = Input((2,), name="only")
    model = Model({"only": only}, layers.Identity()(only))
    one = np.ones((1, 2), "float32")
    for given in (one, [one], {"only": one}):
        np.testing.assert_array_equal(model(given), one)


def test_the_names_inside_a_list_are_checked():
    model = _difference(STRUCTURES["a list of a dict"])
    with pytest.raises(
        ValueError, match=r"the inputs are \['a', 'z'\].*\['a'\] are miss"
    ):
        model([{"z": np.ones((1, 2)), "b": np.ones((1, 2))}])


@pytest.mark.parametrize("as_dict", [True, False])
def test_inputs_that_are_not_used_are_named_once(as_dict):
    a, b = Input((3,), name="a"), Input((2,), name="b")
    inputs = {"a": a, "b": b} if as_dict else [a, b]
    model = Model(inputs, Dense(1)(layers.concatenate([a, b])))
    model.compile("sgd", "mse")
    x = {"a": np.ones((4, 3)), "b": np.ones((4, 2)), "c": np.ones((4, 2))}
    y = np.ones((4, 1))
    for call in (
        lambda x: model.fit(x, y, epochs=2, verbose=0),
        lambda x: model.evaluate(x, y, verbose=0),
        lambda x: model.predict(x, verbose=0),
        lambda x: model.train_on_batch(x, y),
    ):
        with pytest.warns(
            UserWarning, match=r"does not use the inputs \['c'\]"
        ) as found:
            call(x)
        assert len(found) == 1
        with pytest.raises(ValueError, match=r"\['a', 'b'\], got \['a'\]"):
            call({"a": x["a"]})


def test_ranks_and_dtypes_are_fitted():
    inputs = Input((1,), dtype="int32")
    model = Model(inputs, layers.Embedding(5, 2)(inputs))
    assert model(torch.tensor([1.0, 2.0])).shape == (2, 1, 2)
    assert small()(X.double().numpy()).dtype == torch.float32


def test_an_optional_input():
    class Maybe(layers.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    first, second = Input((4,)), Input((4,), optional=True)
    model = Model([first, second], Maybe()(first, second))
    torch.testing.assert_close(model([X, None]), X)
    torch.testing.assert_close(model([X, X]), 2 * X)


# Cloning, saving


def test_clones_have_weights_of_their_own():
    model = several_outputs(torchkeras)
    twin = clone_model(model)
    assert [x.name for x in twin.layers] == [x.name for x in model.layers]
    assert not set(map(id, twin.layers)) & set(map(id, model.layers))
    twin.set_weights(model.get_weights())
    for own, reference in zip(
        twin(MODELS[several_outputs]), model(MODELS[several_outputs]), strict=True
    ):
        torch.testing.assert_close(own, reference)


def test_clones_on_other_inputs_and_of_other_layers():
    inputs = Input((4,), batch_size=7)
    assert clone_model(small(), input_tensors=inputs).input_shape == (7, 4)

    def wider(layer):
        if isinstance(layer, Dense) and layer.name == "hidden":
            return Dense(16, name="wide")
        return type(layer).from_config(layer.get_config())

    twin = clone_model(small(), clone_function=wider)
    assert twin.get_layer("wide").units == 16
    assert twin.output_shape == (None, 2)
    shared = clone_model(small(), clone_function=lambda layer: layer)
    assert isinstance(shared, Model)
    stacked = clone_model(stack(), clone_function=copy.deepcopy)
    assert stacked.output_shape == (None, 2)


def test_clone_model_refuses_what_it_cannot_clone():
    with pytest.raises(ValueError, match="must be a model"):
        clone_model(Dense(2))  # pyright: ignore
    with pytest.raises(ValueError, match="must return a layer, got 3"):
        clone_model(small(), clone_function=lambda layer: 3)
    with pytest.raises(ValueError, match="1 symbolic tensor"):
        clone_model(small(), input_tensors=[Input((4,)), Input((4,))])


def test_torch_functions_are_saved_in_the_native_format_only(tmp_path):
    model = small()
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert torch.equal(loaded(X), model(X))
    for name in ("model.keras", "model.h5"):
        with pytest.raises(ValueError, match=r"the model calls torch\.cat"):
            model.save(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_function_that_no_file_may_name_is_refused(tmp_path):
    def tripled(x):
        return x * 3

    inputs = Input((4,))
    model = Model(inputs, ops.map(tripled, inputs))
    torch.testing.assert_close(model(X), X * 3)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="tripled"):
        load_model(tmp_path / "model.safetensors")


def test_a_file_cannot_call_what_is_not_listed():
    config = small().get_config()
    call = next(x for x in config["layers"] if x["module"] == "torch")
    for name in ("torch.load", "torch.Tensor.numpy", "os.system", "torch.save"):
        call["class_name"] = name
        with pytest.raises(ValueError, match="Unknown operation"):
            Model.from_config(config)


def test_a_subclass_may_pass_inputs_and_outputs():
    class Tower(Model):
        def __init__(self, units=3, **kwargs):
            inputs = Input((4,))
            super().__init__(inputs, Dense(units)(inputs), **kwargs)
            self.units = units

    model = Tower(units=5, name="tower")
    assert model.output_shape == (None, 5)
    assert model.name == "tower"
    twin = Tower.from_config(model.get_config())
    assert twin.units == 5
    assert copy.deepcopy(model)(X).shape == (5, 5)


# Errors


def loop() -> None:
    for _ in Input((3,)):
        pass


ERRORS = {
    "disconnected": (
        lambda: Model(Input((4,)), Dense(2)(Input((4,), name="other"))),
        ValueError,
        r"Graph disconnected: the input 'other' of shape \(None, 4\), which 'dense",
    ),
    "an output that is no result": (
        lambda: Model(Input((4,)), Input((4,), name="other")),
        ValueError,
        "which is an output",
    ),
    "a tensor from nowhere": (
        lambda: Model(Input((4,)), KerasTensor((None, 3), name="lost")),
        ValueError,
        "'lost' .* comes from no `Input`",
    ),
    "a layer in place of its output": (
        lambda: Model(Input((4,)), Dense(2)),
        ValueError,
        "`outputs` must be symbolic tensors, got Dense",
    ),
    "real tensors": (
        lambda: Model(torch.ones(2), torch.ones(2)),
        ValueError,
        "`inputs` must be symbolic tensors",
    ),
    "no outputs": (lambda: Model(Input((4,))), TypeError, "`outputs` is missing"),
    "two layers of one name": (
        lambda: (lambda i: Model(i, Dense(2, name="a")(Dense(2, name="a")(i))))(
            Input((2,))
        ),
        ValueError,
        "the name 'a' belongs to 2 layers",
    ),
    "too few inputs": (
        lambda: several_outputs(torchkeras)(X),
        ValueError,
        r"expected 2 input\(s\): 'wide' of shape \(None, 4\)",
    ),
    "an input's name": (
        lambda: several_outputs(torchkeras)({"wide": X, "dep": X}),
        ValueError,
        "'deep'] are missing. Did you mean 'dep'",
    ),
    "an input's shape": (
        lambda: small()(torch.ones(2, 3)),
        ValueError,
        "expected size 4 on axis -1|must have the shape",
    ),
    "a single sample": (
        lambda: small()(torch.ones(4)),
        ValueError,
        r"For one sample write x\[None\]",
    ),
    "None for an input": (
        lambda: several_outputs(torchkeras)([None, torch.ones(2, 6)]),
        ValueError,
        "'wide' got None",
    ),
    "a condition": (
        lambda: 1 if Input((3,)) else 2,
        TypeError,
        "`ops.where` or `ops.cond`",
    ),
    "a NumPy function": (
        lambda: np.exp(Input((3,), name="x")),
        TypeError,
        "A NumPy function needs the values of the symbolic tensor 'x'",
    ),
    "a loop over a tensor": (loop, TypeError, "cannot give an iterator"),
    "a number": (lambda: float(Input((3,))), TypeError, "cannot give a number"),
    "a shape it was not built for": (
        lambda: (lambda d: (d(Input((3,))), d(Input((4,)))))(Dense(2, name="d")),
        ValueError,
        r"Layer 'd' \(Dense\): expected size 3 on axis -1",
    ),
    "an unknown attribute": (
        lambda: Input((3,), name="x").foo,
        AttributeError,
        "'x' has no attribute 'foo'",
    ),
    "a loss for no output": (
        lambda: several_outputs(torchkeras).compile(loss={"scor": "mse"}),
        ValueError,
        "'scor'] that are no outputs",
    ),
    "a list of losses of another length": (
        lambda: several_outputs(torchkeras).compile(loss=["mse", "mse", "mse"]),
        ValueError,
        "3 entries for 2 output",
    ),
    "a graph asked of another model": (
        lambda: stack().graph,
        AttributeError,
        "has no attribute 'graph'",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_do(case):
    call, error, message = ERRORS[case]
    with pytest.raises(error, match=message):
        call()


# The table


def test_summary_shows_where_inputs_come_from():
    lines: list[str] = []
    several_outputs(torchkeras).summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "Connected to" in text
    assert "wide[0][0]" in text
    assert "hidden[0][0]" in text
    lines.clear()
    outer = Input((4,))
    Model(outer, small()(outer)).summary(
        print_fn=lines.append, expand_nested=True, show_trainable=True
    )
    text = "\n".join(lines)
    assert "small (Functional)" in text
    assert "└── hidden (Dense)" in text
    assert "Trai" in text


def test_the_shape_of_several_inputs_by_position_and_by_name():
    layer = layers.MultiHeadAttention(2, 4)
    query, value = (None, 5, 8), (None, 7, 6)
    assert layer.compute_output_shape(query, value) == (None, 5, 8)
    named = {"value_shape": value, "query_shape": query}
    assert layers.MultiHeadAttention(2, 4).compute_output_shape(**named) == query
    assert Dense(3).compute_output_shape(input_shape=(None, 4)) == (None, 3)


def test_a_module_called_on_symbolic_tensors_is_not_kept_alive():
    module = nn.Linear(4, 2)
    module(Input((4,)))
    alive = weakref.ref(module)
    del module
    assert (Input((4,)) + 1.0).shape == (None, 4)
    gc.collect()
    assert alive() is None


def with_terms() -> Model:
    inputs = Input((4,))
    mean = Dense(2, name="mean")(inputs)
    log_variance = Dense(2, name="log_variance")(inputs)
    model = Model(inputs, Dense(4, name="out")(mean))
    model.add_loss(-0.5 * ops.mean(1 + log_variance - ops.exp(log_variance)))
    model.add_loss([torch.mean(mean**2), 0.0 * ops.sum(mean)])
    return model


def expected_loss(model) -> float:
    with torch.no_grad():
        mean, log_variance = (
            model.get_layer(name)(X) for name in ("mean", "log_variance")
        )
        terms = (
            mean.square().mean() - 0.5 * (1 + log_variance - log_variance.exp()).mean()
        )
        return float((model(X) - X).square().mean() + terms)


def copied(model, tmp_path):
    return copy.deepcopy(model)


def cloned(model, tmp_path):
    return clone_model(model)


def reloaded(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    return load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("again", [None, copied, cloned, reloaded])
def test_terms_of_the_loss(again, tmp_path):
    model = with_terms()
    assert model.losses == []
    model.compile("sgd", "mse")
    before = model.get_layer("log_variance").get_weights()[0]
    model.fit(X, X, epochs=2, verbose=0)
    assert not np.array_equal(model.get_layer("log_variance").get_weights()[0], before)
    if again is not None:
        twin = again(model, tmp_path)
        twin.set_weights(model.get_weights())
        twin.compile("sgd", "mse")
        model = twin
    loss = model.evaluate(X, X, verbose=0)
    assert loss == pytest.approx(expected_loss(model), rel=1e-5)
    assert len(model.losses) == 3
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert compiled(X).shape == (5, 4)


def test_terms_keep_the_weights_where_they_are():
    model = small()
    keys = list(model.state_dict())
    model.add_loss(ops.mean(Dense(1, name="extra")(model.input)))
    assert list(model.state_dict())[: len(keys)] == keys
    nested = Model(model.input, Dense(1)(model(model.input)))
    nested(X)
    assert len(nested.losses) == 1


@pytest.mark.parametrize("extension", [".keras", ".h5"])
def test_terms_have_no_form_in_the_files_of_keras(extension, tmp_path):
    with pytest.raises(ValueError, match=r"model\.add_loss.*\.safetensors"):
        with_terms().save(tmp_path / f"m{extension}")
    assert not list(tmp_path.iterdir())


def test_refused_terms_change_nothing():
    model = with_terms()
    nodes, keys = list(model.operations), list(model.state_dict())
    for term, message in (
        (model.get_layer("mean").output, r"takes scalars.*ops\.mean"),
        (ops.mean(Dense(1)(Input((3,)))), "disconnected"),
    ):
        with pytest.raises(ValueError, match=message):
            model.add_loss(term)
    with pytest.raises(ValueError, match="within `call`"):
        Dense(1).add_loss(ops.mean(model.output))
    assert list(model.operations) == nodes
    assert list(model.state_dict()) == keys


def test_new_weights_in_a_term_after_training_are_noticed():
    model = small()
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], verbose=0)
    model.add_loss(ops.mean(Dense(1)(model.input)))
    with pytest.raises(ValueError, match="Make a new optimizer"):
        model.fit(X, X[:, :2], verbose=0)


def test_a_function_gives_way_to_a_layer_of_its_name():
    inputs = Input((4,))
    mean = ops.mean(inputs, axis=-1, keepdims=True)
    model = Model(inputs, Dense(2, name="mean")(mean))
    names = [getattr(op, "name", None) for op in model.operations]
    assert len(set(names)) == len(names)
    assert model.get_layer("mean").units == 2
    twin = Model.from_config(model.get_config())
    assert twin.output_shape == (None, 2)


def test_a_subclass_that_passes_a_graph_on_is_functional():
    class Own(Model):
        def __init__(self, units, **kwargs):
            inputs = Input((4,))
            super().__init__(inputs=inputs, outputs=layers.Dense(units)(inputs))
            self.units = units

    class Below(Own):
        pass

    for cls in (Own, Below, Own):
        model = cls(3)
        assert isinstance(model, Functional)
        assert type(model) is cls
        assert model(torch.ones(2, 4)).shape == (2, 3)
        assert copy.deepcopy(model)(torch.ones(2, 4)).shape == (2, 3)
        assert "dense" in model.code


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("function", symbolic._OPERATORS_OF_NUMPY.values())
def test_arrays_on_either_side_of_operators(function, side):
    logical = function in (operator.and_, operator.or_, operator.xor)
    dtype = "int32" if logical else "float32"
    array = np.random.default_rng(0).integers(1, 4, (3, 3)).astype(dtype)
    x = np.random.default_rng(1).integers(1, 4, (5, 3, 3)).astype(dtype)

    def apply(tensor):
        sides = (array, tensor) if side == "left" else (tensor, array)
        return function(*sides)

    inputs = Input((3, 3), dtype=dtype)
    outputs = apply(inputs)
    assert outputs.history.op is function
    model = Model(inputs, outputs)
    result = model(torch.as_tensor(x))
    np.testing.assert_allclose(result, apply(x), rtol=1e-6)
    assert result.dtype == getattr(torch, outputs.dtype)


def test_operators_of_numpy_are_all_of_two_operands():
    single = {operator.neg, operator.abs, operator.invert, operator.getitem}
    assert (
        set(symbolic._OPERATORS_OF_NUMPY.values()) == set(symbolic.OPERATORS) - single
    )


@pytest.mark.parametrize("length", [20, 80])
def test_a_config_is_read_in_steps_linear_in_its_calls(length, monkeypatch):
    """In whatever order it lists its layers; each call is looked at twice at most."""
    looked = []
    missing = schema._Reader._missing

    def counted(self, call):
        looked.append(call)
        return missing(self, call)

    monkeypatch.setattr(schema._Reader, "_missing", counted)
    x = inputs = Input((4,))
    for _ in range(length):
        x = layers.Add()([layers.ReLU()(x), inputs])
    model = Model(inputs, x)
    config = model.get_config()
    for entries in (config["layers"], config["layers"][::-1]):
        looked.clear()
        twin = Model.from_config({**config, "layers": entries})
        assert len(looked) <= 4 * length
        torch.testing.assert_close(twin(X), model(X), rtol=0, atol=0)
        assert [layer.name for layer in twin.layers] == [x.name for x in model.layers]
