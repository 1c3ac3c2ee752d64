"""`FeatureSpace`: the columns of a table as one vector for a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import gate, tree
from torchkeras._core.convert import as_array
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import describe, invalid_argument, one_of, unknown_name
from torchkeras._core.naming import auto_name
from torchkeras._core.registry import Registry
from torchkeras._core.symbolic import is_keras_tensor
from torchkeras.layers import (
    CategoryEncoding,
    Concatenate,
    Discretization,
    HashedCrossing,
    Hashing,
    Identity,
    Input,
    IntegerLookup,
    Layer,
    Normalization,
    Rescaling,
    StringLookup,
)
from torchkeras.models.model import Model
from torchkeras.saving.objects import deserialize_keras_object, serialize_keras_object

_OWNER = "FeatureSpace"
#: Arguments that spare a layer to be adapted.
_GIVEN = ("mean", "vocabulary", "bin_boundaries")

parts = Registry("part of a feature space", "keras.src.utils.feature_space")
spaces = Registry("feature space", "keras.utils")


@parts.register()
class Feature:
    """How a column is prepared.

    Args:
        dtype: of the column: ``"float32"``, ``"int32"`` or ``"string"``.
        preprocessor: the layer that takes it, of the shape ``(batch, 1)``.
        output_mode: what becomes of the layer's outputs: ``"one_hot"``, or nothing for
            ``"int"`` and ``"float"``.
    """

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        modes = ("int", "one_hot", "float")
        self.output_mode = one_of("Feature", "output_mode", output_mode, modes)
        self.dtype = one_of("Feature", "dtype", dtype, (*DTYPES, "string"))
        self.preprocessor: Layer = _restored(preprocessor)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "dtype": self.dtype,
            "preprocessor": self.preprocessor,
            "output_mode": self.output_mode,
        }

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Feature:
        """Make a feature of `get_config`'s result."""
        return cls(**config)


@parts.register()
class Cross:
    """Several columns as one: each combination of their values is a value.

    Args:
        feature_names: the names of the columns.
        crossing_dim: how many values there are, as combinations are hashed.
        output_mode: ``"one_hot"`` or ``"int"``.
    """

    def __init__(
        self,
        feature_names: Sequence[str],
        crossing_dim: int,
        output_mode: str = "one_hot",
    ) -> None:
        self.output_mode = one_of(
            "Cross", "output_mode", output_mode, ("int", "one_hot")
        )
        self.feature_names = tuple(feature_names)
        self.crossing_dim = crossing_dim

    @property
    def name(self) -> str:
        """The names of the columns, with ``_X_`` between them."""
        return "_X_".join(self.feature_names)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "feature_names": self.feature_names,
            "crossing_dim": self.crossing_dim,
            "output_mode": self.output_mode,
        }

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Cross:
        """Make a cross of `get_config`'s result."""
        return cls(**config)


def _restored(value: Any) -> Any:
    return deserialize_keras_object(value) if isinstance(value, Mapping) else value


