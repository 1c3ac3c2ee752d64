"""Callbacks: what happens around training."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.callbacks.callback import Callback
from torchkeras.callbacks.callback_list import CallbackList
from torchkeras.callbacks.control import (
    LambdaCallback,
    LearningRateScheduler,
    TerminateOnNaN,
)
from torchkeras.callbacks.monitors import (
    EarlyStopping,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from torchkeras.callbacks.recorders import CSVLogger, History, ProgbarLogger

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
