"""Optimizers as objects: the fast step, state, copies, configs, and bad input."""

import copy
import functools
import inspect
import json
import re

import keras
import pytest
import torch
from torch import nn

from torchkeras import optimizers
from torchkeras._core.registry import register_keras_serializable
from torchkeras._core.variable import TRANSPOSED, Layout, Variable, WeightView
from torchkeras.optimizers import schedules
from torchkeras.optimizers.hyperparameters import OPTIONS, Options

NAMED = [
    "SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Nadam", "Ftrl",
    "Lion", "Lamb", "Adafactor", "Muon", "ScheduleFreeAdamW",
]  # fmt: skip


def parameters(*shapes):
    random = torch.Generator().manual_seed(0)
    shapes = shapes or ((4, 3), (3,), (2, 3))
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]


def fill_gradients(params, seed=0):
    random = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=random)


def train(optimizer, params, steps=5, first=0):
    optimizer.build(params)
    for step in range(first, first + steps):
        fill_gradients(params, step)
        optimizer.step()
    return [p.detach().clone() for p in params]


def assert_equal(values, others):
    for value, other in zip(values, others, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=0)


def buckets_of(optimizer):
    """What the kernels work on; None where torch's own step is called."""
    return optimizer._update.buckets


# The step

FAST = {
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda: optimizers.AdamW(0.01),
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adadelta": lambda: optimizers.Adadelta(0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.1, momentum=0.9, centered=True),
    "torch": lambda: optimizers.get(torch.optim.AdamW),
}


@pytest.mark.parametrize("name", FAST)
def test_the_fast_step_is_torchs_own_bit_for_bit(name):
    fast, slow = FAST[name](), FAST[name]()
    quick, plain = parameters(), parameters()
    slow.build(plain)
    slow.torch.register_step_post_hook(lambda *_: None)
    assert_equal(train(fast, quick), train(slow, plain))
    assert buckets_of(fast) is not None
    for p, q in zip(quick, plain, strict=True):
        ours, theirs = fast.torch.state[p], slow.torch.state[q]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Muon"])
def test_gradients_may_be_handed_over_in_any_memory_format(name):
    params, others = parameters(), parameters()
    by_hand, by_grad = (getattr(optimizers, name)(0.1) for _ in range(2))
    by_hand.build(params)
    for step in range(3):
        fill_gradients(others, step)
        grads = [p.grad for p in others]
        by_hand.step([g.t().contiguous().t() for g in grads if g is not None])
        assert all(p.grad is None for p in params)
        train(by_grad, others, 1, step)
    assert_equal(params, others)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("name", NAMED)
def test_the_torch_class_is_the_one_that_the_docstring_names(name, options):
    cls = getattr(optimizers, name)
    named = re.search(r"`torch\.optim\.(\w+)`", (cls.__doc__ or "").split("\n\n")[0])
    optimizer = cls(0.1, **options)
    optimizer.build(parameters())
    made = type(optimizer.torch)
    if named is None:
        assert made.__module__.startswith("torchkeras.")
    elif name == "Adam" and options:
        assert made is torch.optim.AdamW  # Keras's decay is decoupled
    else:
        assert made is getattr(torch.optim, named[1])


@pytest.mark.parametrize("name", [name for name in NAMED if name != "Ftrl"])
def test_a_weight_spared_from_decay_stays_where_it_is_without_a_gradient(name):
    spared, decayed = parameters((3, 3), (3, 3))
    before = spared.detach().clone(), decayed.detach().clone()
    options = {"weight_decay": 0.5}
    if name == "Muon":
        options["adam_weight_decay"] = 0.5
    optimizer = getattr(optimizers, name)(0.1, **options)
    optimizer.exclude_from_weight_decay([spared])
    optimizer.build([spared, decayed])
    for _ in range(2):
        optimizer.step([torch.zeros(3, 3), torch.zeros(3, 3)])
    torch.testing.assert_close(spared.detach(), before[0])
    assert (decayed.detach().abs() < before[1].abs()).all()


def test_a_hook_or_a_torch_scheduler_sees_every_step():
    params = parameters()
    optimizer = optimizers.Adam(0.1)
    optimizer.build(params)
    seen = []
    hook = optimizer.torch.register_step_pre_hook(lambda *_: seen.append(1))
    train(optimizer, params, 3)
    hook.remove()
    train(optimizer, params, 2)
    assert len(seen) == 3
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer.torch, 1, gamma=0.5)
    train(optimizer, params, 1)
    scheduler.step()
    assert float(optimizer.learning_rate) == pytest.approx(0.05)


