"""Each name that torch does not promise to keep does what it is used for."""

import multiprocessing
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn
from torch.nn.modules import module as modules
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

import torchkeras as tk
from torchkeras import layers
from torchkeras._core import torch_private


def test_tensors_of_a_subclass():
    class Own(torch.Tensor):
        __torch_function__ = torch_private.disabled_torch_function

    data = torch.ones(3)
    own = torch_private.make_subclass(Own, data, True)
    assert type(own) is Own
    assert own.requires_grad
    assert own.data_ptr() == data.data_ptr()
    assert type(own * 2) is torch.Tensor


def test_has_compatible_shallow_copy_type():
    compatible = torch_private.has_compatible_shallow_copy_type
    assert compatible(torch.ones(2), torch.zeros(3))
    assert not compatible(torch.ones(2), torch.ones(2, device="meta"))


@pytest.mark.parametrize(
    "draw", [torch_private.standard_gamma, torch_private.sample_dirichlet]
)
def test_distributions_take_a_generator(draw):
    parameters = torch.full((200, 2), 2.0)
    first, second = (
        draw(parameters, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    expected = {"_standard_gamma": 2.0, "_sample_dirichlet": 0.5}
    name = next(name for name in expected if name in str(draw))
    assert abs(float(first.mean()) - expected[name]) < 0.3


def test_version_of():
    tensor = torch.ones(2)
    before = torch_private.version_of(tensor)
    _ = tensor + 1
    assert torch_private.version_of(tensor) == before
    tensor.add_(1)
    assert torch_private.version_of(tensor) != before


def test_set_grad_enabled():
    weight = torch.ones(1, requires_grad=True)
    torch_private.set_grad_enabled(False)
    try:
        assert not torch.is_grad_enabled()
        assert not (weight * 2).requires_grad
    finally:
        torch_private.set_grad_enabled(True)
    assert (weight * 2).requires_grad


def test_is_traced():
    seen = []

    def function(x):
        seen.append(torch_private.is_traced())
        return x + 1

    function(torch.ones(1))
    torch.export.export(_Module(function), (torch.ones(1),), strict=False)
    assert seen[0] is False
    assert seen[1] is True


class _Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_bases_of_convolutions():
    for name in ("Conv1d", "Conv2d", "Conv3d"):
        assert issubclass(getattr(nn, name), torch_private.ConvNd)
    for name in ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"):
        assert issubclass(getattr(nn, name), torch_private.ConvTransposeNd)


def _nested(depth, function):
    """Call a function from within so many frames."""
    return function() if depth == 0 else _nested(depth - 1, function)


@pytest.mark.parametrize("frames", [0, 10, 25])
@pytest.mark.parametrize("hook", [False, True])
def test_module_calls_finds_the_calls_around(frames, hook):
    found = []

    def look(x, scale=1):
        _nested(frames, lambda: found.extend(torch_private.module_calls(32)))
        return x

    inner = _Module(look)
    outer = _Module(lambda x: _nested(frames, lambda: inner(x)))
    if hook:
        outer.register_forward_hook(lambda *_: None)
    outer(3)
    assert found == [(inner, (3,), {}), (outer, (3,), {})]


def test_module_calls_looks_no_farther_than_it_is_told():
    frames = []
    limit = sys.getrecursionlimit()
    module = _Module(
        lambda x: _nested(40, lambda: list(torch_private.module_calls(32)))
    )
    assert module(1) == []
    sys.setrecursionlimit(5000)
    try:
        trace = threading.Thread(
            target=lambda: _nested(900, lambda: frames.append(_looked_at()))
        )
        trace.start()
        trace.join()
    finally:
        sys.setrecursionlimit(limit)
    assert frames == [32]


def _looked_at():
    """Count the frames that a walk without a find looks at, by its own lines."""
    counted = 0

    def count(frame, event, _):
        nonlocal counted
        counted += event == "line" and "left -= 1" in _line(frame)
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        list(torch_private.module_calls(32))
    finally:
        sys.settrace(before)
    return counted


def _line(frame):
    with open(frame.f_code.co_filename) as source:
        return source.read().splitlines()[frame.f_lineno - 1]


REGISTER = {
    "forward": lambda m: m.register_forward_hook(lambda *_: None),
    "full backward": lambda m: m.register_full_backward_hook(lambda *_: None),
    "backward": lambda m: m.register_backward_hook(lambda *_: None),
    "backward pre": lambda m: m.register_full_backward_pre_hook(lambda *_: None),
}
REGISTER_FOR_ALL = {
    "forward": modules.register_module_forward_hook,
    "forward pre": modules.register_module_forward_pre_hook,
    "full backward": modules.register_module_full_backward_hook,
    "backward": modules.register_module_backward_hook,
    "backward pre": modules.register_module_full_backward_pre_hook,
}


@pytest.fixture
def any_kind_of_global_hook(monkeypatch):
    """Torch allows one kind of backward hook for all modules in a process."""
    monkeypatch.setattr(modules, "_global_is_full_backward_hook", None)


@pytest.mark.parametrize("kind", REGISTER)
@pytest.mark.usefixtures("any_kind_of_global_hook")
def test_sees_outputs(kind):
    module = nn.Linear(1, 1)
    assert not torch_private.sees_outputs(module)
    handle = REGISTER[kind](module)
    assert torch_private.sees_outputs(module)
    handle.remove()
    if kind in REGISTER_FOR_ALL:
        handle = REGISTER_FOR_ALL[kind](lambda *_: None)
        assert torch_private.sees_outputs(module)
        handle.remove()
    assert not torch_private.sees_outputs(module)


class Answer:
    """An output that says who asks it for its first part."""

    seen: list[bool]

    def __init__(self) -> None:
        self.seen = []

    def __getitem__(self, index: int) -> torch.Tensor:
        self.seen.append(torch_private.wants_any_tensor())
        return torch.empty(0)


@pytest.mark.filterwarnings("ignore:.*backward hook")
def test_wants_any_tensor():
    answer = Answer()
    module = _Module(lambda x: answer)
    module.register_backward_hook(lambda *_: None)
    _ = module(torch.ones(1))[0]
    assert answer.seen == [True, False]


def test_hooks_calls():
    module = nn.Linear(1, 1)
    for register in (
        module.register_forward_pre_hook,
        nn.modules.module.register_module_forward_pre_hook,
        module.register_forward_hook,
    ):
        assert not torch_private.hooks_calls(module)
        handle = register(lambda *_: None)
        assert torch_private.hooks_calls(module)
        handle.remove()


# A backward hook of torch's older kind takes tensors only, so no symbolic call.
@pytest.mark.parametrize("kind", sorted({*REGISTER_FOR_ALL} - {"backward"}))
@pytest.mark.usefixtures("any_kind_of_global_hook")
@pytest.mark.filterwarnings("ignore:For backward hooks to be called:UserWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_hooks_of_all_modules_and_symbolic_calls(kind):
    called = []
    inputs = tk.Input((3,))
    handle = REGISTER_FOR_ALL[kind](lambda *_: called.append(kind))
    try:
        hidden = nn.Linear(3, 4)(inputs)
        output = layers.Dense(2, activation="relu")(hidden)
        model = tk.Model(inputs, output)
        assert model.output_shape == (None, 2)
        linear = model.layers[1]
        assert [type(op).__name__ for op in model.layers] == [
            "InputLayer",
            "Linear",
            "Dense",
        ]
        model.compile("sgd", "mse")
        called.clear()
        model.fit(np.ones((4, 3), "f"), np.ones((4, 2), "f"), verbose=0)
        assert called
    finally:
        handle.remove()
    assert isinstance(linear, nn.Linear)


def test_unsaved_buffers():
    module = nn.Module()
    module.register_buffer("kept", torch.ones(1))
    module.register_buffer("left", torch.ones(1), persistent=False)
    assert torch_private.unsaved_buffers(module) == {"left"}
    assert list(module.state_dict()) == ["kept"]


def test_refresh_flat_weights():
    torch.manual_seed(0)
    module, inputs = nn.LSTM(2, 3), torch.rand(4, 2)
    before = module(inputs)[0]
    module._parameters["weight_ih_l0"] = nn.Parameter(torch.zeros(12, 2))
    torch_private.refresh_flat_weights(module)
    assert not torch.equal(module(inputs)[0], before)


@pytest.mark.parametrize(
    "register",
    [
        lambda o: o.register_step_pre_hook(lambda *_: None),
        lambda o: o.register_step_post_hook(lambda *_: None),
        lambda _: register_optimizer_step_pre_hook(lambda *_: None),
        lambda _: register_optimizer_step_post_hook(lambda *_: None),
    ],
)
def test_is_hooked(register):
    optimizer = torch.optim.SGD([torch.zeros(1)])
    assert not torch_private.is_hooked(optimizer)
    handle = register(optimizer)
    assert torch_private.is_hooked(optimizer)
    handle.remove()
    assert not torch_private.is_hooked(optimizer)


def test_states_of():
    states = torch_private.states_of(torchmetrics.MeanMetric())
    assert states == ["mean_value", "weight"]


def test_backward_in_graph_is_set_around_the_call_only():
    settings = torch._dynamo.config
    before = settings.trace_autograd_ops
    first, second = torch_private.backward_in_graph(), torch_private.backward_in_graph()
    first.__enter__()
    assert settings.trace_autograd_ops is True
    second.__enter__()
    first.__exit__(None, None, None)  # another thread is still inside
    assert settings.trace_autograd_ops is True
    second.__exit__(None, None, None)
    assert settings.trace_autograd_ops is before


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.parametrize("name", ["trace_autograd_ops", "no_such_setting"])
def test_jit_compile_with_and_without_the_setting(name, monkeypatch):
    monkeypatch.setattr(torch_private, "_FLAG", name)
    settings = torch._dynamo.config
    before = settings.trace_autograd_ops
    x, y = np.ones((8, 3), "f"), np.ones((8, 1), "f")
    losses = []
    for jit in (False, True):
        tk.utils.set_random_seed(0)
        model = tk.Sequential([tk.Input((3,)), layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=jit)
        losses.append(model.fit(x, y, verbose=0, epochs=2).history["loss"])
        assert settings.trace_autograd_ops is before
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("persistent", [False, True])
def test_processes_of_a_loader_are_ended_unless_they_persist(persistent):
    data: Any = range(8)
    loader = torch.utils.data.DataLoader(
        data, num_workers=1, persistent_workers=persistent
    )
    iterator: Any = iter(loader)
    next(iterator)
    before = multiprocessing.active_children()
    assert before
    torch_private.shut_down_workers(iterator)
    assert bool(multiprocessing.active_children()) == persistent
    iterator._shutdown_workers()
    torch_private.shut_down_workers(iter([1]))  # has none
