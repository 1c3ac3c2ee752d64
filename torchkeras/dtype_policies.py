"""Dtype policies: which dtypes a layer keeps its weights in and computes in."""

from typing import TYPE_CHECKING, Any

from torchkeras._core.dtypes import DTypePolicy, DTypePolicyMap
from torchkeras._core.dtypes import DTypePolicy as FloatDTypePolicy
from torchkeras._core.dtypes import get_policy as get
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import deserialize_object as deserialize
from torchkeras._core.registry import serialize_object

__all__ = [
    "DTypePolicy",
    "DTypePolicyMap",
    "FloatDTypePolicy",
    "deserialize",
    "get",
    "serialize",
]


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Return the Keras JSON form of a policy.

    Example:
        >>> serialize(DTypePolicy("mixed_float16"))["config"]
        {'name': 'mixed_float16'}
    """
    return serialize_object(dtype_policy)


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