def test_weights_without_a_gradient_stay():
    params = parameters()
    optimizer = optimizers.Adam(0.1)
    train(optimizer, params, 2)
    before = params[1].detach().clone()
    fill_gradients(params)
    params[1].grad = None
    optimizer.step()
    assert torch.equal(params[1], before)
    assert not torch.equal(params[0], parameters()[0])


def test_freezing_is_seen_after_refresh():
    params = parameters()
    optimizer = optimizers.Adam(0.1)
    train(optimizer, params, 2)
    params[0].requires_grad_(False)
    optimizer.refresh()
    assert [id(p) for p in optimizer.parameters] == [id(p) for p in params[1:]]
    assert buckets_of(optimizer) is not None


def test_state_follows_the_memory_format_of_its_weight():
    def run(convert):
        params = parameters((4, 2, 3, 3))
        optimizer = optimizers.Adam(0.1)
        train(optimizer, params, 2)
        if convert:
            params[0].data = params[0].data.to(memory_format=torch.channels_last)
            optimizer.refresh()
        optimizer.zero_grad()
        for _ in range(2):
            (params[0] * torch.arange(18.0).reshape(2, 3, 3)).sum().backward()
            optimizer.step()
        return params

    assert_equal(run(True), run(False))


def test_several_groups_are_fast_too_and_keep_their_ratio():
    params = parameters()
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([params[1]])
    train(optimizer, params, 2)
    assert [b.indices for b in buckets_of(optimizer) or []] == [[0, 2], [1]]
    first, second = optimizer.torch.param_groups
    assert (first["weight_decay"], second["weight_decay"]) == (0.5, 0.0)
    second["lr"] = 0.01
    optimizer.learning_rate = 0.2
    assert (first["lr"], second["lr"]) == (0.2, pytest.approx(0.02))


def test_sparse_gradients_are_left_to_torch():
    embedding = nn.Embedding(5, 2, sparse=True)
    before = embedding.weight.detach().clone()
    optimizer = optimizers.TorchOptimizer(
        torch.optim.SparseAdam(embedding.parameters())
    )
    optimizer.build(embedding.parameters())
    for _ in range(2):
        embedding(torch.tensor([1])).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (embedding.weight != before).any(1).tolist() == [False, True] + 3 * [False]


def test_no_weights_is_no_error():
    optimizer = optimizers.Adam()
    optimizer.build([])
    optimizer.step()
    assert optimizer.iterations == 1


# Learning rate and iterations


def test_the_rate_reads_and_sets_like_a_variable():
    optimizer = optimizers.SGD(0.5)
    assert optimizer.learning_rate == 0.5
    assert float(optimizer.learning_rate.numpy()) == 0.5
    optimizer.learning_rate.assign(0.25)
    optimizer.build(parameters())
    assert optimizer.torch.param_groups[0]["lr"] == 0.25
    optimizer.learning_rate = optimizer.learning_rate * 2
    assert optimizer.torch.param_groups[0]["lr"] == 0.5
    assert optimizer.learning_rate.value == 0.5
    assert not hasattr(optimizer, "lr")


