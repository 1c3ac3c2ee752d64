"""Sounds read from WAV files, and brought to another rate."""

from __future__ import annotations

import math
import wave

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.errors import CorruptFileError

#: How many zero crossings the kernel of `resample` has on each side.
_CROSSINGS = 6
#: The share of the band that it lets pass.
_ROLLOFF = 0.99


def read_wav(
    path: str, sampling_rate: int | None = None, length: int | None = None
) -> Tensor:
    """Read a WAV file of PCM as floats from -1 to 1.

    Args:
        path: the file.
        sampling_rate: samples per second to bring it to; its own by default.
        length: samples to bring it to, by cutting it or with zeros.

    Shape:
        ``(samples, channels)``.

    Raises:
        OSError: when the file cannot be read.
        CorruptFileError: when it is damaged, or no such file; it is named.
    """
    try:
        sound, rate = _decoded(path)
    except (wave.Error, EOFError, ValueError, KeyError) as error:
        raise CorruptFileError(
            f"{path} is no WAV file of PCM that can be read, or is damaged "
            f"({error or type(error).__name__}). Convert it, or remove it."
        ) from error
    if sampling_rate is not None:
        sound = resample(sound, rate, sampling_rate)
    if length is None:
        return sound
    return F.pad(sound[:length], (0, 0, 0, max(length - len(sound), 0)))


def _decoded(path: str) -> tuple[Tensor, int]:
    with wave.open(path, "rb") as file:
        channels, width, rate, samples = file.getparams()[:4]
        data = file.readframes(samples)
    sound = _from_pcm(data, width).reshape(-1, channels)
    if len(sound) != samples or not rate:
        raise ValueError(f"it has {len(sound)} of {samples} samples, {rate} a second")
    return sound, rate


def _from_pcm(data: bytes, width: int) -> Tensor:
    if width == 1:  # the only one without a sign
        return torch.from_numpy(np.frombuffer(data, np.uint8) / np.float32(128) - 1)
    if width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(parts), 4), np.uint8)
        wide[:, 1:] = parts
        values = wide.view("<i4")[:, 0]
    else:
        values = np.frombuffer(data, {2: "<i2", 4: "<i4"}[width])
    most = 2.0 ** (8 * values.dtype.itemsize - 1)
    return torch.from_numpy((values / most).astype(np.float32))


def resample(sound: Tensor, old_rate: int, new_rate: int) -> Tensor:
    """Bring a sound to another rate, without frequencies that do not fit into it.

    By a windowed sinc, as J. O. Smith's `Digital Audio Resampling
    <https://ccrma.stanford.edu/~jos/resample/>`_ describes it.

    Args:
        sound: the samples.
        old_rate: how many of them make a second.
        new_rate: how many are to.

    Shape:
        ``(samples, channels)`` to ``(ceil(samples * new_rate / old_rate), channels)``.

    Example:
        >>> resample(torch.ones(8, 1), 4, 2).shape
        torch.Size([4, 1])
    """
    divisor = math.gcd(old_rate, new_rate)
    old, new = old_rate // divisor, new_rate // divisor
    if old == new:
        return sound
    band = min(old, new) * _ROLLOFF
    reach = math.ceil(_CROSSINGS * old / band)
    at = torch.arange(-reach, reach + old, dtype=torch.float64) / old
    # One kernel for each place of a new sample between the old ones.
    shifts = torch.arange(new, dtype=torch.float64)[:, None] / new
    times = ((at - shifts) * band).clamp(-_CROSSINGS, _CROSSINGS)
    window = torch.cos(times * math.pi / _CROSSINGS / 2) ** 2
    kernels = (torch.sinc(times) * window * (band / old)).to(sound.dtype)
    rows = F.pad(sound.T, (reach, reach + old))[:, None]
    outputs = F.conv1d(rows, kernels[:, None], stride=old)
    length = math.ceil(len(sound) * new / old)
    return outputs.transpose(1, 2).reshape(sound.shape[1], -1)[:, :length].T
