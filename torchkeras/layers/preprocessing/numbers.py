"""Numbers for a model: `Normalization`, `Discretization`, `CategoryEncoding`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.context import context
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import DTYPES, standardize_dtype
from torchkeras._core.errors import (
    counted_axis,
    describe,
    invalid_argument,
    number_in,
    one_of,
    positive_integer,
)
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.symbolic import is_symbolic
from torchkeras._core.typing import DType, Value
from torchkeras._core.variable import Variable
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.preprocessing._adapting import batches_of
from torchkeras.layers.preprocessing._categories import encode, mode_of, refuse_sparse


@layers.register()
class Normalization(Layer):
    """Brings features to mean 0 and variance 1: ``(inputs - mean) / sqrt(variance)``.

    Mean and variance are given, or learnt from data by `adapt`.

    Args:
        axis: the axis or axes of which each index has a mean and a variance of its own;
            None for one of each.
        mean: the mean, or one for each index of `axis`.
        variance: the variance, in the same form.
        invert: whether to go the other way, back to the features.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: when only one of `mean` and `variance` is given, or their shapes do
            not fit.

    Example:
        >>> layer = Normalization()
        >>> layer.adapt(np.array([[0.0, 10.0], [2.0, 30.0]]))
        >>> layer(np.array([[1.0, 30.0]]))
        tensor([[0., 1.]])
    """

    casts_integers = True

    axis: tuple[int, ...]
    input_mean: Value | None
    input_variance: Value | None
    #: What `adapt` learned, where the moments were not given.
    adapt_mean: Variable
    adapt_variance: Variable
    count: Variable
    #: Whether there are moments, given or learned.
    _is_known: bool
    #: The axes that are kept, counted from the first, and the shape of the moments.
    _kept: tuple[int, ...]
    _broadcast_shape: list[int]

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Value | None = None,
        variance: Value | None = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one = isinstance(axis, int) or hasattr(axis, "__index__")
        self.axis = () if axis is None else tuple([axis] if one else axis)  # type: ignore
        self.input_mean, self.input_variance = _given(mean), _given(variance)
        self.invert = invert
        self.supports_masking = True
        self._is_known = mean is not None
        if (mean is None) != (variance is None):
            raise ValueError(
                "Normalization: give `mean` and `variance`, or neither, got "
                f"mean={mean} and variance={variance}."
            )
        shapes = np.shape(self.input_mean or 0), np.shape(self.input_variance or 0)
        if shapes[0] != shapes[1] or len(shapes[0]) > len(self.axis):
            raise ValueError(
                "Normalization: `mean` and `variance` must be numbers, or of one shape "
                f"with an axis for each of axis={self.axis} at most, got the shapes "
                f"{shapes[0]} and {shapes[1]}."
            )

    def build(self, input_shape: Any) -> None:
        rank = len(input_shape)
        axes = [counted_axis("Normalization", a, rank) for a in self.axis]
        self._kept = tuple(sorted(axes))
        sizes = tuple(input_shape[axis] for axis in self._kept)
        if None in sizes:
            raise ValueError(
                f"Layer '{self.name}' (Normalization): the sizes of axis={self.axis} "
                f"must be known, got inputs of shape {tuple(input_shape)}. Give them "
                "in `Input(shape)`, or take another `axis`."
            )
        self._broadcast_shape = [1] * rank
        for axis, size in zip(self._kept, sizes, strict=True):
            self._broadcast_shape[axis] = size
        if self.input_mean is None:
            self._add_moments(sizes)
        else:
            self._keep("_mean", self.input_mean)
            self._keep("_variance", self.input_variance)
        own = {axis - rank: size for axis, size in zip(self._kept, sizes, strict=True)}
        self.input_spec = InputSpec(min_ndim=-min(own, default=0), axes=own)

    def _add_moments(self, sizes: tuple[int, ...]) -> None:
        self.adapt_mean = self.add_weight(sizes, "zeros", trainable=False, name="mean")
        self.adapt_variance = self.add_weight(
            sizes, "ones", trainable=False, name="variance"
        )
        # Keras has it in its files, and counts nothing.
        self.count = self.add_weight(
            (), "zeros", dtype="int32", trainable=False, name="count"
        )

    def _keep(self, name: str, given: Any) -> None:
        """Keep a moment that was given, in the shape in which it meets inputs."""
        value = np.asarray(given, dtype="float64")
        shape = list(self._broadcast_shape)
        if value.ndim:
            aligned = [1] * len(shape)
            for size, axis in zip(value.shape[::-1], self._kept[::-1], strict=False):
                aligned[axis] = size
            value = value.reshape(aligned)
        try:
            value = np.broadcast_to(value, shape).copy()
        except ValueError:
            raise ValueError(
                f"Layer '{self.name}' (Normalization): `{name[1:]}` of shape "
                f"{np.shape(given)} does not fit inputs that have the sizes {shape} "
                f"on axis={self.axis}."
            ) from None
        tensor = torch.as_tensor(value, dtype=DTYPES[self.compute_dtype])
        self.register_buffer(name, tensor.to(config.default_device()), persistent=False)

    def adapt(self, data: Any) -> None:
        """Learn the mean and the variance of features.

        Args:
            data: an array, a tensor, or batches of them: a list, a generator, a
                `DataLoader`, a `PyDataset`; of ``(x, y)`` the first is taken.

        Raises:
            ValueError: for data that have no batches, or do not fit the layer.
        """
        if self.input_mean is not None:
            raise ValueError(
                f"Layer '{self.name}' (Normalization) was given its `mean` and "
                "`variance`, so `adapt` has nothing to learn."
            )
        total, moments = 0, (torch.zeros(()), torch.zeros(()))
        for batch in batches_of("Normalization", data):
            batch = self._fitted(as_tensor(batch))
            if batch.numel():
                own = _moments(batch, self._kept)
                count = batch.numel() // own[0].numel()
                total += count
                moments = _merged(moments, own, count / total)
        if not total:
            raise ValueError(
                f"Layer '{self.name}' (Normalization): `adapt` got no samples."
            )
        self.adapt_mean.assign(moments[0])
        self.adapt_variance.assign(moments[1])
        self._is_known = True
        self._choose_path()

    def _fitted(self, batch: Tensor) -> Tensor:
        if not self.built:
            known = [batch.shape[a] if a in self._axes_of(batch) else None
                     for a in range(batch.ndim)]  # fmt: skip
            self.build(tuple(known))
        super()._check_inputs((batch,))
        if batch.ndim != len(self._broadcast_shape):
            raise ValueError(
                f"Layer '{self.name}' (Normalization) is built for inputs of "
                f"{len(self._broadcast_shape)} axes; `adapt` got {describe(batch)}."
            )
        return batch

    def _axes_of(self, batch: Tensor) -> list[int]:
        return [counted_axis("Normalization", a, batch.ndim) for a in self.axis]

    @property
    def mean(self) -> Tensor | None:
        """The mean, in the shape in which it meets inputs; None before the build."""
        return self._moment("mean")

    @property
    def variance(self) -> Tensor | None:
        """The variance, in the same shape; None before the build."""
        return self._moment("variance")

    def _moment(self, name: str) -> Any:
        if not self._built:
            return None
        if self.input_mean is not None:
            return getattr(self, f"_{name}")
        return getattr(self, f"adapt_{name}").reshape(self._broadcast_shape)

    def call(self, inputs: Tensor) -> Tensor:
        mean, variance = self._moment("mean"), self._moment("variance")
        deviation = variance.sqrt().clamp(min=config.epsilon())
        if self.invert:
            return inputs * deviation + mean
        return (inputs - mean) / deviation

    def _choose_path(self) -> None:
        super()._choose_path()
        self._fast_path = self._fast_path and self._is_known

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        super()._check_inputs(args)
        if self._built and not (self._is_known or is_symbolic(args)):
            self._look_at_moments()

    def _look_at_moments(self) -> None:
        """Warn once of moments that nobody has set: by `adapt`, or from a file."""
        if torch.compiler.is_compiling() or self.adapt_mean.is_meta:
            return
        if not self.adapt_mean.any() and bool((self.adapt_variance == 1).all()):
            warnings.warn(
                f"Layer '{self.name}' (Normalization) was never adapted: it returns "
                "its inputs. Call `adapt(data)`, give `mean` and `variance`, or load "
                "weights.",
                stacklevel=6,
            )
        self._is_known = True
        self._choose_path()

    def get_config(self) -> dict[str, Any]:
        moments = {"mean": self.input_mean, "variance": self.input_variance}
        return {**super().get_config(), **moments}


def _given(value: Any) -> Any:
    """Return a moment as a config has it: a number, or lists of them."""
    if value is None:
        return None
    value = value.detach().cpu() if isinstance(value, Tensor) else value
    return np.asarray(value, dtype="float64").tolist()


def _moments(batch: Tensor, kept: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and variance over all axes but those that are kept."""
    batch = batch.double()
    reduced = [axis for axis in range(batch.ndim) if axis not in kept]
    if not reduced:
        return batch, torch.zeros_like(batch)
    variance, mean = torch.var_mean(batch, dim=reduced, correction=0)
    return mean, variance