def test_a_schedule_sets_the_rate_of_each_step():
    optimizer = optimizers.SGD(schedules.ExponentialDecay(0.8, 1, 0.5))
    rates = []
    for step in range(3):
        train(optimizer, parameters() if step == 0 else optimizer._weights, 1)
        rates.append(optimizer.torch.param_groups[0]["lr"])
    assert rates == [0.8, 0.4, 0.2]
    assert float(optimizer.learning_rate) == 0.1
    with pytest.raises(TypeError, match="follows the schedule ExponentialDecay"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = schedules.ExponentialDecay(0.5, 1, 1.0)
    assert float(optimizer.learning_rate) == 0.5


def test_a_function_gives_the_rate():
    rate = [0.5]
    optimizer = optimizers.SGD(lambda: rate[0])
    train(optimizer, parameters(), 1)
    rate[0] = 0.25
    assert float(optimizer.learning_rate) == 0.25


def test_iterations_count_updates_and_can_be_set():
    optimizer = optimizers.Adam(gradient_accumulation_steps=2)
    params = parameters()
    train(optimizer, params, 5)
    assert optimizer.iterations == 2
    assert int(optimizer.iterations.numpy()) == optimizer.iterations.value == 2
    optimizer.iterations.assign(7)
    assert optimizer.iterations == 7
    assert all(float(s["step"]) == 7 for s in optimizer.torch.state.values())


# Keras's ways to step


def test_apply_takes_gradients_in_keras_layout():
    linear = nn.Linear(3, 2)
    kernel = WeightView(linear, ("weight",), TRANSPOSED, "kernel")
    before = linear.weight.detach().clone()
    optimizer = optimizers.SGD(1.0)
    count = optimizer.apply_gradients([(torch.arange(6.0).reshape(3, 2), kernel)])
    assert count == 1
    expected = before - torch.arange(6.0).reshape(3, 2).t()
    torch.testing.assert_close(linear.weight.detach(), expected)
    optimizer.apply([torch.zeros(3, 2)])
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        optimizer.apply([torch.zeros(2, 3)])
    with pytest.raises(ValueError, match="one gradient for each of 1 weights, got 2"):
        optimizer.apply([torch.zeros(2, 3)] * 2)
    with pytest.raises(ValueError, match="all gradients are None"):
        optimizer.apply([None])
    with pytest.raises(ValueError, match="built over other weights"):
        optimizer.apply_gradients([(torch.zeros(3), Variable([1.0, 2.0, 3.0]))])


def test_apply_leaves_the_gradients_given_as_they_are():
    gradient = torch.full((3,), 9.0)
    weight = Variable([1.0, 2.0, 3.0])
    optimizers.SGD(1.0, clipvalue=1.0).apply([gradient], [weight])
    assert gradient.tolist() == [9.0] * 3
    assert weight.tolist() == [0.0, 1.0, 2.0]


def test_minimize_makes_a_step():
    weight = Variable([1.0, 2.0])
    optimizer = optimizers.SGD(0.5)
    optimizer.minimize(lambda: (weight * weight).sum(), [weight])
    assert weight.tolist() == [0.0, 0.0]


def test_clipnorm_takes_a_weight_of_several_tensors_as_one():
    module = nn.Module()
    module.first = nn.Parameter(torch.zeros(2))
    module.second = nn.Parameter(torch.zeros(2))
    stacked = Layout(lambda *t: torch.stack(t), lambda k: tuple(k))
    bias = WeightView(module, ("first", "second"), stacked, "bias")
    optimizer = optimizers.SGD(1.0, clipnorm=1.0)
    optimizer.apply([torch.tensor([[3.0, 0.0], [0.0, 4.0]])], [bias])
    torch.testing.assert_close(
        bias.value.detach(), torch.tensor([[-0.6, 0.0], [0.0, -0.8]])
    )


def test_an_infinite_global_norm_is_not_hidden():
    weight = Variable([1.0, 2.0])
    optimizer = optimizers.SGD(1.0, global_clipnorm=1.0)
    optimizer.apply([torch.tensor([float("inf"), 1.0])], [weight])
    assert weight.isnan().all()


# State, copies, configs

STATEFUL = {name: functools.partial(getattr(optimizers, name), 0.01) for name in NAMED}
STATEFUL |= {
    "momentum": lambda: optimizers.SGD(
        schedules.CosineDecay(0.1, 20), momentum=0.9, use_ema=True
    ),
    "accumulated": lambda: optimizers.Adam(
        0.01, gradient_accumulation_steps=3, clipnorm=1.0, weight_decay=0.1
    ),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), 2.0, 3),
    "torch": lambda: optimizers.get(torch.optim.RMSprop),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_training_goes_on_after_copy_state_dict_and_keras_state(name):
    params = parameters()
    optimizer = STATEFUL[name]()
    train(optimizer, params, 4)
    copied, copied_params = copy.deepcopy((optimizer, params))
    loaded, loaded_params = STATEFUL[name](), copy.deepcopy(params)
    loaded.build(loaded_params)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    restored, restored_params = STATEFUL[name](), copy.deepcopy(params)
    restored.load_state_from_keras(restored_params, optimizer.state_for_keras())
    expected = train(optimizer, params, 4, first=4)
    assert_equal(train(copied, copied_params, 4, first=4), expected)
    assert_equal(train(loaded, loaded_params, 4, first=4), expected)
    assert copied.iterations == loaded.iterations == optimizer.iterations
    if name != "torch":
        got = train(restored, restored_params, 4, first=4)
        for value, other in zip(got, expected, strict=True):
            torch.testing.assert_close(value, other)


