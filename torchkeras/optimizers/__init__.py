"""Optimizers and learning rate schedules."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.optimizers import schedules
from torchkeras.optimizers.algorithms import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Muon,
    Nadam,
    RMSprop,
    ScheduleFreeAdamW,
)
from torchkeras.optimizers.loss_scale import LossScaleOptimizer
from torchkeras.optimizers.optimizer import Optimizer, optimizers
from torchkeras.optimizers.wrapped import TorchOptimizer, deserialize, get, serialize

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "ScheduleFreeAdamW",
    "TorchOptimizer",
    "deserialize",
    "get",
    "optimizers",
    "schedules",
    "serialize",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
