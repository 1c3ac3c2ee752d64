"""Sounds as spectrograms: `MelSpectrogram`, `STFTSpectrogram`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import initializers, ops
from torchkeras._core import config
from torchkeras._core.config import standardize_data_format
from torchkeras._core.context import context
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import (
    describe,
    invalid_argument,
    number_in,
    one_of,
    positive_integer,
)
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.limits import spend
from torchkeras.layers.layer import Layer, layers

#: The mel scale: what a frequency is divided by, and what its logarithm is scaled by.
_BREAK_HERTZ = 700.0
_HIGH_FREQUENCY_Q = 1127.0


class Spectrogram(Layer):
    """A layer whose outputs have a time axis that its arguments say the size of."""

    def _probed(self, inputs: Tensor) -> Tensor | None:
        """Return what stands in for outputs where only shapes are asked for.

        The sizes that stand for an unknown length may be shorter than a frame. Torch's
        transform refuses a batch of nothing.
        """
        if not context.probes and len(inputs):
            return None
        return inputs.new_zeros(self.compute_output_shape(tuple(inputs.shape)))


@layers.register()
class MelSpectrogram(Spectrogram):
    """Turns sounds into spectrograms on the mel scale, in decibels.

    Args:
        fft_length: the length of a Fourier transform.
        sequence_stride: how many samples lie between two frames.
        sequence_length: the length of a frame; `fft_length` by default.
        window: ``"hann"``, ``"hamming"``, a tensor of weights, or None for none.
        sampling_rate: how many samples there are in a second.
        num_mel_bins: the number of bands.
        min_freq: the lowest frequency, in hertz.
        max_freq: the highest; half the sampling rate by default.
        power_to_db: whether the result is in decibels.
        top_db: how many decibels below the loudest value of a batch are told apart.
        mag_exp: the power that magnitudes are taken to.
        min_power: what is added up at least, before the logarithm.
        ref_power: the power that stands for 0 decibels.

    Shape:
        ``(samples)`` or ``(batch, samples)`` to ``(..., num_mel_bins, frames)``, where
        there are ``1 + samples // sequence_stride`` frames.

    Raises:
        ValueError: when `fft_length` is less than `sequence_length`.

    Example:
        >>> layer = MelSpectrogram(num_mel_bins=64, sampling_rate=8000)
        >>> layer(torch.zeros(2, 16000)).shape
        torch.Size([2, 64, 32])
    """

    casts_integers = True

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = "MelSpectrogram"
        self.fft_length = positive_integer(owner, "fft_length", fft_length)
        stride = positive_integer(owner, "sequence_stride", sequence_stride)
        self.sequence_stride = stride
        length = fft_length if sequence_length is None else sequence_length
        self.sequence_length = positive_integer(owner, "sequence_length", length)
        if self.fft_length < self.sequence_length:
            expected = f"at least `sequence_length`, {self.sequence_length}"
            raise ValueError(
                invalid_argument(owner, "fft_length", expected, fft_length)
            )
        if isinstance(window, str):
            one_of(owner, "window", window, ("hann", "hamming"))
        self.window = window
        self.sampling_rate = sampling_rate
        self.num_mel_bins = positive_integer(owner, "num_mel_bins", num_mel_bins)
        self.min_freq = number_in(owner, "min_freq", min_freq, 0.0)
        self.max_freq = int(sampling_rate / 2) if max_freq is None else max_freq
        number_in(owner, "max_freq", self.max_freq, self.min_freq)
        self.power_to_db, self.top_db, self.mag_exp = power_to_db, top_db, mag_exp
        self.min_power, self.ref_power = min_power, ref_power
        self.input_spec = InputSpec(min_ndim=1, max_ndim=2)
        self.register_buffer("_mel", self._mel_weights(), persistent=False)

    def _mel_weights(self) -> Tensor:
        """Return how much each frequency counts in each band: ``(bands, frequencies)``.

        Bands are triangles of height 1, linear on the mel scale. Source: the Hidden
        Markov Model Toolkit, http://htk.eng.cam.ac.uk.
        """
        # In float32, as in Keras: the slopes of narrow bands differ in float64.
        bins = self.fft_length // 2 + 1
        spend("the bands", (bins + 1, 3 * self.num_mel_bins), torch.float32)
        hertz = torch.linspace(0.0, self.sampling_rate / 2, bins, device="cpu")
        ends = torch.tensor([self.min_freq, self.max_freq], device="cpu")
        mels, (low, high) = (
            _HIGH_FREQUENCY_Q * torch.log(1.0 + x / _BREAK_HERTZ) for x in (hertz, ends)
        )
        count = self.num_mel_bins + 2
        edges = torch.linspace(float(low), float(high), count, device="cpu")
        lower, center, upper = (edges[i : count - 2 + i].unsqueeze(1) for i in range(3))
        rising = (mels - lower) / (center - lower)
        falling = (upper - mels) / (upper - center)
        weights = torch.minimum(rising, falling).clamp(min=0.0)
        weights[:, 0] = 0.0  # the toolkit leaves the mean out
        return weights.to(config.default_device())

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the outputs."""
        *batch, samples = input_shape
        frames = None if samples is None else 1 + samples // self.sequence_stride
        return (*batch, self.num_mel_bins, frames)

    def call(self, inputs: Tensor) -> Tensor:
        if (probed := self._probed(inputs)) is not None:
            return probed.to(DTYPES[self.compute_dtype])
        with torch.autocast(inputs.device.type, enabled=False):  # transforms are exact
            x = inputs if inputs.dtype == torch.float64 else inputs.float()
            real, imaginary = ops.stft(
                x,
                sequence_length=self.sequence_length,
                sequence_stride=self.sequence_stride,
                fft_length=self.fft_length,
                window=self.window,
            )
            power = (real.square() + imaginary.square()).pow(self.mag_exp / 2)
            bands = self._mel.to(x.dtype) @ power.transpose(-1, -2)
            outputs = self._in_decibels(bands) if self.power_to_db else bands
        return outputs.to(DTYPES[self.compute_dtype])

    def _in_decibels(self, power: Tensor) -> Tensor:
        reference = 10.0 * math.log10(max(abs(self.ref_power), self.min_power))
        decibels = 10.0 * power.clamp(min=self.min_power).log10() - reference
        return torch.maximum(decibels, decibels.max() - self.top_db)