@pytest.mark.parametrize("name", STATEFUL)
def test_config_makes_a_twin(name):
    optimizer = STATEFUL[name]()
    config = json.loads(json.dumps(optimizers.serialize(optimizer)))
    assert config["module"] == "keras.optimizers"
    twin = optimizers.deserialize(config)
    assert type(twin) is type(optimizer)
    assert optimizers.serialize(twin) == optimizers.serialize(optimizer)
    params, others = parameters(), parameters()
    assert_equal(train(optimizer, params), train(twin, others))


def test_torchs_own_state_dict_goes_in_and_out():
    params, others = parameters(), parameters()
    optimizer, plain = optimizers.Adam(0.1), torch.optim.Adam(others, lr=0.1)
    train(optimizer, params, 3)
    plain.load_state_dict(optimizer.state_dict())
    optimizer.load_state_dict(plain.state_dict())
    assert optimizer.iterations == 3


@pytest.mark.parametrize("name", NAMED)
def test_a_state_loaded_before_the_first_step_is_whole(name):
    """It has what a step makes, and no more: the next step makes nothing anew."""
    params = parameters()
    first, second = (getattr(optimizers, name)(0.1) for _ in range(2))
    train(first, params, 1)
    second.build(others := parameters())
    second.load_state_from_keras(others, first.state_for_keras())
    for parameter, other in zip(params, others, strict=True):
        made, loaded = first.torch.state[parameter], second.torch.state[other]
        assert made.keys() == loaded.keys()
        for key in made:
            torch.testing.assert_close(loaded[key], made[key])