def _merged(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], share: float
) -> tuple[Tensor, Tensor]:
    """Return mean and variance of two parts, the second of which is a share of all.

    Source: the law of total variance.
    """
    means = first[0].to(second[0]), second[0]
    mean = torch.lerp(*means, share)
    spread = [(m - mean).square() for m in means]
    variances = first[1].to(second[1]) + spread[0], second[1] + spread[1]
    return mean, torch.lerp(*variances, share)


@layers.register()
class Discretization(Layer):
    """Says in which of several intervals a number lies.

    The boundaries are given, or learnt from data by `adapt`, which makes bins of about
    as many values each.

    Args:
        bin_boundaries: the boundaries, ascending; each belongs to the bin above it.
        num_bins: how many bins `adapt` makes, if no boundaries are given.
        epsilon: how far from the exact quantiles the boundaries may lie, as a share of
            all values.
        output_mode: ``"int"`` for the number of the bin; ``"one_hot"`` for a row of
            zeros and a one for each value, ``"multi_hot"`` and ``"count"`` for one row
            for each sample.
        sparse: must be False.
        dtype: the dtype of rows; numbers of bins are ``int32``.
        name: the name.

    Shape:
        Any, and for the outputs the same, or with the bins on the last axis.

    Raises:
        ValueError: unless one of `bin_boundaries` and `num_bins` is given.

    Example:
        >>> layer = Discretization(bin_boundaries=[0.0, 1.0, 2.0])
        >>> layer(np.array([[-1.5, 1.0, 3.4, 0.5]]))
        tensor([[0, 2, 3, 1]], dtype=torch.int32)
    """

    casts_integers = True

    bin_boundaries: list[float] | None
    #: What is known of the values so far: some of them, and how many each stands for.
    summary: np.ndarray

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: DType = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        refuse_sparse("Discretization", sparse=sparse)
        modes = ("int", "one_hot", "multi_hot", "count")
        self.output_mode = one_of("Discretization", "output_mode", output_mode, modes)
        if (num_bins is None) == (bin_boundaries is None):
            raise ValueError(
                "Discretization: give either `num_bins` or `bin_boundaries`, got "
                f"num_bins={num_bins} and bin_boundaries={bin_boundaries}."
            )
        if num_bins is not None:
            num_bins = positive_integer("Discretization", "num_bins", num_bins)
        self.num_bins = num_bins
        self.epsilon = number_in("Discretization", "epsilon", epsilon, 0.0, 1.0)
        self.sparse = sparse
        self.reset_state()
        self._set_boundaries(bin_boundaries)

    def _set_boundaries(self, boundaries: Sequence[float] | None) -> None:
        self.bin_boundaries = None if boundaries is None else list(boundaries)
        values = np.asarray(self.bin_boundaries or [], dtype="float64")
        if values.ndim != 1 or not (np.diff(values) >= 0).all():
            expected = "numbers that ascend"
            raise ValueError(
                invalid_argument(
                    "Discretization", "bin_boundaries", expected, boundaries
                )
            )
        tensor = torch.as_tensor(values, dtype=DTYPES[self.compute_dtype])
        device = config.default_device()
        self.register_buffer("_boundaries", tensor.to(device), persistent=False)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the boundaries of bins that have about as many values each.

        Args:
            data: an array, a tensor, or batches of them: a list, a generator, a
                `DataLoader`, a `PyDataset`; of ``(x, y)`` the first is taken.
            steps: how many batches to take at most.

        Raises:
            ValueError: for data that have no batches, or where boundaries were given.
        """
        if self.num_bins is None:
            raise ValueError(
                f"Layer '{self.name}' (Discretization) was given its `bin_boundaries`, "
                "so `adapt` has nothing to learn. Give `num_bins` instead."
            )
        self.reset_state()
        for batch in batches_of("Discretization", data, steps):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Take in a batch of values."""
        tensor = as_tensor(data)
        new = _summary(tensor.detach().cpu().float().numpy(), self.epsilon)
        both = np.concatenate([new, self.summary], axis=1)
        self.summary = _compressed(both[:, np.argsort(both[0])], self.epsilon)

    def finalize_state(self) -> None:
        """Make boundaries of what was taken in."""
        if self.num_bins is None:
            return
        if not self.summary.size:
            raise ValueError(
                f"Layer '{self.name}' (Discretization): `adapt` got no values."
            )
        final = _compressed(self.summary, 1.0 / self.num_bins)
        self._set_boundaries(final[0, :-1].tolist())

    def reset_state(self) -> None:
        """Forget what was taken in."""
        self.summary = np.zeros((2, 0), dtype="float32")

    def call(self, inputs: Tensor) -> Tensor:
        if self.bin_boundaries is None and not context.probes:
            raise ValueError(
                f"Layer '{self.name}' (Discretization) was not adapted. Call "
                "`adapt(data)`, or give `bin_boundaries`."
            )
        boundaries = self._boundaries.to(inputs.dtype)
        indices = torch.bucketize(inputs, boundaries, out_int32=True, right=True)
        if self.output_mode == "int":
            return indices
        known = self.bin_boundaries
        depth = self.num_bins if known is None else len(known) + 1
        return encode(indices, self.output_mode, depth, DTYPES[self.compute_dtype])

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "dtype": self.dtype}
        del config["trainable"]
        return config

    @classmethod
    def _from_arguments(cls, values: dict[str, Any]) -> Discretization:
        # Of an adapted layer both are there, which the constructor refuses.
        both = values.get("num_bins") is not None
        boundaries = values.pop("bin_boundaries", None) if both else None
        layer = super()._from_arguments(values)
        if boundaries is not None:
            layer._set_boundaries(boundaries)
        return layer


