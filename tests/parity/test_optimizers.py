"""Twenty steps of each optimizer, beside Keras, from the same weights."""

import copy

import keras
import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import optimizers
from torchkeras._core.variable import CONVOLUTION, TRANSPOSED, Variable, WeightView

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

STEPS = 20
SHAPES = {"kernel": (5, 4), "bias": (4,), "filters": (3, 3, 2, 4), "table": (6, 3)}

RATE = {"learning_rate": 0.05}
SCHEDULES = {
    "ExponentialDecay": (0.1, 3, 0.5),
    "PiecewiseConstantDecay": ([3, 8], [0.1, 0.03, 0.01]),
    "CosineDecay": (0.0, 14, 0.01, "warm", 0.1, 4),
}
COMMON = [
    {"weight_decay": 0.1},
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.7},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "use_ema": True, "ema_overwrite_frequency": 2},
    {"loss_scale_factor": 4.0},
]
OWN = {
    "SGD": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"nesterov": True},
    ],
    "RMSprop": [
        {},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.5, "rho": 0.8},
    ],
    "Adam": [{}, {"amsgrad": True}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}],
    "AdamW": [{}, {"weight_decay": 0.2, "amsgrad": True}],
    "Adadelta": [{}, {"rho": 0.5, "epsilon": 1e-4}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.0}, {"epsilon": 1e-2}],
    "Adamax": [{}, {"epsilon": 1e-2}],
    "Nadam": [{}, {"beta_1": 0.8, "epsilon": 1e-3}],
    "Ftrl": [
        {},
        {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.1},
        {"l2_shrinkage_regularization_strength": 0.1, "beta": 0.3},
        {"learning_rate_power": -0.7, "initial_accumulator_value": 0.3},
    ],
    "Lion": [{}, {"beta_1": 0.5, "beta_2": 0.8}],
    "Lamb": [{}, {"epsilon": 1e-2}],
    "Adafactor": [
        {},
        {"beta_2_decay": -0.5, "clip_threshold": 0.5},
        {"relative_step": False},
    ],
    "Muon": [
        {},
        {"nesterov": False, "rms_rate": None},
        {"exclude_layers": ["kernel"], "adam_lr_ratio": 0.5},
    ],
}
CASES = [
    *((name, options) for name, variants in OWN.items() for options in variants),
    *(
        (name, options)
        for name in ("SGD", "Adam", "RMSprop", "Nadam")
        for options in COMMON
    ),
    *(
        (name, {"momentum": 0.9, "learning_rate": rate})
        for name in ("SGD", "RMSprop")
        for rate in SCHEDULES
    ),
    ("Adam", {"learning_rate": "ExponentialDecay", "gradient_accumulation_steps": 2}),
    ("AdamW", {"learning_rate": "PiecewiseConstantDecay"}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.01, "clipnorm": 1.0, "use_ema": True}),
]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in o.items())}" for name, o in CASES]


class Pair:
    """The same weights in both worlds, and gradients for both."""

    def __init__(self):
        self.random = np.random.default_rng(0)
        values = {
            k: self.random.normal(size=s).astype("float32") for k, s in SHAPES.items()
        }
        self.theirs = [keras.Variable(v, name=k) for k, v in values.items()]
        linear, conv = nn.Linear(5, 4), nn.Conv2d(2, 4, 3)
        self.ours = [
            WeightView(linear, ("weight",), TRANSPOSED, "kernel"),
            Variable(values["bias"], name="bias"),
            WeightView(conv, ("weight",), CONVOLUTION, "filters"),
            nn.Parameter(torch.tensor(values["table"])),
        ]
        self.ours[0].assign(values["kernel"])
        self.ours[2].assign(values["filters"])

    def gradients(self):
        # Small ones too: where epsilon stands shows in those alone.
        sizes = [10.0 ** self.random.integers(-7, 1, size=s) for s in SHAPES.values()]
        return [(self.random.normal(size=s.shape) * s).astype("float32") for s in sizes]

    def step(self, reference, optimizer):
        grads = self.gradients()
        reference.apply([torch.tensor(g) for g in grads], self.theirs)
        optimizer.apply(grads, self.ours)

    def difference(self):
        ours = [w.detach().numpy() for w in self.ours]
        theirs = [np.asarray(w.value.detach()) for w in self.theirs]
        return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))


def make(name, options, namespace):
    options = {**RATE, **copy.deepcopy(options)}
    schedule = options["learning_rate"]
    if isinstance(schedule, str):
        arguments = SCHEDULES[schedule]
        options["learning_rate"] = getattr(namespace.schedules, schedule)(*arguments)
    return getattr(namespace, name)(**options)


def both(name, options):
    return make(name, options, keras.optimizers), make(name, options, optimizers)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_twenty_steps_equal_keras(name, options):
    pair = Pair()
    reference, optimizer = both(name, options)
    for _ in range(STEPS):
        pair.step(reference, optimizer)
        assert int(optimizer.iterations) == int(reference.iterations)
    assert pair.difference() < 1e-5
    if options.get("use_ema"):
        optimizer.finalize_variable_values(pair.ours)
        reference.finalize_variable_values(pair.theirs)
        assert pair.difference() < 1e-5


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam"])
def test_a_rate_set_between_steps_is_followed_as_in_keras(name):
    options = {} if name == "Adam" else {"momentum": 0.9}
    pair = Pair()
    reference, optimizer = both(name, options)
    for step in range(STEPS):
        if step % 5 == 4:
            reference.learning_rate = 0.1 / step
            optimizer.learning_rate.assign(0.1 / step)
        pair.step(reference, optimizer)
    assert pair.difference() < 1e-5


