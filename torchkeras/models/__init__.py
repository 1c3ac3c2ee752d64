"""Models: what is trained, evaluated, saved."""

from torchkeras.models.model import Model, model_from_json
from torchkeras.models.sequential import Sequential
from torchkeras.saving.api import load_model, save_model

__all__ = ["Model", "Sequential", "load_model", "model_from_json", "save_model"]
