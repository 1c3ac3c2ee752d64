"""Strings and integers as numbers of bins, by hash: `Hashing`, `HashedCrossing`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import describe, invalid_argument, positive_integer
from torchkeras._core.strings import is_strings, list_of_text
from torchkeras._core.typing import DType
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing._categories import (
    encode,
    mode_of,
    refuse_sparse,
    shape_of_encoded,
)
from torchkeras.layers.preprocessing._hashes import (
    crossed64,
    fingerprint64,
    salt_of,
    siphash64,
)
from torchkeras.layers.preprocessing._host import HostLayer


@layers.register()
class Hashing(HostLayer):
    """Puts strings or integers into bins, by their hash.

    The hash is FarmHash's fingerprint, or SipHash where there is a salt; integers are
    hashed as their decimal digits. It runs on the host, as `StringLookup` does.

    Args:
        num_bins: the number of bins, with the one for `mask_value`.
        mask_value: a value that alone goes into bin 0.
        salt: an integer, or the two halves of a key.
        output_mode: ``"int"`` for the number of the bin; ``"one_hot"`` for a row of
            zeros and a one for each value, ``"multi_hot"`` and ``"count"`` for one row
            for each sample.
        sparse: must be False.

    Shape:
        Any, and for the outputs the same, or with the bins on the last axis.

    Raises:
        ValueError: for a mode, a salt or a dtype that has no meaning.

    Example:
        >>> Hashing(num_bins=3)([["A"], ["B"], ["C"]]).flatten()
        tensor([1, 0, 1])
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        modes = ("int", "one_hot", "multi_hot", "count")
        self.output_mode = mode_of("Hashing", output_mode, modes)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else config.floatx()
        super().__init__(autocast=False, **kwargs)
        refuse_sparse("Hashing", sparse=sparse)
        if output_mode == "int" and self.dtype not in ("int32", "int64"):
            expected = "'int32' or 'int64' where output_mode='int'"
            raise ValueError(invalid_argument("Hashing", "dtype", expected, self.dtype))
        self.num_bins = positive_integer("Hashing", "num_bins", num_bins)
        self.mask_value = mask_value
        self.salt = salt_of("Hashing", salt)
        self.sparse = sparse

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        if self.output_mode == "int":
            return tuple(input_shape)
        return shape_of_encoded(input_shape, self.output_mode, self.num_bins)

    def compute(self, inputs: Any) -> Tensor:
        """Return the bins of an array of strings, or of a tensor."""
        tokens, is_mask = self._tokens(inputs)
        masks = self.mask_value is not None and self.num_bins > 1
        bins = self.num_bins - masks
        hashes = (
            fingerprint64(tokens) if self.salt is None else siphash64(tokens, self.salt)
        )
        indices = (hashes % np.uint64(bins)).astype("int64")
        if masks:
            indices = np.where(is_mask, 0, indices + 1)
        outputs = torch.from_numpy(indices).reshape(inputs.shape)
        dtype = DTYPES[self.compute_dtype]
        if self.output_mode == "int":
            return outputs.to(dtype)
        return encode(outputs, self.output_mode, self.num_bins, dtype)

    def _tokens(self, inputs: Any) -> tuple[list[bytes], Any]:
        """Return what is hashed, and which of it is the mask."""
        if is_strings(inputs):
            texts = list_of_text(f"Layer '{self.name}' (Hashing)", inputs)
            is_mask = [text == self.mask_value for text in texts]
            return [text.encode() for text in texts], is_mask
        values = inputs.detach().cpu().flatten().numpy()
        is_mask = values == self.mask_value
        return digits_of(values), is_mask


def digits_of(values: np.ndarray) -> list[bytes]:
    """Return numbers as text; of floats the whole part."""
    if values.dtype == bool:
        return np.where(values, b"true", b"false").tolist()
    return values.astype("int64").astype("S").tolist()


@layers.register()
class HashedCrossing(HostLayer):
    """Puts combinations of several features into bins, by their hash.

    It runs on the host, as `StringLookup` does.

    Args:
        num_bins: the number of bins.
        output_mode: ``"int"`` for the number of the bin, ``"one_hot"`` for a row of
            zeros and a one.
        sparse: must be False.
        name: the name.
        dtype: the dtype of the outputs: ``int64`` for numbers, else `floatx`.

    Shape:
        A list of features, strings or integers, each ``()``, ``(batch)`` or ``(batch,
        1)``; the same for the outputs, or with the bins on the last axis.

    Raises:
        ValueError: for a single feature, other shapes, or floats.

    Example:
        >>> layer = HashedCrossing(num_bins=5)
        >>> layer((["A", "B", "A"], [101, 101, 102]))
        tensor([1, 4, 3])
    """

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: DType = None,
        **kwargs: Any,
    ) -> None:
        self.output_mode = mode_of("HashedCrossing", output_mode, ("int", "one_hot"))
        if dtype is None:
            dtype = "int64" if output_mode == "int" else config.floatx()
        super().__init__(name=name, dtype=dtype, autocast=False, **kwargs)
        refuse_sparse("HashedCrossing", sparse=sparse)
        self.num_bins = positive_integer("HashedCrossing", "num_bins", num_bins)
        self.sparse = sparse

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs, for a list of those of the features."""
        shapes = [tuple(shape) for shape in input_shape]
        self._check_shapes(shapes)
        if self.output_mode == "int":
            return shapes[0]
        return shape_of_encoded(shapes[0], "one_hot", self.num_bins)

    def _check_shapes(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        where = f"Layer '{self.name}' (HashedCrossing)"
        if len(shapes) < 2:
            raise ValueError(
                f"{where}: expected a list of at least two features, got {len(shapes)}."
            )
        first = shapes[0]
        fits = len(first) < 2 or (len(first) == 2 and first[1] == 1)
        sizes = {shape[:1] for shape in shapes} - {(None,)}
        alike = len({shape[1:] for shape in shapes}) == 1 and len(sizes) < 2
        if not fits or not alike:
            raise ValueError(
                f"{where}: features must have one shape, (), (batch,) or (batch, 1), "
                f"got {list(shapes)}."
            )

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        if not isinstance(args[0], (list, tuple)):
            raise ValueError(
                f"Layer '{self.name}' (HashedCrossing): expected a list of features, "
                f"got {describe(args[0])}."
            )
        self._check_shapes([tuple(feature.shape) for feature in args[0]])

    def compute(self, inputs: Any) -> Tensor:
        """Return the bins of a list of arrays of strings, or of tensors."""
        shape = inputs[0].shape
        columns = [self._column(feature) for feature in inputs]
        indices = (crossed64(columns) % np.uint64(self.num_bins)).astype("int64")
        outputs = torch.from_numpy(indices).reshape(shape)
        dtype = DTYPES[self.compute_dtype]
        if self.output_mode == "int":
            return outputs.to(dtype)
        return encode(outputs, "one_hot", self.num_bins, dtype)

    def _column(self, feature: Any) -> np.ndarray:
        where = f"Layer '{self.name}' (HashedCrossing)"
        if is_strings(feature):
            texts = list_of_text(where, feature)
            return fingerprint64([text.encode() for text in texts])
        if feature.is_floating_point():
            raise ValueError(
                f"{where}: features must be integers or strings, got "
                f"{describe(feature)}. Put numbers into bins by `Discretization` first."
            )
        return feature.detach().cpu().long().flatten().numpy().astype("uint64")

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "dtype": self.dtype}
        del config["trainable"]
        return config