_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


@layers.register()
class STFTSpectrogram(Spectrogram):
    """Turns sounds into spectrograms by convolutions, whose kernels may be trained.

    Args:
        mode: ``"log"`` or ``"magnitude"``; ``"psd"`` for the power; ``"real"``,
            ``"imag"`` or ``"angle"``; ``"stft"`` for real and imaginary parts.
        frame_length: the length of a frame.
        frame_step: how many samples lie between two frames; half a frame by default.
        fft_length: the length of a Fourier transform; by default the least power of two
            that holds a frame.
        window: ``"hann"``, ``"hamming"``, a tensor of weights, or None for none.
        periodic: whether the window is periodic.
        scaling: ``"density"``, ``"spectrum"`` or None: how the window is scaled.
        padding: ``"valid"`` or ``"same"``.
        expand_dims: whether frequencies and channels have an axis each, as images do.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Shape:
        ``(batch, samples, channels)`` to ``(batch, frames, channels * frequencies)``,
        with `expand_dims` to ``(batch, frames, frequencies, channels)``; channels
        first: ``(batch, channels, samples)`` to ``(batch, channels * frequencies,
        frames)`` or ``(batch, channels, frames, frequencies)``.

    Raises:
        ValueError: for an unknown option, or lengths that do not fit.
        TypeError: for sounds of integers.

    Example:
        >>> layer = STFTSpectrogram(frame_length=256, frame_step=128, fft_length=512)
        >>> layer(torch.zeros(3, 1600, 1)).shape
        torch.Size([3, 11, 257])
    """

    #: The length of the transform, and how far the frames are apart.
    _length: int
    _step: int
    real_kernel: Any
    imag_kernel: Any

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = "STFTSpectrogram"
        self.mode = one_of(owner, "mode", mode, _MODES)
        self.frame_length = positive_integer(owner, "frame_length", frame_length)
        self.frame_step, self.fft_length = frame_step, fft_length
        self._step = max(frame_length // 2, 1) if frame_step is None else frame_step
        if not 0 < self._step <= frame_length:
            expected = f"a positive integer, at most `frame_length`, {frame_length}"
            raise ValueError(
                invalid_argument(owner, "frame_step", expected, frame_step)
            )
        if fft_length is None:
            self._length = 2 ** math.ceil(math.log2(frame_length))
        else:
            self._length = positive_integer(owner, "fft_length", fft_length)
            if fft_length < frame_length:
                expected = f"at least `frame_length`, {frame_length}"
                raise ValueError(
                    invalid_argument(owner, "fft_length", expected, fft_length)
                )
            if fft_length & (fft_length - 1):
                warnings.warn(
                    f"{owner}: `fft_length` is best a power of two, got {fft_length}.",
                    stacklevel=2,
                )
        self.window, self.periodic, self.scaling = window, periodic, scaling
        self._side("real")  # which checks the options of the window
        self.padding = one_of(owner, "padding", padding, ("valid", "same"))
        self.expand_dims = expand_dims
        self.data_format = standardize_data_format(owner, data_format)
        self.input_spec = InputSpec(ndim=3)

    def _side(self, side: str) -> initializers.STFT:
        return initializers.STFT(side, self.window, self.scaling, self.periodic)

    def build(self, input_shape: Any) -> None:
        shape = (self.frame_length, 1, self._length // 2 + 1)
        for side, without in (("real", "imag"), ("imag", "real")):
            if self.mode == without:
                self.leave_out(f"{side}_kernel")
                continue
            name = f"{side}_kernel"
            setattr(self, name, self.add_weight(shape, self._side(side), name=name))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the outputs."""
        last = self.data_format == "channels_last"
        batch, samples, channels = (
            input_shape if last else (input_shape[0], *input_shape[:0:-1])
        )
        frames = samples
        if samples is not None:
            valid = self.padding == "valid"
            frames = -(-(samples - (self.frame_length - 1) * valid) // self._step)
        bins = (self._length // 2 + 1) * (2 if self.mode == "stft" else 1)
        if self.expand_dims:
            first = (batch, channels, frames, bins)
            return (batch, frames, bins, channels) if last else first
        both = None if channels is None else channels * bins
        return (batch, frames, both) if last else (batch, both, frames)

    def call(self, inputs: Tensor) -> Tensor:
        if not inputs.is_floating_point():
            raise TypeError(
                f"Layer '{self.name}' (STFTSpectrogram): expected sounds of a floating "
                f"type, got {describe(inputs)}."
            )
        if (probed := self._probed(inputs)) is not None:
            return probed
        last = self.data_format == "channels_last"
        x = inputs.transpose(1, 2) if last else inputs
        channels = x.shape[1]
        kernels = [k for k in (self.real_kernel, self.imag_kernel) if k is not None]
        frames = ops.conv(
            x.reshape(-1, x.shape[2], 1),
            torch.cat([kernel.to(x.dtype) for kernel in kernels], -1),
            strides=self._step,
            padding=self.padding,
            data_format="channels_last",
        )
        outputs = self._seen_as(frames.unflatten(0, (-1, channels)))
        if not last:
            outputs = outputs if self.expand_dims else outputs.transpose(2, 3)
            return outputs if self.expand_dims else outputs.flatten(1, 2)
        if self.expand_dims:
            return outputs.permute(0, 2, 3, 1)
        return outputs.transpose(1, 2).flatten(2)

    def _seen_as(self, frames: Tensor) -> Tensor:
        """Return what the mode shows of frames ``(batch, channels, frames, parts)``."""
        if self.mode in ("real", "imag", "stft"):
            return frames
        real, imaginary = frames.chunk(2, -1)
        if self.mode == "angle":
            return torch.atan2(imaginary, real)
        power = real.square() + imaginary.square()
        if self.mode == "psd":  # frequencies but the first and last stand for two
            return power + F.pad(power[..., 1:-1], (1, 1))
        magnitude = power.clamp(min=config.epsilon()).sqrt()
        if self.mode == "magnitude":
            return magnitude
        return magnitude.clamp(min=config.epsilon()).log()
