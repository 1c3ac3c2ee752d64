"""Fourier transforms, segments, top values, special functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.convert import as_floating, as_tensor
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras._core.operation import Array, Arrays, operation
from torchkeras._core.symbolic import KerasTensor, infer_outputs
from torchkeras.ops.core import reduce_into

__all__ = [
    "cdist",
    "erf",
    "erfc",
    "erfinv",
    "extract_sequences",
    "fft",
    "fft2",
    "ifft2",
    "in_top_k",
    "irfft",
    "istft",
    "logdet",
    "logsumexp",
    "rfft",
    "rsqrt",
    "segment_max",
    "segment_min",
    "segment_prod",
    "segment_sum",
    "stft",
    "top_k",
    "view_as_complex",
    "view_as_real",
]

# Segments


def _segments(
    owner: str,
    data: Tensor,
    ids: Tensor,
    count: int | None,
    reduction: str,
    empty: Callable[[torch.dtype], float],
) -> Tensor:
    """Reduce the rows of each segment; rows of no segment in range are left out."""
    if ids.ndim != 1 or ids.shape[0] != data.shape[0]:
        expected = f"one integer for each of the {data.shape[0]} rows of `data`"
        raise ValueError(invalid_argument(owner, "segment_ids", expected, ids))
    if count is None:
        count = int(ids.max()) + 1
    ids = ids.long()
    ids = torch.where((ids >= 0) & (ids < count), ids, count)
    rest = data.shape[1:]
    # One row more, for what belongs nowhere.
    table = data.new_full((count + 1, *rest), empty(data.dtype))
    places = ids.reshape(-1, *[1] * len(rest)).expand_as(data)
    return reduce_into(table, places, data, reduction)[:count]


def _lowest(dtype: torch.dtype) -> float:
    if dtype == torch.bool:
        return False
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min


def _highest(dtype: torch.dtype) -> float:
    if dtype == torch.bool:
        return True
    return float("inf") if dtype.is_floating_point else torch.iinfo(dtype).max


def _infer_segments(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> KerasTensor:
    return KerasTensor((num_segments, *data.shape[1:]), data.dtype)


@operation("math", infer=_infer_segments)
def segment_sum(
    data: Array,
    segment_ids: Array,
    num_segments: int | None = None,
    sorted: bool = False,
) -> Tensor:
    """Add up the rows of each segment.

    Args:
        data: the rows, of shape ``(rows, ...)``.
        segment_ids: the segment of each row; rows of one out of range are left out.
        num_segments: how many segments there are; the largest number plus one by
            default, which is read from the device.
        sorted: accepted for Keras's signature.

    Shape:
        ``(num_segments, ...)``; 0 for a segment without rows.

    Example:
        >>> segment_sum([1.0, 2.0, 4.0], [0, 0, 2])
        tensor([3., 0., 4.])
    """
    return _segments("segment_sum", data, segment_ids, num_segments, "sum", lambda _: 0)


@operation("math", infer=_infer_segments)
def segment_max(
    data: Array,
    segment_ids: Array,
    num_segments: int | None = None,
    sorted: bool = False,
) -> Tensor:
    """Return the largest value of each segment.

    Args:
        data: the rows, of shape ``(rows, ...)``.
        segment_ids: the segment of each row; rows of one out of range are left out.
        num_segments: how many segments there are; the largest number plus one by
            default, which is read from the device.
        sorted: accepted for Keras's signature.

    Shape:
        ``(num_segments, ...)``; the lowest value there is for a segment without rows.

    Example:
        >>> segment_max([1.0, 2.0, 4.0], [0, 0, 1])
        tensor([2., 4.])
    """
    return _segments("segment_max", data, segment_ids, num_segments, "amax", _lowest)


@operation("math", infer=_infer_segments)
def segment_min(
    data: Array,
    segment_ids: Array,
    num_segments: int | None = None,
    sorted: bool = False,
) -> Tensor:
    """Return the smallest value of each segment.

    Args:
        data: the rows, of shape ``(rows, ...)``.
        segment_ids: the segment of each row; rows of one out of range are left out.
        num_segments: how many segments there are; the largest number plus one by
            default, which is read from the device.
        sorted: accepted for Keras's signature.

    Shape:
        ``(num_segments, ...)``; the highest value there is for a segment without rows.

    Example:
        >>> segment_min([1.0, 2.0, 4.0], [0, 0, 1])
        tensor([1., 4.])
    """
    return _segments("segment_min", data, segment_ids, num_segments, "amin", _highest)


@operation("math", infer=_infer_segments)
def segment_prod(
    data: Array,
    segment_ids: Array,
    num_segments: int | None = None,
    sorted: bool = False,
) -> Tensor:
    """Multiply the rows of each segment.

    Args:
        data: the rows, of shape ``(rows, ...)``.
        segment_ids: the segment of each row; rows of one out of range are left out.
        num_segments: how many segments there are; the largest number plus one by
            default, which is read from the device.
        sorted: accepted for Keras's signature.

    Shape:
        ``(num_segments, ...)``; 1 for a segment without rows.

    Example:
        >>> segment_prod([3.0, 2.0, 4.0], [0, 0, 1])
        tensor([6., 4.])
    """
    return _segments(
        "segment_prod", data, segment_ids, num_segments, "prod", lambda _: 1
    )


# Values


@operation("math")
def top_k(x: Array, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """Return the largest values along the last axis, and their indices.

    Args:
        x: the values.
        k: how many.
        sorted: whether the largest comes first.

    Raises:
        ValueError: when there are fewer than `k`.

    Example:
        >>> values, indices = top_k([1.0, 9.0, 5.0], 2)
        >>> values.tolist(), indices.tolist()
        ([9.0, 5.0], [1, 2])
    """
    k = positive_integer("top_k", "k", k)
    if k > x.shape[-1]:
        expected = f"at most the size of the last axis, {x.shape[-1]}"
        raise ValueError(invalid_argument("top_k", "k", expected, k))
    values, indices = torch.topk(x, k, sorted=sorted)
    return values, indices


@operation("math")
def in_top_k(targets: Array, predictions: Array, k: int) -> Tensor:
    """Say for each row whether its target is among the `k` largest predictions.

    Args:
        targets: the class of each row.
        predictions: the value of each class, of shape ``(rows, classes)``.
        k: how many of the largest count.

    Example:
        >>> in_top_k([0, 2], [[0.1, 0.9, 0.3], [0.5, 0.1, 0.4]], 2).tolist()
        [False, True]
    """
    k = min(positive_integer("in_top_k", "k", k), predictions.shape[-1])
    if targets.ndim != 1 or predictions.ndim != 2:
        expected = "of shape (rows,), beside `predictions` of shape (rows, classes)"
        raise ValueError(invalid_argument("in_top_k", "targets", expected, targets))
    own = predictions.gather(-1, targets.long()[:, None])
    least = torch.topk(predictions, k).values[:, -1:]
    return (own >= least).squeeze(-1)


@operation("math")
def logsumexp(
    x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """Return the logarithm of the sum of exponentials, without overflow.

    Args:
        x: the values.
        axis: the axis or axes to sum over; all by default.
        keepdims: whether summed axes stay, with size 1.

    Example:
        >>> float(logsumexp([1000.0, 1000.0]))
        1000.69...
    """
    if not x.is_floating_point():
        x = x.to(to_torch_dtype(None))
    axes = tuple(range(x.ndim)) if axis is None else axis
    return torch.logsumexp(x, axes, keepdim=keepdims)


@operation("math", class_name="CDist")
def cdist(x: Array, y: Array) -> Tensor:
    """Return the Euclidean distance between each row of `x` and each of `y`.

    Args:
        x: points, of shape ``(..., n, size)``.
        y: points, of shape ``(..., m, size)``.

    Shape:
        ``(..., n, m)``.

    Raises:
        ValueError: when the points have different sizes, or there are no rows.

    Example:
        >>> cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])
        tensor([[5., 1.]])
    """
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        expected = f"rows of the size of those of `y`, whose shape is {tuple(y.shape)}"
        raise ValueError(invalid_argument("cdist", "x", expected, x))
    joint = torch.promote_types(x.dtype, y.dtype)
    joint = joint if joint.is_floating_point else to_torch_dtype(None)
    x, y = (t.to(joint) for t in (x, y))
    # Not `torch.cdist`, which has no second derivative and no half precision. The norm
    # has a gradient where a distance is 0.
    return torch.linalg.vector_norm(x.unsqueeze(-2) - y.unsqueeze(-3), dim=-1)


@operation("math")
def logdet(x: Array) -> Tensor:
    """Return the logarithm of the determinant of a Hermitian positive definite matrix.

    Args:
        x: matrices, of shape ``(..., n, n)``.

    Example:
        >>> float(logdet([[2.0, 0.0], [0.0, 3.0]]))
        1.79...
    """
    return torch.logdet(x)


# Complex numbers


@operation("math")
def view_as_complex(x: Array) -> Tensor:
    """Return complex numbers from real ones: the last axis holds both parts.

    Args:
        x: real numbers, of shape ``(..., 2)``.

    Example:
        >>> view_as_complex([[1.0, 2.0]])
        tensor([1.+2.j])
    """
    if x.is_complex() or x.ndim < 1 or x.shape[-1] != 2:
        expected = "real numbers whose last axis has size 2"
        raise ValueError(invalid_argument("view_as_complex", "x", expected, x))
    if x.dtype not in (torch.float32, torch.float64):  # which alone have complex kin
        x = x.float()
    return torch.complex(x[..., 0], x[..., 1])


@operation("math")
def view_as_real(x: Array) -> Tensor:
    """Return the real and the imaginary parts of numbers along a new last axis.

    Example:
        >>> view_as_real(torch.tensor([1 + 2j]))
        tensor([[1., 2.]])
    """
    imaginary = x.imag if x.is_complex() else torch.zeros_like(x)
    return torch.stack([x.real, imaginary], dim=-1)


# Fourier transforms: complex numbers are pairs of tensors, as in Keras


def _complex(owner: str, x: Any) -> Tensor:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        expected = "a pair of tensors, the real and the imaginary parts"
        raise ValueError(invalid_argument(owner, "x", expected, x))
    real, imaginary = (as_tensor(part) for part in x)  # lists come as lists of numbers
    if real.shape != imaginary.shape or not (
        real.is_floating_point() and imaginary.is_floating_point()
    ):
        raise ValueError(
            f"{owner}: the real and the imaginary part in `x` must be floating-point "
            f"tensors of one shape, got {tuple(real.shape)} of {real.dtype} and "
            f"{tuple(imaginary.shape)} of {imaginary.dtype}."
        )
    return torch.complex(real, imaginary)


@operation("math", class_name="FFT")
def fft(x: Arrays) -> tuple[Tensor, Tensor]:
    """Return the discrete Fourier transform along the last axis.

    Args:
        x: the real and the imaginary parts.

    Example:
        >>> real, imaginary = fft((torch.tensor([1.0, 0.0]), torch.zeros(2)))
        >>> real.tolist()
        [1.0, 1.0]
    """
    outputs = torch.fft.fft(_complex("fft", x))
    return outputs.real, outputs.imag


@operation("math", class_name="FFT2")
def fft2(x: Arrays) -> tuple[Tensor, Tensor]:
    """Return the discrete Fourier transform along the last two axes.

    Args:
        x: the real and the imaginary parts.

    Example:
        >>> real, imaginary = fft2((torch.eye(2), torch.zeros(2, 2)))
        >>> real.tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """
    outputs = torch.fft.fft2(_complex("fft2", x))
    return outputs.real, outputs.imag


@operation("math", class_name="IFFT2")
def ifft2(x: Arrays) -> tuple[Tensor, Tensor]:
    """Return the inverse of `fft2`.

    Args:
        x: the real and the imaginary parts.

    Example:
        >>> real, imaginary = ifft2((2 * torch.eye(2), torch.zeros(2, 2)))
        >>> real.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    outputs = torch.fft.ifft2(_complex("ifft2", x))
    return outputs.real, outputs.imag


