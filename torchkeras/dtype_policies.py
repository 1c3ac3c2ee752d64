"""Dtype policies: which dtypes a layer keeps its weights in and computes in."""

from torchkeras._core.dtypes import DTypePolicy
from torchkeras._core.dtypes import get_policy as get
from torchkeras._core.registry import deserialize_object as deserialize
from torchkeras._core.registry import serialize_object as serialize

__all__ = ["DTypePolicy", "deserialize", "get", "serialize"]
