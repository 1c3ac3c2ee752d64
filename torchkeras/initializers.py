"""First values of weights, in Keras's layout.

Fans, scales and distributions are Keras's; the numbers drawn are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.signal import windows

from torchkeras._core.config import default_device
from torchkeras._core.configurable import Configurable
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import invalid_argument, number_in, one_of
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import Registry
from torchkeras._core.typing import DType, InitializerLike
from torchkeras.random import Seed, checked_seed, draw, truncated_normal_

initializers = Registry("initializer", "keras.initializers")

Shape = Sequence[int]

#: The standard deviation of a standard normal that is cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Configurable):
    """The base of initializers, and of your own.

    Write ``__call__(shape, dtype=None)``, which returns a tensor. Arguments kept as
    attributes of their names make up the config.

    Example:
        >>> class Half(Initializer):
        ...     def __call__(self, shape, dtype=None):
        ...         return torch.full(shape, 0.5)
        >>> Half()((2,))
        tensor([0.5000, 0.5000])
    """

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        """Return the first values of a weight.

        Args:
            shape: the shape, in Keras's layout.
            dtype: the dtype; ``floatx`` by default.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not define `__call__`. Write "
            "`__call__(self, shape, dtype=None)`, which returns a tensor."
        )

    def clone(self) -> Self:
        """Return another initializer of the same config."""
        return type(self).from_config(self.get_config())


def _device() -> torch.device:
    # A device chosen by `set_default_device` gives way to `with torch.device("meta")`.
    current = torch.get_default_device()
    return current if current.type == "meta" else default_device()


# Constant values


@initializers.register("zero")
class Zeros(Initializer):
    """All zeros.

    Example:
        >>> Zeros()((2,))
        tensor([0., 0.])
    """

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        return torch.zeros(tuple(shape), dtype=to_torch_dtype(dtype), device=_device())


@initializers.register("one")
class Ones(Initializer):
    """All ones.

    Example:
        >>> Ones()((2,))
        tensor([1., 1.])
    """

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        return torch.ones(tuple(shape), dtype=to_torch_dtype(dtype), device=_device())


