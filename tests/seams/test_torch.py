"""Where torchkeras meets torch: what works on any module works on a model."""

import copy
import os

import pytest
import torch
from torch import nn

from torchkeras import layers
from torchkeras.models import Sequential

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