@spaces.register()
class FeatureSpace(Model):
    """Prepares the columns of a table, and joins them into a vector for each row.

    `adapt` learns what the columns hold; then it is called on a dict of columns, in a
    data set's `map`, or before a model: `get_inputs` and `get_encoded_features` are
    both ends of it as a graph.

    Args:
        features: of each column by its name how it is prepared: ``"float"``,
            ``"float_normalized"``, ``"float_rescaled"``, ``"float_discretized"``,
            ``"integer_categorical"``, ``"integer_hashed"``, ``"string_categorical"``,
            ``"string_hashed"``, or what a method of one of these names returns.
        output_mode: ``"concat"`` for one vector a row, ``"dict"`` for one of each
            column.
        crosses: columns to cross: tuples of their names, or what `cross` returns.
        crossing_dim: values of a cross, where it does not say.
        hashing_dim: values of a hashed column, where it does not say.
        num_discretization_bins: bins of a column of floats, where it does not say.

    Shape:
        A dict of ``(batch,)`` or ``(batch, 1)`` to ``(batch, features)``; of single
        values to ``(features,)``.

    Raises:
        ValueError: when no features are given, or a cross is of unknown ones; at a call
            before `adapt`, or on something else than a dict of the columns.

    Example:
        >>> space = FeatureSpace(
        ...     {"age": "float_normalized", "city": "string_categorical"}
        ... )
        >>> rows = {"age": [20.0, 40.0], "city": ["Rome", "Oslo"]}
        >>> space.adapt(rows)
        >>> space(rows)  # the mean is 30; then: unknown, Rome, Oslo
        tensor([[-1.,  0.,  1.,  0.],
                [ 1.,  0.,  0.,  1.]])
        >>> space({"age": 30.0, "city": "Bern"})
        tensor([0., 1., 0., 0.])
    """

    takes_strings = True

    features: dict[str, Feature]
    crosses: list[Cross]
    preprocessors: dict[str, Layer]
    crossers: dict[str, Layer]
    one_hot_encoders: dict[str, Layer]
    _is_adapted: bool
    _encoded: Any

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Iterable[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not features:
            expected = "a dict of at least one column"
            raise ValueError(invalid_argument(_OWNER, "features", expected, features))
        self.output_mode = one_of(
            _OWNER, "output_mode", output_mode, ("concat", "dict")
        )
        self.crossing_dim = crossing_dim
        self.hashing_dim = hashing_dim
        self.num_discretization_bins = num_discretization_bins
        self.features = {key: self._feature(key, f) for key, f in features.items()}
        self.crosses = [self._cross(cross) for cross in crosses or ()]
        self.inputs = {
            key: Input((1,), dtype=feature.dtype, name=key)
            for key, feature in self.features.items()
        }
        self.preprocessors = {k: f.preprocessor for k, f in self.features.items()}
        self.crossers = {
            cross.name: HashedCrossing(cross.crossing_dim, name=cross.name)
            for cross in self.crosses
        }
        self.one_hot_encoders = {}
        self._is_adapted = not self._to_adapt()
        self._encoded = None

    # Kinds of columns

    @classmethod
    def cross(
        cls,
        feature_names: Sequence[str],
        crossing_dim: int,
        output_mode: str = "one_hot",
    ) -> Cross:
        """Cross several columns; see `Cross`."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """Prepare a column by a layer of one's own; see `Feature`."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:  # type: ignore[override]
        """Take floats as they are."""
        return cls._float(Identity, "float", name)

    @classmethod
    def float_rescaled(
        cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None
    ) -> Feature:
        """Take floats times `scale`, plus `offset`."""
        return cls._float(Rescaling, "float_rescaled", name, scale=scale, offset=offset)

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Bring floats to mean 0 and variance 1."""
        return cls._float(Normalization, "float_normalized", name, axis=-1)

    @classmethod
    def float_discretized(
        cls,
        num_bins: int,
        bin_boundaries: Sequence[Any] | None = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Put floats into bins, of which each has as many."""
        name = name or auto_name("float_discretized")
        if bin_boundaries is not None:
            given: dict[str, Any] = {"bin_boundaries": bin_boundaries}
        else:
            given = {"num_bins": num_bins}
        layer = Discretization(name=f"{name}_preprocessor", **given)
        return Feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Number the integers that occur."""
        name = name or auto_name("integer_categorical")
        layer = IntegerLookup(
            name=f"{name}_preprocessor",
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
        )
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Number the strings that occur."""
        name = name or auto_name("string_categorical")
        layer = StringLookup(
            name=f"{name}_preprocessor",
            max_tokens=max_tokens,
            num_oov_indices=num_oov_indices,
        )
        return Feature("string", layer, output_mode)

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Number strings by their hash."""
        name = name or auto_name("string_hashed")
        layer = Hashing(name=f"{name}_preprocessor", num_bins=num_bins)
        return Feature("string", layer, output_mode)

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Number integers by their hash."""
        name = name or auto_name("integer_hashed")
        layer = Hashing(name=f"{name}_preprocessor", num_bins=num_bins)
        return Feature("int32", layer, output_mode)

    @classmethod
    def _float(
        cls, kind: Any, prefix: str, name: str | None, **options: Any
    ) -> Feature:
        layer = kind(name=f"{name or auto_name(prefix)}_preprocessor", **options)
        return Feature("float32", layer, "float")

    def _feature(self, key: str, value: Any) -> Feature:
        if isinstance(value, Mapping):
            value = _restored(value)
        if isinstance(value, Feature):
            return value
        sizes: dict[str, int] = {
            "float_discretized": self.num_discretization_bins,
            "integer_hashed": self.hashing_dim,
            "string_hashed": self.hashing_dim,
        }
        known = (
            "float float_normalized float_rescaled integer_categorical "
            "string_categorical"
        ).split()
        if not isinstance(value, str) or value not in (*known, *sizes):
            hint = "Or pass what a method of FeatureSpace of such a name returns."
            kind = f"kind of feature {key!r}:"
            raise ValueError(unknown_name(kind, value, (*known, *sizes), hint))
        size = [sizes[value]] if value in sizes else []
        return getattr(type(self), value)(*size, name=key)

    def _cross(self, value: Any) -> Cross:
        cross = _restored(value)
        if not isinstance(cross, Cross):
            cross = Cross(cross, self.crossing_dim)
        unknown = [name for name in cross.feature_names if name not in self.features]
        if unknown:
            raise ValueError(
                f"{_OWNER}: `crosses` must be of the features {list(self.features)}, "
                f"got {unknown} too."
            )
        return cross

    # Learning

    def _to_adapt(self) -> list[str]:
        """Return the columns whose layers learn, and were not given what to."""
        found = []
        for key, layer in self.preprocessors.items():
            if hasattr(layer, "adapt"):
                config = layer.get_config()
                if all(config.get(name) is None for name in _GIVEN):
                    found.append(key)
        return found

    def adapt(self, dataset: Any) -> None:
        """Learn what the columns hold, going through the data once.

        Args:
            dataset: a dict of columns, or an iterable of dicts, of batches or of single
                rows, such as a `Dataset`; of ``(x, y)`` the first.

        Raises:
            ValueError: for anything else, or when a column is missing.
        """
        batches = [dataset] if isinstance(dataset, Mapping) else dataset
        if not isinstance(batches, Iterable) or hasattr(batches, "__array__"):
            expected = "a dict of columns, or an iterable of dicts"
            raise ValueError(invalid_argument(_OWNER, "dataset", expected, dataset))
        wanted = self._to_adapt() if not self._is_adapted else self._learners()
        columns: dict[str, list[Any]] = {key: [] for key in wanted}
        for batch in batches:
            row = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            prepared = self._columns_of(row, wanted)
            for key, column in prepared.items():
                columns[key].append(column)
        for key, found in columns.items():
            if not found:
                raise ValueError(f"{_OWNER}: `adapt` got no data.")
            layer: Any = self.preprocessors[key]
            layer.adapt(_joined(found))
        self._is_adapted = True
        self._encoded = None
        self.one_hot_encoders = {}
        self.built = True

    def _learners(self) -> list[str]:
        return [k for k, layer in self.preprocessors.items() if hasattr(layer, "adapt")]

    def _check_adapted(self) -> None:
        if not self._is_adapted:
            raise ValueError(
                f"{_OWNER} '{self.name}' must know its columns first: call "
                f"`adapt(dataset)`, which learns {self._to_adapt()}."
            )

    # Going through it

    def get_inputs(self) -> dict[str, Any]:
        """Return the symbolic columns, the inputs of a model that takes a table."""
        self._check_adapted()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """Return the symbolic features, the inputs of a model that takes vectors."""
        self._check_adapted()
        if self._encoded is None:
            self._encoded = self._encode(self.inputs)
        return self._encoded

    def __call__(self, data: Any) -> Any:
        self._check_adapted()
        columns = self._columns_of(data, list(self.features))
        outputs = self._encode(columns)
        if any(map(is_keras_tensor, columns.values())):
            return outputs
        if all(np.ndim(data[name]) == 0 for name in self.features):
            return tree.map_structure(lambda x: x[0], outputs)
        return outputs

    def call(self, data: Any) -> Any:
        return self(data)

    def _columns_of(self, data: Any, names: Sequence[str]) -> dict[str, Any]:
        """Return columns of the shape ``(batch, 1)``, of the dtypes of the features."""
        if not isinstance(data, Mapping):
            raise ValueError(
                f"{_OWNER} '{self.name}' takes a dict of the columns "
                f"{list(self.features)}, got {describe(data)}."
            )
        missing = [name for name in names if name not in data]
        if missing:
            raise ValueError(
                f"{_OWNER} '{self.name}' needs the columns {list(self.features)}; of "
                f"{list(data)} it misses {missing}."
            )
        return {
            name: _column(name, data[name], self.features[name].dtype) for name in names
        }

    def _encode(self, columns: dict[str, Any]) -> Any:
        prepared = {name: self.preprocessors[name](x) for name, x in columns.items()}
        crossed = {
            cross.name: self.crossers[cross.name](
                [prepared[name] for name in cross.feature_names]
            )
            for cross in self.crosses
        }
        modes = {name: feature.output_mode for name, feature in self.features.items()}
        modes |= {cross.name: cross.output_mode for cross in self.crosses}
        ordered = [(k, part[k]) for part in (prepared, crossed) for k in sorted(part)]
        outputs = {
            name: self._one_hot(name, x) if modes[name] == "one_hot" else x
            for name, x in ordered
        }
        if self.output_mode == "dict":
            return outputs
        for name, x in outputs.items():
            if not _is_float(x):
                raise ValueError(
                    f"{_OWNER} '{self.name}': the feature {name!r} is not encoded: it "
                    "has integers or strings, which join no vector. Give it "
                    "output_mode='one_hot', or use FeatureSpace(output_mode='dict')."
                )
        values = list(outputs.values())
        return Concatenate(axis=-1)(values) if len(values) > 1 else values[0]

    def _one_hot(self, name: str, x: Any) -> Any:
        if name not in self.one_hot_encoders:
            layer: Any = self.preprocessors.get(name) or self.crossers[name]
            self.one_hot_encoders[name] = CategoryEncoding(
                _number_of_values(name, layer), output_mode="multi_hot"
            )
        return self.one_hot_encoders[name](x)

    # Files

    def get_config(self) -> dict[str, Any]:
        return {
            "features": serialize_keras_object(self.features),
            "output_mode": self.output_mode,
            "crosses": serialize_keras_object(self.crosses),
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
            "name": self.name,
        }

    def get_build_config(self) -> dict[str, Any] | None:
        """Return the names of the columns, once it knows them."""
        return {"features": list(self.features)} if self._is_adapted else None

    @gate.takes_whole_config
    def build_from_config(self, config: dict[str, Any]) -> None:
        """Take what its layers learned as known: a file brings it."""
        self._is_adapted = self.built = True


def _column(name: str, value: Any, dtype: str) -> Any:
    """Return a column as a tensor of its dtype or an array of strings."""
    if is_keras_tensor(value):
        return value
    if dtype == "string":
        value = value.numpy() if hasattr(value, "numpy") else value
        return _with_rows(np.asarray(value, object))
    if not isinstance(value, Tensor):
        value = as_array(value) if hasattr(value, "__array__") else np.asarray(value)
        if value.dtype.kind not in "biuf":
            expected = f"numbers, as its feature has the dtype {dtype}"
            raise ValueError(f"{_OWNER}: the column {name!r} must hold {expected}.")
        value = torch.tensor(value)
    return _with_rows(_cast(name, value, dtype))


def _cast(name: str, column: Tensor, dtype: str) -> Tensor:
    """Return numbers in a dtype; integers stay as wide as they are."""
    if not dtype.startswith(("int", "uint")):
        return column.to(DTYPES[dtype])
    if not column.is_floating_point():
        return column
    if not bool((column == column.round()).all()):
        raise ValueError(
            f"{_OWNER}: the column {name!r} must hold integers, as its feature has the "
            f"dtype {dtype}; it has fractions, or lacks values."
        )
    return column.long()


def _with_rows(column: Any) -> Any:
    """Return a column, or a single value, of the shape ``(batch, 1)``."""
    return column.reshape(-1, 1) if column.ndim < 2 else column


def _joined(columns: list[Any]) -> Any:
    if isinstance(columns[0], Tensor):
        return torch.cat(columns)
    return np.concatenate(columns)


def _is_float(x: Any) -> bool:
    dtype = str(x.dtype)
    return "float" in dtype


def _number_of_values(name: str, layer: Any) -> int:
    if hasattr(layer, "vocabulary_size"):
        return layer.vocabulary_size()
    if isinstance(layer, CategoryEncoding):
        return int(layer.num_tokens)
    if isinstance(layer, Discretization):
        return layer.num_bins or len(layer.bin_boundaries or ()) + 1
    if isinstance(layer, (Hashing, HashedCrossing)):
        return layer.num_bins
    raise ValueError(
        f"{_OWNER}: the feature {name!r} has output_mode='one_hot', but how many "
        f"values {type(layer).__name__} gives is not known. Use output_mode='int'."
    )
