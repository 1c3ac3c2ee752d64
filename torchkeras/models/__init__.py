"""Models: what is trained, evaluated, saved."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.models.cloning import clone_model
from torchkeras.models.feature_space import FeatureSpace
from torchkeras.models.functional import Functional
from torchkeras.models.model import Model, model_from_json
from torchkeras.models.sequential import Sequential
from torchkeras.saving.api import load_model, save_model

__all__ = [
    "FeatureSpace",
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
