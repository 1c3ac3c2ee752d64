"""Tools around models: data files, label matrices, custom objects, seeds."""

from torchkeras._core.config import set_random_seed
from torchkeras._core.registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from torchkeras.utils.data_files import get_file
from torchkeras.utils.numerical import normalize, to_categorical

CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "normalize",
    "register_keras_serializable",
    "set_random_seed",
    "to_categorical",
]
