"""Where torchkeras meets torch: what works on any module works on a model."""

import copy
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import layers
from torchkeras.models import Model, Sequential, load_model

X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))


def model_of() -> Sequential:
    return Sequential(
        [
            layers.Dense(8, activation="relu", input_shape=(5,)),
            layers.BatchNormalization(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def test_state_dict_round_trip() -> None:
    model, twin = model_of(), model_of()
    twin.load_state_dict(
        dict(zip(twin.state_dict(), model.state_dict().values(), strict=True))
    )
    torch.testing.assert_close(twin(X), model(X))


def test_a_model_is_found_by_tools_that_look_for_torch_modules() -> None:
    kinds = [type(m) for m in model_of().modules()]
    assert kinds.count(nn.Linear) == 2


def test_hooks_run_and_see_values_that_stay() -> None:
    model = model_of()
    seen = []
    model[0].linear.register_forward_hook(lambda m, i, o: seen.append(o))
    model(X)
    expected = nn.functional.linear(X, *model[0].linear.parameters())
    torch.testing.assert_close(seen[0], expected)  # not rectified in place


#: Layers whose ReLU may overwrite what their torch module returned.
RECTIFIED = {
    "Dense": (lambda: layers.Dense(3, "relu"), (4, 5), "linear"),
    "Dense of sequences": (lambda: layers.Dense(3, "relu"), (4, 2, 5), "linear"),
    "Conv1D": (lambda: layers.Conv1D(3, 2, activation="relu"), (2, 5, 3), "conv"),
    "Conv2D": (lambda: layers.Conv2D(3, 2, activation="relu"), (2, 5, 5, 3), "conv"),
    "Conv3D": (lambda: layers.Conv3D(3, 2, activation="relu"), (1, 3, 3, 3, 2), "conv"),
    "Conv2D same": (
        lambda: layers.Conv2D(3, 2, 2, "same", activation="relu"),
        (2, 5, 5, 3),
        "conv",
    ),
    "Conv1DTranspose": (
        lambda: layers.Conv1DTranspose(3, 2, activation="relu"),
        (2, 5, 3),
        "conv",
    ),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(3, 2, activation="relu"),
        (2, 5, 5, 3),
        "conv",
    ),
    "DepthwiseConv2D": (
        lambda: layers.DepthwiseConv2D(2, activation="relu"),
        (2, 5, 5, 3),
        "conv",
    ),
    "SeparableConv2D": (
        lambda: layers.SeparableConv2D(3, 2, activation="relu"),
        (2, 5, 5, 3),
        "conv.pointwise",
    ),
}
HOOKS = ["forward_pre", "forward", "full_backward_pre", "full_backward"]


@pytest.mark.parametrize("everywhere", [False, True], ids=["module", "global"])
@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("name", RECTIFIED)
def test_hooks_on_what_is_rectified(name: str, kind: str, everywhere: bool) -> None:
    torch.manual_seed(0)
    make, shape, attribute = RECTIFIED[name]
    layer, x = make(), torch.randn(shape, requires_grad=True)
    layer(x).cos().sum().backward()
    assert x.grad is not None
    expected = x.grad.clone()
    x.grad = None
    module = layer.get_submodule(attribute)
    seen: list[Any] = []

    def hook(owner: nn.Module, *values: Any) -> None:
        if owner is module:
            seen.extend(values)

    if everywhere:
        handle = getattr(nn.modules.module, f"register_module_{kind}_hook")(hook)
    else:
        handle = getattr(module, f"register_{kind}_hook")(hook)
    try:
        outputs = layer(x)
        outputs.cos().sum().backward()
    finally:
        handle.remove()
    assert seen
    if kind == "forward":  # it keeps what the module gave, not what became of it
        assert (seen[1] < 0).any()
    torch.testing.assert_close(x.grad, expected)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return x[0:, 1:], {"twice": x * 2}


@pytest.mark.parametrize("everywhere", [False, True], ids=["module", "global"])
@pytest.mark.parametrize("kind", [*HOOKS, "backward"])
@pytest.mark.filterwarnings("ignore:.*backward hook")  # torch's own, of any module
def test_hooked_modules_may_be_called_on_symbolic_tensors(
    kind: str, everywhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Torch allows one kind of backward hook for all modules in a process.
    monkeypatch.setattr(nn.modules.module, "_global_is_full_backward_hook", None)
    inner, pair, ran = nn.Linear(5, 3), Pair(), []

    def hook(*_: Any) -> None:
        ran.append(kind)

    handles = [
        nn.modules.module.__dict__[f"register_module_{kind}_hook"](hook)
        if everywhere
        else getattr(module, f"register_{kind}_hook")(hook)
        for module in ([inner] if everywhere else [inner, pair])
    ]
    try:
        inputs = layers.Input((5,))
        rest, named = pair(inner(inputs))
        model = Model(inputs, [rest, named["twice"]])
        ran.clear()
        one, other = model(X)
        (one.sum() + other.sum()).backward()
    finally:
        for handle in handles:
            handle.remove()
    assert ran
    torch.testing.assert_close(other, 2 * inner(X))
    torch.testing.assert_close(one, inner(X)[:, 1:])


@pytest.mark.parametrize("name", RECTIFIED)
def test_hooks_of_state_dicts(name: str) -> None:
    make, shape, attribute = RECTIFIED[name]
    layer = make()
    layer(torch.ones(shape))
    seen: list[str] = []
    for module in (layer, layer.get_submodule(attribute)):
        handles = [
            module.register_state_dict_pre_hook(lambda *_: seen.append("pre")),
            module.register_state_dict_post_hook(lambda *_: seen.append("post")),
            module.register_load_state_dict_pre_hook(lambda *_: seen.append("load")),
            module.register_load_state_dict_post_hook(lambda *_: seen.append("end")),
        ]
        layer.load_state_dict(layer.state_dict())
        for handle in handles:
            handle.remove()
    assert seen == 2 * ["pre", "post", "load", "end"]


def test_functional_call_and_vmap() -> None:
    model = model_of()
    state = {k: v.detach() for k, v in model.state_dict().items()}
    out = torch.func.functional_call(model, state, (X,))
    torch.testing.assert_close(out, model(X))
    rows = torch.func.vmap(lambda x: torch.func.functional_call(model, state, (x,)))
    torch.testing.assert_close(rows(X[None])[0], model(X))


def test_parametrize_and_apply() -> None:
    model = model_of()
    names = []
    model.apply(lambda m: names.append(type(m).__name__))
    assert "Linear" in names
    nn.utils.parametrizations.weight_norm(model[0].linear)
    assert model(X).shape == (4, 2)
    assert model[0].kernel.shape == (5, 8)


def test_half_and_double() -> None:
    model = model_of().double()
    assert next(model.parameters()).dtype == torch.float64
    linear = copy.deepcopy(model)[0].linear
    assert linear(X.double()).dtype == torch.float64


#: Layers, and the torch modules that compute the same from the layers' own weights.
PLAIN = {
    "Dense": (lambda: layers.Dense(3), lambda own: own.linear),
    "Conv1D": (
        lambda: layers.Conv1D(3, 2, data_format="channels_first"),
        lambda own: own.conv,
    ),
    "LayerNormalization": (layers.LayerNormalization, lambda own: own.norm),
    "LSTM": (
        lambda: layers.LSTM(3, return_sequences=True),
        lambda own: _first_of(own.cell.lstm),
    ),
    "SimpleRNN": (
        lambda: layers.SimpleRNN(3, return_sequences=True),
        lambda own: _first_of(own.cell.rnn),
    ),
    "Attention": (
        layers.Attention,
        lambda _: lambda x: F.scaled_dot_product_attention(x[0], x[1], x[1], scale=1.0),
    ),
    "Activation": (lambda: layers.Activation("tanh"), lambda _: torch.tanh),
    "Softmax": (layers.Softmax, lambda _: nn.Softmax(-1)),
}


def _first_of(recurrent: nn.RNNBase) -> Callable[[torch.Tensor], torch.Tensor]:
    module: Any = nn.LSTM if isinstance(recurrent, nn.LSTM) else nn.RNN
    twin = module(recurrent.input_size, recurrent.hidden_size, batch_first=True)
    twin.load_state_dict(recurrent.state_dict(), strict=False)
    return lambda x: twin(x)[0]


@pytest.mark.parametrize("training", [None, True])
@pytest.mark.parametrize("name", PLAIN)
def test_autocast_is_left_to_its_owner(name: str, training: bool | None) -> None:
    torch.manual_seed(0)
    make, plain_of = PLAIN[name]
    layer, x = make(), torch.randn(2, 5, 4)
    inputs = [x, x] if name == "Attention" else x
    layer(inputs)
    plain = plain_of(layer)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(inputs)
        outputs = layer(inputs, training=training)
    assert outputs.dtype == expected.dtype
    torch.testing.assert_close(outputs, expected, rtol=0.02, atol=0.02)
    assert layer(inputs).dtype == torch.float32


@pytest.mark.parametrize("training", [None, True])
def test_autocast_reaches_into_models(training: bool | None) -> None:
    inputs = layers.Input((5,))
    outputs = layers.Dense(2)(layers.Dropout(0.0)(layers.Dense(3)(inputs)))
    stack = [layers.Dense(3), layers.Dropout(0.0), layers.Dense(2)]
    for model in (Model(inputs, outputs), Sequential(stack)):
        with torch.autocast("cpu", torch.bfloat16):
            assert model(X, training=training).dtype == torch.bfloat16
            # Torch's autocast leaves float64 alone, which no float32 weight fits.
            assert model(X.double(), training=training).dtype == torch.bfloat16
        assert model(X, training=training).dtype == torch.float32


def test_a_plain_policy_computes_in_its_dtype_within_a_mixed_model() -> None:
    model = Sequential(
        [
            layers.Dense(3, dtype="mixed_bfloat16"),
            layers.Dense(2, dtype="float32"),
        ]
    )
    model.dtype_policy = "mixed_bfloat16"
    assert model(X).dtype == torch.float32
    assert model.layers[0](X).dtype == torch.bfloat16


def test_models_follow_a_conversion_and_are_saved_with_it(tmp_path) -> None:
    inputs = layers.Input((5,))
    hidden = torch.cat([inputs, layers.Dense(3)(inputs)], dim=-1)
    for model in (model_of(), Model(inputs, layers.Dense(2)(hidden))):
        model.double()
        assert model(X).dtype == model(X.double()).dtype == torch.float64
        assert model.predict(X.numpy(), verbose=0).dtype == "float64"
        model.save(tmp_path / "m.safetensors")
        loaded = load_model(tmp_path / "m.safetensors")
        torch.testing.assert_close(loaded(X), model(X))
        assert loaded(X).dtype == torch.float64
        model.compile("sgd", "mse")
        model.fit(X.numpy(), X[:, :2].numpy(), verbose=0)
        assert {w.dtype for w in model.parameters()} == {torch.float64}
        model.half()
        assert model(X).dtype == torch.float16


@pytest.mark.parametrize("change", ["share_memory", "to_empty", "cpu"])
def test_other_changes_leave_the_dtype(change: str) -> None:
    model = model_of()
    before = model.dtype_policy
    getattr(model, change)(**({"device": "cpu"} if change == "to_empty" else {}))
    assert model.dtype_policy is before
    assert model.layers[0].compute_dtype == "float32"


def test_torch_export() -> None:
    model = model_of()
    exported = torch.export.export(model, (X,))
    torch.testing.assert_close(exported.module()(X), model(X))


def test_distributed_data_parallel(tmp_path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        model = model_of()
        parallel = nn.parallel.DistributedDataParallel(model)
        parallel.train()
        parallel(X).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    finally:
        torch.distributed.destroy_process_group()


def test_a_layer_inside_a_torch_module() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)
            self.blocks = nn.ModuleList([layers.Dense(3) for _ in range(2)])

        def forward(self, x):
            x = self.dense(x)
            for block in self.blocks:
                x = block(x)
            return x

    net = Net()
    net(X)
    assert len(list(net.parameters())) == 6
    torch.optim.SGD(net.parameters(), lr=0.1)
    assert next(iter(net.state_dict())) == "dense.linear.weight"


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_steps() -> None:
    model = Sequential([layers.Dense(4, input_shape=(5,)), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = torch.randn(8, 5), torch.randn(8, 1)

    def run(steps: int) -> None:
        for _ in range(steps):
            model.train_on_batch(x, y)
            model.predict_on_batch(x)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    run(1000)
    before = resident()
    run(10_000)
    assert resident() - before < 8 * 2**20