def test_a_weight_of_zeros_moves_by_the_rate_of_lamb():
    """Its length says nothing of how far to go."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = optimizers.Lamb(0.1)
    optimizer.build([weight])
    optimizer.step([torch.tensor([[1.0, -2.0], [3.0, -4.0]])])
    expected = torch.tensor([[-0.1, 0.1], [-0.1, 0.1]])
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-3, atol=0)


def test_a_state_that_does_not_fit_changes_nothing():
    params = parameters()
    optimizer = optimizers.Adam(0.01)
    train(optimizer, params, 2)
    state = optimizer.state_for_keras()
    with pytest.raises(ValueError, match="has 8 variables, got 7 arrays"):
        optimizer.load_state_from_keras(params, state[:-1])
    bad = [array * 0 for array in state]
    bad[-1] = bad[-1][:1]
    with pytest.raises(ValueError, match="variable_velocity' has shape"):
        optimizer.load_state_from_keras(params, bad)
    assert all(
        (a == b).all() for a, b in zip(optimizer.state_for_keras(), state, strict=True)
    )


#: A variable that an array cannot be written to, whatever its shape: bad values of it.
ILLEGAL = [
    (lambda: optimizers.Adam(0.01), "learning_rate", float("nan")),
    (lambda: optimizers.Adam(0.01), "learning_rate", -1.0),
    (
        lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.1, momentum=0.5)),
        "learning_rate",
        float("inf"),
    ),
]


@pytest.mark.parametrize(("make", "name", "value"), ILLEGAL)
def test_an_illegal_value_in_a_state_changes_nothing(make, name, value):
    params = parameters()
    optimizer = make()
    train(optimizer, params, 2)
    state = optimizer.state_for_keras()
    last = [v.name for v in optimizer.variables][::-1].index(name)
    bad = [array * 0 for array in state]
    bad[-1 - last] = bad[-1 - last] + value
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number"):
        optimizer.load_state_from_keras(params, bad)
    for now, before in zip(optimizer.state_for_keras(), state, strict=True):
        assert (now == before).all()


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_a_moment_says_how_it_is_shown_and_back(name):
    made = {"SGD": {"momentum": 0.9}}
    optimizer = getattr(optimizers, name)(0.5, **made.get(name, {}))
    train(optimizer, parameters(), 2)
    ((moment,),) = optimizer.moments()
    values = torch.linspace(0.5, 2.0, 4)
    shown = moment.to_keras(values)
    assert not torch.equal(shown, values)
    torch.testing.assert_close(moment.to_torch(shown), values, atol=1e-6, rtol=0)


def test_variables_are_listed_before_and_after_build():
    optimizer = optimizers.SGD(0.5, momentum=0.9)
    assert [v.path for v in optimizer.variables] == [
        f"{optimizer.name}/iteration",
        f"{optimizer.name}/learning_rate",
    ]
    optimizer.build([Variable([1.0], name="bias")])
    assert optimizer.variables[-1].name == "bias_momentum"
    store = {}
    optimizer.save_own_variables(store)
    assert list(store) == ["0", "1", "2"]
    optimizer.load_own_variables(store)


# Torch's optimizers


def test_get_takes_whatever_stands_for_an_optimizer():
    adam = optimizers.Adam()
    assert optimizers.get(adam) is adam
    assert optimizers.get(None) is None
    for identifier in ("adam", "Adam", "ADAM", optimizers.Adam, {"class_name": "Adam"}):
        assert type(optimizers.get(identifier)) is optimizers.Adam
    for name in NAMED:
        assert type(optimizers.get(name.lower())).__name__ == name
    instance = torch.optim.Adagrad(parameters())
    assert optimizers.get(instance).torch is instance
    with pytest.raises(ValueError, match="Did you mean 'adam'"):
        optimizers.get("adamm")
    with pytest.raises(TypeError, match="must be a name, a config"):
        optimizers.get(3)  # pyright: ignore


def test_a_torch_instance_is_taken_as_it_is():
    params = parameters()
    instance = torch.optim.SGD(params, lr=0.5, momentum=0.1)
    optimizer = optimizers.get(instance)
    train(optimizer, params, 2)
    assert optimizer.torch is instance
    assert optimizer.param_groups is instance.param_groups
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    assert instance.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    "factory", [torch.optim.Adam, functools.partial(torch.optim.Adam, lr=0.5)]
)
def test_a_torch_class_is_made_fused_where_it_can_be(factory):
    params = parameters()
    optimizer = optimizers.get(factory)
    rate = float(optimizer.learning_rate)
    train(optimizer, params, 2)
    assert optimizer.torch.param_groups[0]["fused"]
    assert optimizer.torch.param_groups[0]["lr"] == rate
    kept = optimizers.get(functools.partial(torch.optim.Adam, foreach=True))
    kept.build(params)
    assert not kept.torch.param_groups[0]["fused"]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_step_leaves_the_recording_of_gradients_as_it_was(recorded):
    def rate():
        if optimizer.built and not torch.is_grad_enabled():
            raise RuntimeError("no rate today")
        return 0.1

    params = parameters()
    optimizer = optimizers.SGD(rate)
    optimizer.build(params)
    with torch.set_grad_enabled(recorded):
        with pytest.raises(RuntimeError, match="no rate today"):
            optimizer.step()
        assert torch.is_grad_enabled() is recorded
        train(optimizers.SGD(0.1), params, 1)
        assert torch.is_grad_enabled() is recorded


def test_a_torch_instance_over_other_parameters_is_refused():
    optimizer = optimizers.get(torch.optim.Adam(parameters()))
    with pytest.raises(ValueError, match="over other parameters than the model's"):
        optimizer.build(parameters())
    assert not optimizer.built


def test_a_torch_subclass_of_ones_own_runs_its_own_step():
    class Half(torch.optim.SGD):
        def step(self, closure=None):
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.mul_(0.5)

    params = [nn.Parameter(torch.ones(2))]
    optimizer = optimizers.get(functools.partial(Half, lr=1.0, fused=True))
    train(optimizer, params, 2)
    assert params[0].tolist() == [0.25, 0.25]
    with pytest.raises(ValueError, match=r"Cannot save Half: only optimizers of `tor"):
        optimizer.get_config()


def test_only_torchs_classes_can_be_named_in_a_config():
    config = {"class_name": "TorchOptimizer", "config": {"torch_class": "lr_scheduler"}}
    with pytest.raises(ValueError, match="Unknown torch optimizer 'lr_scheduler'"):
        optimizers.deserialize(config)


# Loss scaling


def test_loss_scaling_leaves_a_bad_step_out():
    params = parameters()
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.1), 8.0, 2)
    optimizer.build(params)
    before = [p.detach().clone() for p in params]
    optimizer.scale_loss(params[0].sum() * float("inf")).backward()
    optimizer.step()
    assert_equal(before, params)
    assert (optimizer.dynamic_scale, optimizer.iterations) == (4.0, 0)
    train(optimizer, params, 2)
    assert (optimizer.dynamic_scale, optimizer.iterations) == (8.0, 2)
    optimizer.learning_rate = 0.5
    assert optimizer.inner_optimizer.learning_rate == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clipnorm": 1.0}, "must be given to the inner optimizer"),
        ({"dynamic": False}, "pass `loss_scale_factor` to the inner optimizer"),
        ({"initial_scale": 0.0}, "`initial_scale` must be a positive number"),
        ({"dynamic_growth_steps": 0}, "`dynamic_growth_steps` must be a positive int"),
        ({"scale": 3}, r"unknown argument\(s\) \['scale'\]"),
    ],
)
def test_loss_scaling_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.LossScaleOptimizer("adam", **options)


# Optimizers of the user's own


@register_keras_serializable("test_optimizers")
class Plain(optimizers.Optimizer):
    def __init__(self, learning_rate=0.1, momentum=0.9, name=None, **kwargs):
        super().__init__(learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(m, m * self.momentum - gradient * learning_rate)
        self.assign_add(variable, m)


def test_an_optimizer_of_ones_own_trains_as_in_keras():
    linear = nn.Linear(3, 2)
    weights = [
        WeightView(linear, ("weight",), TRANSPOSED, "kernel"),
        linear.bias,
    ]
    twin = copy.deepcopy(linear)
    ours, theirs = Plain(clipnorm=1.0), optimizers.SGD(0.1, 0.9, clipnorm=1.0)
    ours.build(weights)
    theirs.build(twin.parameters())
    for step in range(3):
        for optimizer, model in ((ours, linear), (theirs, twin)):
            fill_gradients(list(model.parameters()), step)
            optimizer.step()
    torch.testing.assert_close(linear.weight, twin.weight)
    torch.testing.assert_close(linear.bias, twin.bias)
    assert [v.shape for v in ours.variables[2:]] == [(3, 2), (2,)]
    config = optimizers.serialize(Plain(momentum=0.5))
    made = optimizers.deserialize(config)
    assert isinstance(made, Plain)
    assert made.momentum == 0.5


def test_an_optimizer_of_ones_own_is_copied_whole():
    params = parameters()
    optimizer = Plain(0.1)
    train(optimizer, params, 2)
    twin, twin_params = copy.deepcopy((optimizer, params))
    assert twin.momentums[0] is twin._own_variables[0]
    before = [p.detach().clone() for p in params]

    def go_on(optimizer, params):
        for step in range(2):
            fill_gradients(params, step)
            optimizer.step()

    go_on(twin, twin_params)
    assert_equal(params, before)
    go_on(optimizer, params)
    assert_equal(params, twin_params)


def test_an_optimizer_without_an_update_says_so():
    class Nothing(optimizers.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Nothing has no `update_step"):
        Nothing(0.1).build(parameters())


# Bad input


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Adam", {"learning_rate": -1}, "Adam: `learning_rate` must be a finite numb"),
        ("SGD", {"learning_rate": float("nan")}, "SGD: `learning_rate` must be a fin"),
        ("Adam", {"beta_1": 1.0}, r"Adam: `beta_1` must be a number in \[0, 1\)"),
        ("Nadam", {"beta_2": -0.1}, "Nadam: `beta_2` must be a number"),
        ("Adamax", {"epsilon": -1.0}, "Adamax: `epsilon` must be a finite number"),
        ("Lion", {"beta_1": 0.0}, r"Lion: `beta_1` must be in \(0, 1\]"),
        ("SGD", {"momentum": 1.5}, r"SGD: `momentum` must be a number in \[0, 1\]"),
        ("RMSprop", {"rho": 2.0}, "RMSprop: `rho` must be a number"),
        ("Ftrl", {"learning_rate_power": 0.5}, "`learning_rate_power` must be a fini"),
        ("Ftrl", {"beta": -1.0}, "Ftrl: `beta` must be a finite number"),
        ("Adagrad", {"initial_accumulator_value": -1.0}, "`initial_accumulator_value"),
        ("Adam", {"clipnorm": 1.0, "clipvalue": 1.0}, "only one of `clipnorm`, `clip"),
        ("Adam", {"clipnorm": -1.0}, "Adam: `clipnorm` must be a finite number"),
        ("Adam", {"use_ema": True, "ema_momentum": 2.0}, "`ema_momentum` must be"),
        ("Adam", {"ema_overwrite_frequency": 0}, "`ema_overwrite_frequency` must be"),
        ("Adam", {"gradient_accumulation_steps": 1}, "must be an integer, at least 2"),
        ("Adam", {"lr": 0.1}, "Keras calls it `learning_rate`"),
        ("Adam", {"learning_rat": 0.1}, "Did you mean 'learning_rate'"),
        ("SGD", {"momentums": 0.1}, r"unknown argument\(s\) \['momentums'\]"),
    ],
)
def test_illegal_values_are_refused_at_construction(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optimizers, name)(**options)


NUMBERS = [
    (name, argument)
    for name in NAMED
    for argument, parameter in inspect.signature(
        getattr(optimizers, name)
    ).parameters.items()
    if type(parameter.default) in (int, float)
]


@pytest.mark.parametrize(("name", "argument"), NUMBERS)
@pytest.mark.parametrize("value", ["much", [0.5], True, float("nan")], ids=str)
def test_every_number_is_checked_by_its_name(name, argument, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: `{argument}` must "):
        getattr(optimizers, name)(**{argument: value})


@pytest.mark.parametrize("rate", ["fast", None, True])
def test_a_rate_that_is_no_number_is_refused(rate):
    with pytest.raises(TypeError, match="`learning_rate` must be a finite number"):
        optimizers.Adam(rate)


def test_decay_is_ignored_with_a_warning():
    with pytest.warns(UserWarning, match="SGD: `decay` is ignored, as in Keras"):
        getattr(optimizers, "SGD")(0.1, decay=1e-6)  # noqa: B009


def test_calls_out_of_order_are_refused():
    optimizer = optimizers.Adam(weight_decay=0.1)
    with pytest.raises(ValueError, match=r"is not built: call `optimizer.build"):
        optimizer.step()
    with pytest.raises(ValueError, match="pass the weights along"):
        optimizer.apply([torch.zeros(2)])
    optimizer.build(parameters())
    with pytest.raises(ValueError, match="is built already"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(TypeError, match="`optimizer` must be a `torch"):
        optimizers.TorchOptimizer("adam")  # pyright: ignore


# Completeness


@pytest.mark.parametrize("name", [*NAMED, "Optimizer", "LossScaleOptimizer"])
def test_signatures_are_those_of_keras(name):
    theirs = dict(
        inspect.signature(getattr(keras.optimizers, name).__init__).parameters
    )
    del theirs["self"]
    ours = inspect.signature(getattr(optimizers, name)).parameters
    assert list(ours) == list(theirs)
    for key, parameter in theirs.items():
        assert ours[key].default == parameter.default


def test_the_options_that_all_share_are_the_arguments_of_the_base():
    shared = list(inspect.signature(optimizers.Optimizer).parameters)
    assert shared == ["learning_rate", *OPTIONS, "kwargs"]
    assert set(OPTIONS) == set(Options.__annotations__)


def documented():
    """Whatever of an optimizer or a schedule a user can call, by its name."""
    found = {}
    for module in (optimizers, schedules):
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", "").startswith("torchkeras.optimizers")
            if name.startswith("_") or not ours:
                continue
            found[name] = value
            for key, member in (
                inspect.getmembers(value) if inspect.isclass(value) else []
            ):
                if not key.startswith("_") and callable(member):
                    found[f"{name}.{key}"] = member
    return found


@pytest.mark.parametrize("name", documented())
def test_docstrings_name_every_argument(name):
    value = documented()[name]
    doc = inspect.getdoc(value) or ""
    assert doc
    assert "." in name or "Example" in doc
    said = {*OPTIONS, "kwargs"} if "**options" in doc else {"kwargs"}
    for argument in {*inspect.signature(value).parameters} - {"self", *said}:
        assert re.search(rf"^ +{argument}: ", doc, re.MULTILINE), argument


def test_every_name_of_keras_is_here():
    missing = {n for n in dir(keras.optimizers) if not n.startswith("_")}
    missing -= set(optimizers.__all__)
    assert missing == {"MultiOptimizer", "OptimizerMap", "legacy"}
    theirs = {n for n in dir(keras.optimizers.schedules) if not n.startswith("_")}
    assert theirs <= set(dir(schedules))