def _summary(values: np.ndarray, epsilon: float) -> np.ndarray:
    """Return values that stand for as many others each, and for how many."""
    values = np.sort(values, axis=None)
    step = max(values.size * epsilon, 1)
    chosen = values[int(step - 1) :: int(step)]
    return np.stack([chosen, np.full_like(chosen, step)])


def _compressed(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """Return a summary of fewer values, which stand for a share of all each."""
    if summary.shape[1] * epsilon < 1:
        return summary
    counts = summary[1].cumsum()
    shares = counts / counts[-1]
    wanted = epsilon + np.arange(0.0, 1.0, epsilon)
    values = np.interp(wanted, shares, summary[0])
    weights = np.diff(np.interp(wanted, shares, counts), prepend=0.0)
    return np.stack([values, weights]).astype("float32")


@layers.register()
class CategoryEncoding(Layer):
    """Makes rows of zeros and ones, or of counts, of integers that stand for classes.

    Args:
        num_tokens: the number of classes.
        output_mode: ``"one_hot"`` for a row for each integer; ``"multi_hot"`` for one
            that says which are in a sample, ``"count"`` for one that says how often.
        sparse: must be False.

    Shape:
        ``(batch, n)`` to ``(batch, num_tokens)``; with ``"one_hot"`` any, and the
        classes on an axis more, or in place of a last axis of size 1.

    Raises:
        ValueError: for an integer that is no class.

    Example:
        >>> layer = CategoryEncoding(4, output_mode="count")
        >>> layer([[0, 1], [2, 2]])
        tensor([[1., 1., 0., 0.],
                [0., 0., 2., 0.]])
    """

    index_dtypes = (torch.int64, torch.int32)

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        modes = ("count", "one_hot", "multi_hot")
        self.output_mode = mode_of("CategoryEncoding", output_mode, modes)
        if num_tokens is None:
            raise ValueError(
                "CategoryEncoding: `num_tokens` must be given. Where it is not known "
                "take `IntegerLookup`."
            )
        self.num_tokens = positive_integer("CategoryEncoding", "num_tokens", num_tokens)
        refuse_sparse("CategoryEncoding", sparse=sparse)

    def call(self, inputs: Tensor, count_weights: Any = None) -> Tensor:
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(
                f"Layer '{self.name}' (CategoryEncoding): `count_weights` have a "
                f"meaning for output_mode='count' only, not for {self.output_mode!r}."
            )
        dtype = DTYPES[standardize_dtype(self.dtype)]
        if count_weights is not None:
            count_weights = as_tensor(count_weights, inputs.device).to(dtype)
        return encode(inputs, self.output_mode, self.num_tokens, dtype, count_weights)

    def _explain(self, error: Exception, args: tuple[Any, ...]) -> None:
        if isinstance(error, (RuntimeError, IndexError)):
            self._check_classes(args[0])
        super()._explain(error, args)

    def _check_classes(self, inputs: Tensor) -> None:
        wrong = (inputs < 0) | (inputs >= self.num_tokens)
        if bool(wrong.any()):
            raise ValueError(
                f"Layer '{self.name}' (CategoryEncoding): inputs must be in [0, "
                f"{self.num_tokens}) because num_tokens={self.num_tokens}, got "
                f"{inputs[wrong][0].item():g}. Raise `num_tokens`, or map the inputs "
                "by `IntegerLookup`."
            ) from None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["sparse"]
        return config