@initializers.register()
class Constant(Initializer):
    """The same value everywhere, or the values of a given array.

    Args:
        value: a number, or an array that broadcasts to the shape.

    Example:
        >>> Constant(3)((2,))
        tensor([3., 3.])
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        value = as_tensor(self.value).detach().to(_device(), to_torch_dtype(dtype))
        try:
            return value.expand(tuple(shape)).clone()
        except RuntimeError:
            expected = f"a number or an array of the weight's shape, {tuple(shape)}"
            raise ValueError(
                invalid_argument("Constant", "value", expected, self.value)
            ) from None


@initializers.register("IdentityInitializer")
class Identity(Initializer):
    """The identity matrix times `gain`, for weights of two axes.

    Args:
        gain: the value on the diagonal.

    Example:
        >>> Identity()((2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number_in("Identity", "gain", gain)

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        rows, columns = _checked_shape("Identity", shape, len(shape) == 2, "two axes")
        dtype = to_torch_dtype(dtype)
        return torch.eye(rows, columns, dtype=dtype, device=_device()).mul_(self.gain)


# Random values


class RandomInitializer(Initializer):
    """The base of random initializers.

    Args:
        seed: an integer, with which every call gives the same values, or a
            `SeedGenerator`. None draws from torch's generator, which
            `keras.utils.set_random_seed` seeds, so that two weights of one unseeded
            initializer differ.
    """

    seed: Seed

    def __init__(self, seed: Seed = None) -> None:
        self.seed = checked_seed(type(self).__name__, seed)

    def _draw(
        self, shape: Shape, dtype: DType, fill: Callable[..., Any], *args: float
    ) -> Tensor:
        """Return an empty tensor after ``fill(tensor, *args, generator)``."""
        dtype = to_torch_dtype(dtype)
        if not dtype.is_floating_point:
            raise ValueError(
                invalid_argument(
                    type(self).__name__, "dtype", "a floating-point dtype", dtype
                )
            )
        return draw(shape, dtype, self.seed, fill, *args)


@initializers.register("normal")
class RandomNormal(RandomInitializer):
    """Values of a normal distribution.

    Args:
        mean: its mean.
        stddev: its standard deviation.
        seed: an integer for the same values on every call.

    Raises:
        ValueError: when `stddev` is negative.

    Example:
        >>> RandomNormal(stddev=1.0, seed=0)((2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None
    ) -> None:
        super().__init__(seed)
        self.mean = number_in(type(self).__name__, "mean", mean)
        self.stddev = number_in(type(self).__name__, "stddev", stddev, 0.0)

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        return self._draw(shape, dtype, Tensor.normal_, self.mean, self.stddev)


@initializers.register()
class TruncatedNormal(RandomNormal):
    """Values of a normal distribution, none further than two deviations from the mean.

    Args:
        mean: the mean.
        stddev: the standard deviation before truncation.
        seed: an integer for the same values on every call.

    Raises:
        ValueError: when `stddev` is negative.

    Example:
        >>> bool(TruncatedNormal(stddev=1.0)((1000,)).abs().max() <= 2)
        True
    """

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        return self._draw(shape, dtype, truncated_normal_, self.mean, self.stddev)


@initializers.register("uniform")
class RandomUniform(RandomInitializer):
    """Values spread evenly over an interval.

    Args:
        minval: the lower end, included.
        maxval: the upper end, excluded.
        seed: an integer for the same values on every call.

    Raises:
        ValueError: when `minval` is over `maxval`.

    Example:
        >>> bool(RandomUniform(0.0, 1.0)((1000,)).min() >= 0)
        True
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None
    ) -> None:
        super().__init__(seed)
        self.maxval = number_in("RandomUniform", "maxval", maxval)
        self.minval = number_in("RandomUniform", "minval", minval)
        if self.minval > self.maxval:
            expected = f"at most `maxval`, which is {maxval}"
            raise ValueError(
                invalid_argument("RandomUniform", "minval", expected, minval)
            )

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        return self._draw(shape, dtype, Tensor.uniform_, self.minval, self.maxval)


@initializers.register()
class VarianceScaling(RandomInitializer):
    """Values whose variance is `scale` divided by the number of units.

    Args:
        scale: the variance times the number of units.
        mode: which units are counted: those of the input (``"fan_in"``), those of the
            output (``"fan_out"``) or their average (``"fan_avg"``).
        distribution: ``"truncated_normal"`` (or ``"normal"``), ``"untruncated_normal"``
            or ``"uniform"``.
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`; by default the
            last but one and all before it but the last.
        output_axes: the axes that count as output.

    Raises:
        ValueError: for a scale that is not positive, an unknown mode or distribution.

    Example:
        >>> VarianceScaling(mode="fan_avg", distribution="uniform")((3, 4)).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = number_in("VarianceScaling", "scale", scale, 0.0)
        if self.scale == 0.0:
            expected = "a positive number"
            raise ValueError(
                invalid_argument("VarianceScaling", "scale", expected, scale)
            )
        self.mode = one_of("VarianceScaling", "mode", mode, _MODES)
        distribution = str(distribution).lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        self.distribution = one_of(
            "VarianceScaling", "distribution", distribution, _DISTRIBUTIONS
        )
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        units = {"fan_in": fan_in, "fan_out": fan_out}.get(
            self.mode, (fan_in + fan_out) / 2
        )
        stddev = math.sqrt(self.scale / max(1.0, units))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * stddev
            return self._draw(shape, dtype, Tensor.uniform_, -limit, limit)
        if self.distribution == "untruncated_normal":
            return self._draw(shape, dtype, Tensor.normal_, 0.0, stddev)
        stddev = stddev / _TRUNCATED_STDDEV
        return self._draw(shape, dtype, truncated_normal_, 0.0, stddev)


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


def compute_fans(
    shape: Shape,
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Return how many inputs and outputs a weight of that shape joins, as Keras counts.

    Args:
        shape: the shape, in Keras's layout: ``(*window, inputs, outputs)``.
        input_axes: the axes of the inputs, with `output_axes`.
        output_axes: the axes of the outputs.

    Example:
        >>> compute_fans((3, 3, 8, 16))
        (72, 144)
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        fan_in, fan_out = (
            math.prod(shape[axis] for axis in axes)
            for axes in (input_axes, output_axes)
        )
        return int(fan_in), int(fan_out)
    if len(shape) < 2:
        size = int(math.prod(shape))
        return size, size
    window = math.prod(shape[:-2])
    return int(window * shape[-2]), int(window * shape[-1])


class _Scaled(VarianceScaling):
    """The base of scalings known by a name, which leave only seed and axes open."""

    #: `scale`, `mode` and `distribution`.
    preset: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.preset, seed, input_axes, output_axes)


@initializers.register()
class GlorotUniform(_Scaled):
    """Uniform within ``sqrt(6 / (fan_in + fan_out))``, also called Xavier uniform.

    Args:
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`.
        output_axes: the axes that count as output.

    Example:
        >>> bool(GlorotUniform()((3, 3)).abs().max() <= 1)
        True
    """

    preset = (1.0, "fan_avg", "uniform")


@initializers.register()
class GlorotNormal(_Scaled):
    """Truncated normal of variance ``2 / (fan_in + fan_out)``, also called Xavier.

    Args:
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`.
        output_axes: the axes that count as output.
    """

    preset = (1.0, "fan_avg", "truncated_normal")


@initializers.register()
class LecunNormal(_Scaled):
    """Truncated normal of variance ``1 / fan_in``.

    Args:
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`.
        output_axes: the axes that count as output.
    """

    preset = (1.0, "fan_in", "truncated_normal")


@initializers.register()
class LecunUniform(_Scaled):
    """Uniform within ``sqrt(3 / fan_in)``.

    Args:
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`.
        output_axes: the axes that count as output.
    """

    preset = (1.0, "fan_in", "uniform")


@initializers.register()
class HeNormal(_Scaled):
    """Truncated normal of variance ``2 / fan_in`` (https://arxiv.org/abs/1502.01852).

    Args:
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`.
        output_axes: the axes that count as output.
    """

    preset = (2.0, "fan_in", "truncated_normal")


@initializers.register()
class HeUniform(_Scaled):
    """Uniform within ``sqrt(6 / fan_in)`` (https://arxiv.org/abs/1502.01852).

    Args:
        seed: an integer for the same values on every call.
        input_axes: the axes that count as input, with `output_axes`.
        output_axes: the axes that count as output.
    """

    preset = (2.0, "fan_in", "uniform")


@initializers.register("OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """An orthogonal matrix (https://openreview.net/forum?id=_wzZwKpTDF_9C).

    Axes before the last one count as one: the rows of a matrix of ``shape[-1]``
    columns. Rows are orthogonal if there are fewer of them, else columns are.

    Args:
        gain: the length of each row or column.
        seed: an integer for the same values on every call.

    Example:
        >>> kernel = Orthogonal()((4, 3))
        >>> torch.allclose(kernel.T @ kernel, torch.eye(3), atol=1e-6)
        True
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        super().__init__(seed)
        self.gain = number_in("Orthogonal", "gain", gain)

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        shape = _checked_shape(
            "Orthogonal", shape, len(shape) >= 2, "at least two axes"
        )
        matrix = (math.prod(shape[:-1]), shape[-1])
        return self._draw(matrix, dtype, nn.init.orthogonal_, self.gain).reshape(shape)


# Fourier kernels

_WINDOWS: dict[str, Callable[..., Tensor]] = {
    name: getattr(windows, name)
    for name in ("bartlett", "blackman", "cosine", "hamming", "hann", "nuttall")
}


@initializers.register("STFTInitializer")
class STFT(Initializer):
    """Kernels of a convolution that computes a short-time Fourier transform.

    Args:
        side: ``"real"`` or ``"imag"``.
        window: the name of a window function, its values, or None.
        scaling: whether the window is divided by its L2 norm (``"density"``), its L1
            norm (``"spectrum"``) or not at all (None).
        periodic: whether the window is periodic.

    Shape:
        Gives ``(frame length, 1, fft length // 2 + 1)``.

    Raises:
        ValueError: for an unknown side, window or scaling.

    Example:
        >>> STFT("real", "hann")((128, 1, 65)).shape
        torch.Size([128, 1, 65])
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side = one_of("STFT", "side", side, ("real", "imag"))
        if isinstance(window, str):
            one_of("STFT", "window", window, tuple(_WINDOWS))
        self.window = window
        legal = ("density", "spectrum", None)
        self.scaling = one_of("STFT", "scaling", scaling, legal)
        self.periodic = periodic

    def __call__(self, shape: Shape, dtype: DType = None) -> Tensor:
        fits = len(shape) == 3 and shape[1] == 1
        expected = "the axes (frame length, 1, fft length // 2 + 1)"
        length, _, bins = _checked_shape("STFT", shape, fits, expected)
        # In float64 on the CPU: angles are large, and not every accelerator has it.
        exact: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
        angle = torch.linspace(0.0, math.pi, bins, **exact)
        angle = -torch.arange(length, **exact).reshape(-1, 1, 1) * angle
        kernel = torch.cos(angle) if self.side == "real" else torch.sin(angle)
        if self.window is not None:
            window = self._window_values(length)
            order = {"density": 2, "spectrum": 1}.get(str(self.scaling))
            scale = torch.linalg.vector_norm(window, order) if order else 1.0
            kernel = kernel * window.reshape(-1, 1, 1) / scale
        return kernel.to(_device(), to_torch_dtype(dtype))

    def _window_values(self, length: int) -> Tensor:
        if isinstance(self.window, str):
            make = _WINDOWS[self.window]
            symmetric = not self.periodic
            return make(length, sym=symmetric, dtype=torch.float64, device="cpu")
        window = as_tensor(self.window).to("cpu", torch.float64)
        if tuple(window.shape) != (length,):
            expected = f"as long as the frame, {length} values"
            raise ValueError(invalid_argument("STFT", "window", expected, window))
        return window


def _checked_shape(
    owner: str, shape: Shape, fits: bool, expected: str
) -> tuple[int, ...]:
    if not fits:
        raise ValueError(
            f"{owner}: expected a weight with {expected}, got the shape "
            f"{tuple(shape)}. Use another initializer for it."
        )
    return tuple(shape)


constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = IdentityInitializer = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = OrthogonalInitializer = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
stft = STFTInitializer = STFT
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros


def get(identifier: Any) -> Any:
    """Return the initializer that a name, a config, a function or values stand for.

    A tensor or an array becomes a `Constant`; None stays None.

    Raises:
        ValueError: for an unknown name.
        TypeError: for a value of another kind.

    Example:
        >>> get("he_normal").get_config()
        {'seed': None, 'input_axes': None, 'output_axes': None}
    """
    if isinstance(identifier, (Tensor, np.ndarray, np.generic)):
        return Constant(identifier)
    return initializers.get(identifier)


def serialize(initializer: InitializerLike) -> Any:
    """Return the config of an initializer, in Keras's form."""
    return initializers.serialize(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the initializer that a config stands for."""
    return initializers.deserialize(config, custom_objects)


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
