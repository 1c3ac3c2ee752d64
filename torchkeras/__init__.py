"""The Keras API on PyTorch: layers are `torch.nn.Module`s, all the way down.

What costs time to import and is not always needed (metrics, built on torchmetrics, data
sets, utilities) is loaded when it is first used.
"""

import functools as _functools
import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from torchkeras import (
    activations,
    callbacks,
    config,
    constraints,
    dtype_policies,
    initializers,
    layers,
    losses,
    mixed_precision,
    models,
    optimizers,
    random,
    regularizers,
    saving,
    tree,
)
from torchkeras._core.config import device
from torchkeras._core.dtypes import DTypePolicy
from torchkeras._core.dtypes import DTypePolicy as FloatDTypePolicy
from torchkeras._core.missing import explain_missing as _explain_missing
from torchkeras._core.missing import explain_missing_modules as _explain_missing_modules
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.variable import Variable
from torchkeras.initializers import Initializer
from torchkeras.layers import Input, InputSpec, Layer
from torchkeras.losses import Loss
from torchkeras.models import Model, Sequential
from torchkeras.optimizers import Optimizer
from torchkeras.regularizers import Regularizer
from torchkeras.version import __version__, version

if _TYPE_CHECKING:
    from torchkeras import backend, datasets, metrics, ops, preprocessing, utils
    from torchkeras.metrics import Metric

_LAZY = {
    "Metric": "torchkeras.metrics",
    "backend": "torchkeras.backend",
    "datasets": "torchkeras.datasets",
    "metrics": "torchkeras.metrics",
    "ops": "torchkeras.ops",
    "preprocessing": "torchkeras.preprocessing",
    "utils": "torchkeras.utils",
}

__all__ = [
    "DTypePolicy",
    "FloatDTypePolicy",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "device",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "random",
    "regularizers",
    "saving",
    "tree",
    "utils",
    "version",
]


_explain_missing_modules()


def _load(name: str) -> _Any:
    home = _LAZY[name]
    module = _importlib.import_module(home)
    return module if home.endswith(f".{name}") else getattr(module, name)


if not _TYPE_CHECKING:
    __getattr__ = _explain_missing(
        __name__, {name: _functools.partial(_load, name) for name in _LAZY}
    )


def __dir__() -> list[str]:
    return __all__
