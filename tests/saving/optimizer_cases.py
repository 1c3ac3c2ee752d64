"""Every optimizer with every option: what tests of stored optimizers go through."""

from typing import Any

import numpy as np
import pytest
import torch

#: What every optimizer takes.
COMMON: dict[str, dict[str, Any]] = {
    "plain": {},
    "schedule": {"learning_rate": "schedule"},
    "clipnorm": {"clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.05},
    "global clipnorm": {"global_clipnorm": 0.1},
    "average": {"use_ema": True, "ema_momentum": 0.8},
    "average that overwrites": {"use_ema": True, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 2},
    "accumulation and schedule": {
        "gradient_accumulation_steps": 3,
        "learning_rate": "schedule",
    },
    "loss scale": {"loss_scale_factor": 8.0},
    "dynamic loss scale": {"scaled": True},
    "weight decay": {"weight_decay": 0.1},
    "all": {
        "learning_rate": "schedule",
        "clipnorm": 0.5,
        "use_ema": True,
        "gradient_accumulation_steps": 2,
        "weight_decay": 0.1,
    },
}
_MOMENTUM: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9},
    "momentum and schedule": {"momentum": 0.9, "learning_rate": "schedule"},
    "momentum and all": {"momentum": 0.9, **COMMON["all"]},
}
#: What some take.
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        **_MOMENTUM,
        "nesterov": {"momentum": 0.9, "nesterov": True, "learning_rate": "schedule"},
    },
    "RMSprop": {**_MOMENTUM, "centered": {"momentum": 0.5, "centered": True}},
    "Adam": {"amsgrad": {"amsgrad": True}},
    "AdamW": {"amsgrad": {"amsgrad": True, **COMMON["all"]}},
    "Adagrad": {"epsilon": {"epsilon": 0.01}},
    "Adadelta": {},
    "Adamax": {},
    "Nadam": {},
    "Ftrl": {"shrinkage": {"l2_shrinkage_regularization_strength": 0.1}},
    "Lamb": {},
    "Lion": {},
    "Adafactor": {},
    "ScheduleFreeAdamW": {"warmup": {"warmup_steps": 9}},
    "Muon": {"excluded": {"exclude_layers": ["dense"]}},
}


def _cases():
    """Yield all pairs; of the common ones one for each optimizer is quick."""
    for number, (name, own) in enumerate(OWN.items()):
        quick = {"plain", [*COMMON][1 + number % (len(COMMON) - 1)], *own}
        for case in {**COMMON, **own}:
            marks = () if case in quick else (pytest.mark.slow,)
            yield pytest.param(name, case, marks=marks, id=f"{name}-{case}")


CASES = [*_cases()]


def make_optimizer(library, name, case):
    """Return an optimizer of Keras or ours."""
    options = {"learning_rate": 0.05, **{**COMMON, **OWN[name]}[case]}
    scaled = options.pop("scaled", False)
    if options["learning_rate"] == "schedule":
        decay = library.optimizers.schedules.ExponentialDecay(0.1, 3, 0.7)
        options["learning_rate"] = decay
    made = getattr(library.optimizers, name)(**options)
    return library.optimizers.LossScaleOptimizer(made, 8.0, 3) if scaled else made


def make_model(library, optimizer=None):
    """Return a compiled model of several kinds of weights, the same each time."""
    layers, draw = library.layers, np.random.default_rng(1)
    model = library.models.Sequential(
        [
            layers.Input((4,), dtype="int32"),
            layers.Embedding(6, 3),
            layers.Conv1D(3, 2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    values = [draw.normal(size=w.shape).astype("float32") / 2 for w in model.weights]
    model.set_weights(values)
    if optimizer is not None:
        model.compile(optimizer, "mse")
    return model


def make_recurrent_model(library, optimizer):
    """Return another one, of weights that torch keeps as several tensors."""
    layers, draw = library.layers, np.random.default_rng(1)
    inputs = layers.Input((4,), dtype="int32")
    x = layers.Embedding(6, 4)(inputs)
    outputs = layers.Dense(2)(layers.GRU(3)(x))
    model = library.models.Model(inputs, outputs)
    values = [draw.normal(size=w.shape).astype("float32") / 2 for w in model.weights]
    model.set_weights(values)
    model.compile(optimizer, "mse")
    return model


def train(model, steps):
    """Make the steps of these numbers."""
    for number in steps:
        draw = np.random.default_rng(number)
        x = draw.integers(0, 6, size=(8, 4)).astype("int32")
        model.train_on_batch(x, draw.normal(size=(8, 2)).astype("float32"))


def difference(model, other):
    """Return the largest difference of weights."""
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in pairs)


def torch_groups(model):
    """Return a torch optimizer of two groups with options of their own."""
    params = [*model.parameters()]
    groups = [
        {"params": [p for p in params if p.ndim > 1][::-1], "weight_decay": 0.3},
        {"params": [p for p in params if p.ndim == 1], "lr": 0.1, "betas": (0.8, 0.9)},
    ]
    return torch.optim.AdamW(groups, lr=0.02)