@operation("math", class_name="RFFT")
def rfft(x: Array, fft_length: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the first half of the Fourier transform of real numbers.

    Args:
        x: the numbers, along the last axis.
        fft_length: the length they are cut or padded to; their own by default.

    Shape:
        ``(..., length)`` to two times ``(..., fft_length // 2 + 1)``.

    Example:
        >>> real, imaginary = rfft([1.0, 0.0, 0.0, 0.0])
        >>> real.tolist()
        [1.0, 1.0, 1.0]
    """
    outputs = torch.fft.rfft(x, n=fft_length)
    return outputs.real, outputs.imag


@operation("math", class_name="IRFFT")
def irfft(x: Arrays, fft_length: int | None = None) -> Tensor:
    """Return the real numbers of which `rfft` gives `x`.

    Args:
        x: the real and the imaginary parts.
        fft_length: how many numbers; ``2 * (size - 1)`` by default.

    Example:
        >>> irfft((torch.ones(3), torch.zeros(3)))
        tensor([1., 0., 0., 0.])
    """
    return torch.fft.irfft(_complex("irfft", x), n=fft_length)


def _window(owner: str, window: Any, length: int, like: Tensor) -> Tensor | None:
    if window is None:
        return None
    if isinstance(window, str):
        one_of(owner, "window", window, ("hann", "hamming"))
        make = torch.hann_window if window == "hann" else torch.hamming_window
        return make(length, periodic=True, dtype=like.dtype, device=like.device)
    window = torch.as_tensor(window).to(like)
    if window.shape != (length,):
        expected = f"of shape ({length},), as `sequence_length` says"
        raise ValueError(invalid_argument(owner, "window", expected, window))
    return window


def _infer_stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    options = (sequence_length, sequence_stride, fft_length, window, center)
    if x.static_shape[-1] is not None:
        return infer_outputs(_stft, (x, *options), {})
    # What stands for an unknown size may be shorter than a window.
    shape = (*x.static_shape[:-1], None, fft_length // 2 + 1)
    return KerasTensor(shape, x.dtype), KerasTensor(shape, x.dtype)


@operation("math", class_name="STFT", infer=_infer_stft)
def stft(
    x: Array,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the Fourier transforms of windows that slide along the last axis.

    Args:
        x: the numbers, of shape ``(..., samples)``.
        sequence_length: the length of a window.
        sequence_stride: the distance between windows.
        fft_length: the length of a transform, at least `sequence_length`.
        window: ``"hann"``, ``"hamming"``, a tensor of weights, or None for none.
        center: whether the first window is centered on the first sample; the ends are
            padded by reflection then.

    Shape:
        Two times ``(..., windows, fft_length // 2 + 1)``.

    Raises:
        TypeError: for integers.
        ValueError: when `fft_length` is too small, when `sequence_stride` is not
            positive, or for an unknown window.

    Example:
        >>> real, imaginary = stft(torch.ones(16), 8, 4, 8)
        >>> real.shape
        torch.Size([5, 5])
    """
    options = (sequence_length, sequence_stride, fft_length, window, center)
    return _stft(x, *options)


def _stft(
    x: Tensor,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any,
    center: bool,
) -> tuple[Tensor, Tensor]:
    positive_integer("stft", "sequence_stride", sequence_stride)
    if x.dtype not in (torch.float32, torch.float64):
        expected = "of dtype float32 or float64"
        raise TypeError(invalid_argument("stft", "x", expected, x))
    if fft_length < sequence_length:
        expected = f"at least `sequence_length`, {sequence_length}"
        raise ValueError(invalid_argument("stft", "fft_length", expected, fft_length))
    weights = _window("stft", window, sequence_length, x)
    if weights is None:
        weights = x.new_ones(sequence_length)
    *batch, samples = x.shape
    outputs = torch.stft(
        x.reshape(-1, samples),
        n_fft=fft_length,
        hop_length=sequence_stride,
        win_length=sequence_length,
        window=weights,
        center=center,
        return_complex=True,
    )
    outputs = outputs.transpose(-2, -1)
    outputs = outputs.reshape(*batch, *outputs.shape[-2:])
    return outputs.real, outputs.imag


@operation("math", class_name="ISTFT")
def istft(
    x: Arrays,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Tensor:
    """Return the numbers of which `stft` gives `x`.

    Args:
        x: the real and the imaginary parts, of shape ``(..., windows, bins)``.
        sequence_length: the length of a window.
        sequence_stride: the distance between windows.
        fft_length: the length of a transform.
        length: how many numbers to return.
        window: as for `stft`.
        center: as for `stft`.

    Shape:
        ``(..., samples)``.

    Example:
        >>> signal = torch.arange(32.0)
        >>> torch.allclose(istft(stft(signal, 8, 2, 8), 8, 2, 8), signal, atol=1e-4)
        True
    """
    positive_integer("istft", "sequence_stride", sequence_stride)
    spectra = _complex("istft", x)
    *batch, windows, bins = spectra.shape
    spectra = spectra.reshape(-1, windows, bins)
    weights = _window("istft", window, sequence_length, spectra.real)
    whole = weights is not None and center and sequence_length == fft_length
    if whole and not spectra.is_meta:  # where torch's cannot run
        numbers = torch.istft(
            spectra.transpose(-2, -1),
            n_fft=fft_length,
            hop_length=sequence_stride,
            win_length=sequence_length,
            window=weights,
            length=length,
        )
        return numbers.reshape(*batch, -1)
    frames = torch.fft.irfft(spectra, n=fft_length)
    if weights is not None:
        before = (fft_length - sequence_length) // 2
        weights = F.pad(weights, (before, fft_length - sequence_length - before))
        frames = frames * (weights / _overlap(weights, sequence_stride))
    total = sequence_stride * (windows - 1) + fft_length
    numbers = F.fold(
        frames.transpose(-2, -1),
        (1, total),
        (1, fft_length),
        stride=(1, sequence_stride),
    ).reshape(-1, total)
    start = fft_length // 2 if center else 0
    stop = start + length if length is not None else total - start
    return numbers[:, start:stop].reshape(*batch, -1)


def _overlap(weights: Tensor, stride: int) -> Tensor:
    """Return for each place in a window the sum of the squares that fall on it."""
    size = weights.shape[0]
    count = -(-size // stride)
    squares = F.pad(weights.square(), (0, count * stride - size))
    return squares.reshape(count, stride).sum(0).tile(count)[:size]


def _infer_extract_sequences(
    x: Any, sequence_length: int, sequence_stride: int
) -> KerasTensor:
    if x.static_shape[-1] is not None:
        return infer_outputs(_sequences, (x, sequence_length, sequence_stride), {})
    return KerasTensor((*x.static_shape, sequence_length), x.dtype)


@operation("math", infer=_infer_extract_sequences)
def extract_sequences(x: Array, sequence_length: int, sequence_stride: int) -> Tensor:
    """Cut windows out of the last axis.

    Args:
        x: the numbers, of shape ``(..., samples)``.
        sequence_length: the length of a window.
        sequence_stride: the distance between windows.

    Shape:
        ``(..., windows, sequence_length)``.

    Example:
        >>> extract_sequences([1, 2, 3, 4, 5], 3, 2).tolist()
        [[1, 2, 3], [3, 4, 5]]
    """
    return _sequences(x, sequence_length, sequence_stride)


def _sequences(x: Tensor, sequence_length: int, sequence_stride: int) -> Tensor:
    length = positive_integer("extract_sequences", "sequence_length", sequence_length)
    stride = positive_integer("extract_sequences", "sequence_stride", sequence_stride)
    return torch.unfold_copy(x, -1, length, stride)


# Special functions


@operation("math")
def rsqrt(x: Array) -> Tensor:
    """Return one over the square root.

    Example:
        >>> rsqrt([4.0, 0.25])
        tensor([0.5000, 2.0000])
    """
    return torch.rsqrt(as_floating(x))


@operation("math")
def erf(x: Array) -> Tensor:
    """Return the error function.

    Example:
        >>> erf([0.0, 1.0])
        tensor([0.0000, 0.8427])
    """
    return torch.erf(as_floating(x))


@operation("math")
def erfc(x: Array) -> Tensor:
    """Return ``1 - erf(x)`` without losing the digits of large `x`.

    Example:
        >>> erfc([0.0, 5.0])
        tensor([1.0000e+00, 1.5375e-12])
    """
    return torch.erfc(as_floating(x))


@operation("math")
def erfinv(x: Array) -> Tensor:
    """Return the number whose error function is `x`; NaN outside [-1, 1].

    Example:
        >>> erfinv([0.0, 0.5])
        tensor([0.0000, 0.4769])
    """
    return torch.erfinv(as_floating(x))
