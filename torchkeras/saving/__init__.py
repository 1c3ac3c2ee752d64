"""Saving and loading models and weights, and names for classes of your own in files."""

from typing import TYPE_CHECKING

from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.limits import limits
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import (
    get_custom_objects,
    get_registered_name,
    register_keras_serializable,
)
from torchkeras.saving.api import load_model, load_weights, save_model, save_weights
from torchkeras.saving.objects import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_registered_object,
    serialize_keras_object,
)

__all__ = [
    "CorruptFileError",
    "CustomObjectScope",
    "UnsafeFileError",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "limits",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