@pytest.mark.parametrize("name", OWN)
def test_weights_spared_from_decay_are_those_of_keras(name):
    pair = Pair()
    reference, optimizer = both(name, {"weight_decay": 0.5})
    reference.exclude_from_weight_decay([pair.theirs[0]], ["bias"])
    optimizer.exclude_from_weight_decay([pair.ours[0]], ["bias"])
    for _ in range(5):
        pair.step(reference, optimizer)
    assert pair.difference() < 1e-5


STATES = [
    *((name, variants[-1]) for name, variants in OWN.items()),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("SGD", {"momentum": 0.9, "use_ema": True, "gradient_accumulation_steps": 2}),
    ("SGD", {"momentum": 0.9, "learning_rate": "CosineDecay"}),
    ("Adam", {"amsgrad": True}),
    ("ScheduleFreeAdamW", {}),
]


@pytest.mark.parametrize(("name", "options"), STATES)
def test_state_goes_to_keras_and_back(name, options):
    pair = Pair()
    reference, optimizer = both(name, options)
    for _ in range(7):
        pair.step(reference, optimizer)
    theirs = [np.asarray(v.value.detach()) for v in reference.variables]
    if name == "ScheduleFreeAdamW":
        theirs = optimizer.state_for_keras()
    for mine, other, shown in zip(
        optimizer.state_for_keras(), theirs, optimizer.variables, strict=True
    ):
        assert mine.shape == other.shape == tuple(shown.shape)
        np.testing.assert_allclose(mine, other, rtol=2e-4, atol=1e-6)

    new_reference, new_optimizer = both(name, options)
    new_reference.build(pair.theirs)
    new_reference.set_weights(optimizer.state_for_keras())
    new_optimizer.load_state_from_keras(pair.ours, theirs)
    if name != "ScheduleFreeAdamW":
        for _ in range(6):
            pair.step(new_reference, new_optimizer)
        assert pair.difference() < 2e-5


def test_names_of_variables_are_those_of_keras():
    pair = Pair()
    reference, optimizer = both("Adam", {})
    reference.build(pair.theirs[:2])
    optimizer.build(pair.ours[:2])
    names = [v.path.split("/")[-1] for v in reference.variables]
    assert [v.path.split("/")[-1] for v in optimizer.variables] == names


def test_loss_scaling_is_that_of_keras():
    pair = Pair()
    options = {"initial_scale": 8.0, "dynamic_growth_steps": 3}
    reference = keras.optimizers.LossScaleOptimizer(
        make("Adam", {}, keras.optimizers), **options
    )
    optimizer = optimizers.LossScaleOptimizer(make("Adam", {}, optimizers), **options)
    for step in range(12):
        grads = pair.gradients()
        if step in (4, 5):
            grads[0][1, 1] = np.inf if step == 4 else np.nan
        reference.apply([torch.tensor(g) for g in grads], pair.theirs)
        optimizer.apply(grads, pair.ours)
        assert optimizer.dynamic_scale == float(reference.dynamic_scale)
        assert int(optimizer.iterations) == int(reference.iterations)
    assert pair.difference() < 1e-5
    for mine, other in zip(
        optimizer.state_for_keras(), reference.variables, strict=True
    ):
        other = np.asarray(other.value.detach())
        np.testing.assert_allclose(mine, other, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("warmup_steps", [0, 5])
def test_schedule_free_steps_are_those_of_its_formula(warmup_steps):
    # Keras on torch overwrites the iterate it still needs: not a reference here.
    random = np.random.default_rng(0)
    y = random.normal(size=(4, 3))
    weight = nn.Parameter(torch.tensor(y, dtype=torch.float32))
    optimizer = optimizers.ScheduleFreeAdamW(0.05, warmup_steps=warmup_steps)
    optimizer.build([weight])
    z, x, v = y.copy(), y.copy(), np.zeros_like(y)
    for step in range(1, STEPS + 1):
        grad = random.normal(size=y.shape)
        rate = 0.05 * (min(step / warmup_steps, 1.0) if warmup_steps else 1.0)
        v = 0.999 * v + 0.001 * grad**2
        z = z - rate * grad / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        x = (1 - 1 / step) * x + z / step
        y = 0.1 * z + 0.9 * x
        optimizer.step([torch.tensor(grad, dtype=torch.float32)])
        np.testing.assert_allclose(weight.detach().numpy(), y, atol=1e-5)


def test_momentum_stops_at_a_rate_of_zero_where_keras_glides_on():
    pair = Pair()
    reference, optimizer = both("SGD", {"momentum": 0.9})
    pair.step(reference, optimizer)
    reference.learning_rate = 0.0
    optimizer.learning_rate = 0.0
    before = [w.detach().numpy().copy() for w in pair.ours]
    pair.step(reference, optimizer)
    for weight, value in zip(pair.ours, before, strict=True):
        np.testing.assert_array_equal(weight.detach().numpy(), value)
    assert pair.difference() > 1e-3
