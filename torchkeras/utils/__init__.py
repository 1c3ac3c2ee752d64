"""Tools around models: data files, labels, sequences, pictures, custom objects."""

from typing import TYPE_CHECKING

from torchkeras._core.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
    set_random_seed,
)
from torchkeras._core.dtypes import standardize_dtype
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import (
    get_custom_objects,
    get_registered_name,
    register_keras_serializable,
)
from torchkeras._core.symbolic import is_keras_tensor
from torchkeras.models.feature_space import FeatureSpace
from torchkeras.saving.objects import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_registered_object,
    serialize_keras_object,
)
from torchkeras.training.arrays import (
    pack_x_y_sample_weight,
    unpack_x_y_sample_weight,
)
from torchkeras.utils import bounding_boxes
from torchkeras.utils.data_files import get_file
from torchkeras.utils.datasets import PyDataset
from torchkeras.utils.folders import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    text_dataset_from_directory,
)
from torchkeras.utils.graphs import get_source_inputs
from torchkeras.utils.images import array_to_img, img_to_array, load_img, save_img
from torchkeras.utils.numerical import normalize, to_categorical
from torchkeras.utils.pipeline import Dataset
from torchkeras.utils.plotting import model_to_dot, plot_model
from torchkeras.utils.progress import Progbar
from torchkeras.utils.sequences import pad_sequences
from torchkeras.utils.session import clear_session
from torchkeras.utils.settings import Config
from torchkeras.utils.windows import split_dataset, timeseries_dataset_from_array

Sequence = PyDataset

__all__ = [
    "Config",
    "CustomObjectScope",
    "Dataset",
    "FeatureSpace",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "audio_dataset_from_directory",
    "bounding_boxes",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "image_dataset_from_directory",
    "img_to_array",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "load_img",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
