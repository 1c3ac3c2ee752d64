"""Layers against overfitting: noise, in training only, and a penalty on outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import regularizers
from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import invalid_argument, number_in
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import DType
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import same_sizes
from torchkeras.random import mixed, worker_seed

#: On a CPU torch draws a number for each element; from this many elements on it is
#: faster to cut four of them from each 64 random bits (three times, at 65,536).
_CUT_FROM = 4096


class RandomLayer(Layer):
    """The base of layers that draw random numbers, from their own seed if given."""

    seed: int | None
    _generators: dict[tuple[Any, ...], torch.Generator]

    def __init__(self, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            expected = "an integer or None"
            owner = type(self).__name__
            raise TypeError(invalid_argument(owner, "seed", expected, seed))
        self.seed = seed
        self.supports_masking = True
        self._generators = {}

    def _generator(self, device: torch.device) -> torch.Generator | None:
        """Return the generator of this layer, or None for torch's own.

        A compiled graph has torch's own generator only, and a tensor on the ``meta``
        device needs none.
        """
        if self.seed is None or device.type == "meta" or torch.compiler.is_compiling():
            return None
        own = worker_seed()
        if (device, *own) not in self._generators:
            seed = mixed(self.seed, *own) if own else self.seed
            generator = torch.Generator(device).manual_seed(seed)
            self._generators[device, *own] = generator
        return self._generators[device, *own]


@layers.register()
class Dropout(RandomLayer):
    """Sets a random part of the inputs to zero in training, and scales up the rest.

    On a CPU, large inputs are dropped at the rate rounded to a multiple of ``2**-16``.

    Args:
        rate: the part that is dropped, from 0 to 1.
        noise_shape: the shape of the random choice, broadcast to the inputs; None
            stands for the full size of an axis. ``(None, 1, None)`` drops whole
            features of ``(batch, steps, features)``.
        seed: an integer that starts a random generator of the layer's own. A compiled
            model draws from torch's generator instead.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: when `rate` is outside ``[0, 1]``.

    Example:
        >>> layer = Dropout(0.5, seed=0)
        >>> layer(torch.ones(4))
        tensor([1., 1., 1., 1.])
        >>> layer(torch.ones(1000), training=True).unique()
        tensor([0., 2.])
    """

    _output_sizes = same_sizes

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        owner = type(self).__name__
        self.rate = number_in(owner, "rate", rate, 0.0, 1.0)
        self.noise_shape = _standardize_noise_shape(owner, noise_shape)

    def call(self, inputs: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return inputs
        return self._drop(inputs, self.noise_shape)

    def _drop(self, inputs: Tensor, noise_shape: Sequence[int | None] | None) -> Tensor:
        generator = self._generator(inputs.device)
        if self.rate == 1.0:
            return torch.zeros_like(inputs)
        if noise_shape is not None:
            sizes = _full_shape(self.name, noise_shape, inputs.shape)
            return inputs * dropout_noise(inputs, sizes, self.rate, generator)
        if _cuts(inputs):
            return inputs * _cut_noise(inputs, self.rate, generator)
        if generator is None:
            return F.dropout(inputs, self.rate)
        return inputs * dropout_noise(inputs, inputs.shape, self.rate, generator)


def _standardize_noise_shape(
    owner: str, noise_shape: Sequence[int | None] | None
) -> tuple[int | None, ...] | None:
    if noise_shape is None:
        return None
    message = invalid_argument(
        owner, "noise_shape", "a tuple of positive integers and None", noise_shape
    )
    if not isinstance(noise_shape, (list, tuple)):
        raise TypeError(message)
    for size in noise_shape:
        if size is not None and (not isinstance(size, int) or size <= 0):
            raise ValueError(message)
    return tuple(noise_shape)


def _full_shape(
    name: str, noise_shape: Sequence[int | None], shape: torch.Size
) -> tuple[int, ...]:
    if len(noise_shape) != len(shape):
        raise ValueError(
            f"Layer '{name}': expected an input of {len(noise_shape)} axes, as "
            f"noise_shape={tuple(noise_shape)} has, got one of shape {tuple(shape)}."
        )
    pairs = zip(noise_shape, shape, strict=True)
    return tuple(full if size is None else size for size, full in pairs)


def dropout_noise(
    like: Tensor, shape: Sequence[int], rate: float, generator: torch.Generator | None
) -> Tensor:
    """Return zeros at the rate, and elsewhere what keeps the mean."""
    noise = like.new_empty(tuple(shape)).bernoulli_(1 - rate, generator=generator)
    return noise.div_(1 - rate)


def _cuts(inputs: Tensor) -> bool:
    return (
        inputs.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and inputs.numel() >= _CUT_FROM
    )


def _cut_noise(
    inputs: Tensor, rate: float, generator: torch.Generator | None
) -> Tensor:
    """Do what `dropout_noise` does, with 16 random bits for each element."""
    count = inputs.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[:count].view(inputs.shape)
    noise = torch.empty(inputs.shape, dtype=inputs.dtype)
    torch.ge(bits, min(round(rate * 2**16), 2**16 - 1) - 2**15, out=noise)
    return noise.div_(1 - rate)


class _SpatialDropout(Dropout):
    """The base of the dropouts of whole channels."""

    _output_sizes = same_sizes

    rank: ClassVar[int]

    data_format: str

    def _channels_shape(self) -> tuple[int | None, ...]:
        ones = (1,) * self.rank
        last = self.data_format == "channels_last"
        return (None, *ones, None) if last else (None, None, *ones)

    def call(self, inputs: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return inputs
        return self._drop(inputs, self._channels_shape())

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["trainable"]
        return {**config, "dtype": self.dtype_policy.name}


@layers.register()
class SpatialDropout1D(_SpatialDropout):
    """Drops whole features of sequences in training.

    Source: Tompson et al. 2014, https://arxiv.org/abs/1411.4280.

    Args:
        rate: the part that is dropped, from 0 to 1.
        seed: an integer that starts a random generator of the layer's own.
        name: the name of the layer.
        dtype: a dtype or a dtype policy.

    Shape:
        ``(batch, steps, features)``, and the same for the outputs.

    Example:
        >>> SpatialDropout1D(0.5)(torch.ones(2, 4, 3)).shape
        torch.Size([2, 4, 3])
    """

    rank = 1

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype)
        self.data_format = "channels_last"
        self.input_spec = InputSpec(ndim=3)


@layers.register()
class SpatialDropout2D(_SpatialDropout):
    """Drops whole channels of images in training.

    Source: Tompson et al. 2014, https://arxiv.org/abs/1411.4280.

    Args:
        rate: the part that is dropped, from 0 to 1.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        seed: an integer that starts a random generator of the layer's own.
        name: the name of the layer.
        dtype: a dtype or a dtype policy.

    Shape:
        ``(batch, height, width, channels)``, and the same for the outputs.

    Example:
        >>> SpatialDropout2D(0.5)(torch.ones(2, 4, 4, 3)).shape
        torch.Size([2, 4, 4, 3])
    """

    rank = 2

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype)
        self.data_format = standardize_data_format(type(self).__name__, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)


@layers.register()
class SpatialDropout3D(SpatialDropout2D):
    """Drops whole channels of volumes in training; see `SpatialDropout2D`.

    Source: Tompson et al. 2014, https://arxiv.org/abs/1411.4280.

    Example:
        >>> SpatialDropout3D(0.5)(torch.ones(2, 4, 4, 4, 3)).shape
        torch.Size([2, 4, 4, 4, 3])
    """

    rank = 3


@layers.register()
class GaussianNoise(RandomLayer):
    """Adds random numbers from a normal distribution in training.

    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov
    regularization".

    Args:
        stddev: the standard deviation, from 0 to 1.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: when `stddev` is outside ``[0, 1]``.

    Example:
        >>> GaussianNoise(0.1)(torch.zeros(3))
        tensor([0., 0., 0.])
    """

    _output_sizes = same_sizes

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.stddev = number_in("GaussianNoise", "stddev", stddev, 0.0, 1.0)

    def call(self, inputs: Tensor) -> Tensor:
        if not self.training or self.stddev == 0.0:
            return inputs
        noise = torch.empty_like(inputs)
        generator = self._generator(inputs.device)
        return inputs + noise.normal_(0.0, self.stddev, generator=generator)


@layers.register()
class GaussianDropout(RandomLayer):
    """Multiplies by random numbers from a normal distribution of mean 1 in training.

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
    from overfitting", section 10.

    Args:
        rate: as in `Dropout`: the standard deviation is ``sqrt(rate / (1 - rate))``.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: when `rate` is outside ``[0, 1)``.

    Example:
        >>> GaussianDropout(0.1)(torch.ones(3))
        tensor([1., 1., 1.])
    """

    _output_sizes = same_sizes

    _stddev: float

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = number_in("GaussianDropout", "rate", rate, 0.0, 1.0, open_high=True)
        self._stddev = math.sqrt(self.rate / (1 - self.rate))

    def call(self, inputs: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return inputs
        noise = torch.empty_like(inputs)
        generator = self._generator(inputs.device)
        return inputs * noise.normal_(1.0, self._stddev, generator=generator)


#: The limit of SELU for large negative inputs, which `AlphaDropout` sets values to.
_SELU_LIMIT = -1.7580993408473766


@layers.register()
class AlphaDropout(RandomLayer):
    """Dropout for SELU networks, which keeps mean and variance as they are.

    A random part of the inputs is set to the least value of a SELU, and all of them are
    scaled and shifted so that inputs of mean 0 and variance 1 give such outputs
    (https://arxiv.org/abs/1706.02515).

    Args:
        rate: the part that is dropped.
        noise_shape: the shape of the random choice, as in `Dropout`.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        Any, and the same for the outputs.

    Raises:
        ValueError: when `rate` is outside ``[0, 1)``.

    Example:
        >>> AlphaDropout(0.1)(torch.ones(3))
        tensor([1., 1., 1.])
    """

    _output_sizes = same_sizes

    #: What is left is scaled and shifted by these.
    _gain: float
    _offset: float

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        owner = "AlphaDropout"
        self.rate = number_in(owner, "rate", rate, 0.0, 1.0, open_high=True)
        self.noise_shape = _standardize_noise_shape(owner, noise_shape)
        variance = (1 - self.rate) * (1 + self.rate * _SELU_LIMIT**2)
        self._gain = variance**-0.5
        self._offset = -self._gain * self.rate * _SELU_LIMIT

    def call(self, inputs: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return inputs
        sizes = inputs.shape
        if self.noise_shape is not None:
            sizes = _full_shape(self.name, self.noise_shape, sizes)
        kept = torch.empty(sizes, dtype=torch.bool, device=inputs.device)
        kept.bernoulli_(1 - self.rate, generator=self._generator(inputs.device))
        return inputs.where(kept, _SELU_LIMIT) * self._gain + self._offset


@layers.register()
class ActivityRegularization(Layer):
    """Adds a penalty on its inputs to the loss, and returns them as they are.

    Args:
        l1: the factor of absolute values.
        l2: the factor of squares.

    Shape:
        Any, and the same for the outputs. The penalty is the sum over a batch, divided
        by the batch size.

    Raises:
        ValueError: when a factor is negative.

    Example:
        >>> layer = ActivityRegularization(l1=0.5)
        >>> layer(torch.tensor([[1.0, -3.0]]))
        tensor([[ 1., -3.]])
        >>> layer.losses
        [tensor(2.)]
    """

    _output_sizes = same_sizes

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        penalty = regularizers.L1L2(l1, l2)
        super().__init__(activity_regularizer=penalty, **kwargs)
        self.l1, self.l2 = penalty.l1, penalty.l2
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]  # it is made of `l1` and `l2`
        return config
