"""Images: read from files and written to them, as arrays and as Pillow's images."""

from __future__ import annotations

import importlib
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from torchkeras._core.config import floatx, standardize_data_format
from torchkeras._core.convert import as_array
from torchkeras._core.errors import (
    CorruptFileError,
    UnsafeFileError,
    invalid_argument,
    one_of,
)
from torchkeras.ops.image.resizing import resize

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pillow's mode of each color mode.
_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
#: What `color_mode="grayscale"` leaves as it is: gray values of more than 8 bits.
_DEEP = ("I;16", "I")
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def load_img(
    path: str | bytes | os.PathLike[str] | io.BytesIO,
    color_mode: str = "rgb",
    target_size: Sequence[int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image:
    """Read an image file as an image of Pillow.

    Args:
        path: the file.
        color_mode: ``"grayscale"``, ``"rgb"`` or ``"rgba"``.
        target_size: the height and width to bring it to; its own by default.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"hamming"``,
            ``"box"`` or ``"lanczos"``.
        keep_aspect_ratio: cut off what is over at the sides, rather than distort.

    Raises:
        ImportError: when Pillow is not installed.
        OSError: when the file cannot be read.
        CorruptFileError: when it is damaged, or no image; it is named.
        UnsafeFileError: when it unpacks to far too many pixels.

    Example:
        >>> import tempfile
        >>> file = tempfile.mktemp(suffix=".png")
        >>> save_img(file, np.zeros((4, 6, 3)))
        >>> load_img(file, color_mode="grayscale", target_size=(8, 8))
        <PIL.Image.Image image mode=L size=8x8 at ...>
    """
    one_of("load_img", "color_mode", color_mode, tuple(_MODES))
    image = _read("load_img", path)
    deep = color_mode == "grayscale" and image.mode in _DEEP
    if image.mode != _MODES[color_mode] and not deep:
        image = image.convert(_MODES[color_mode])
    if target_size is None:
        return image
    height, width = _height_width("load_img", "target_size", target_size)
    if image.size == (width, height):
        return image
    one_of("load_img", "interpolation", interpolation, _INTERPOLATIONS)
    resampling = getattr(_pillow("load_img").Resampling, interpolation.upper())
    box = _middle(*image.size, width, height) if keep_aspect_ratio else None
    return image.resize((width, height), resampling, box=box)


def decode_image(path: str, color_mode: str = "rgb") -> Tensor:
    """Read an image file as a tensor of bytes, by torchvision where it is installed.

    Args:
        path: the file.
        color_mode: ``"grayscale"``, ``"rgb"`` or ``"rgba"``.

    Shape:
        ``(height, width, channels)``.

    Raises:
        ImportError: when neither Pillow nor torchvision is installed.
        OSError: when the file cannot be read.
        CorruptFileError: when it is damaged, or no image; it is named.
        UnsafeFileError: when it unpacks to far too many pixels.
    """
    extension = os.path.splitext(path)[1].lower()
    if extension in (".jpg", ".jpeg", ".png") and (vision := _torchvision()):
        mode = "GRAY" if color_mode == "grayscale" else _MODES[color_mode]
        try:
            data = vision.read_file(path)
            if extension != ".png" and mode == "RGB_ALPHA":
                raise RuntimeError("a JPEG has no alpha")
            image = vision.decode_image(data, vision.ImageReadMode[mode])
        except RuntimeError as error:
            raise _corrupt(path, error) from error
        return image.movedim(0, -1)
    image = _read("decode_image", path)
    if image.mode.startswith("I"):  # of 16 bits, of which Pillow would keep the lowest
        pixels = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255)
        image = _pillow("decode_image").fromarray(pixels.astype(np.uint8))
    array = np.array(image.convert(_MODES[color_mode]))
    return torch.from_numpy(array if array.ndim == 3 else array[..., None])


def img_to_array(
    img: Image | ArrayLike, data_format: str | None = None, dtype: str | None = None
) -> NDArray[Any]:
    """Return an image of Pillow as an array.

    Args:
        img: the image.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.
        dtype: the type of the values; ``floatx`` by default.

    Shape:
        ``(height, width, channels)``, or with the channels first.

    Raises:
        ValueError: when it is no image.

    Example:
        >>> img_to_array(array_to_img(np.zeros((4, 6, 1)))).shape
        (4, 6, 1)
    """
    data_format = standardize_data_format("img_to_array", data_format)
    array = np.asarray(as_array(img), dtype=dtype or floatx())
    if array.ndim not in (2, 3):
        expected = "an image of two or three axes"
        raise ValueError(invalid_argument("img_to_array", "img", expected, array))
    if array.ndim == 2:
        array = array[..., None]
    return array.transpose(2, 0, 1) if data_format == "channels_first" else array


def array_to_img(
    x: ArrayLike | Tensor,
    data_format: str | None = None,
    scale: bool = True,
    dtype: str | None = None,
) -> Image:
    """Return an array as an image of Pillow.

    Args:
        x: the values of one, three or four channels.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.
        scale: stretch the values to the range from 0 to 255.
        dtype: the type to compute in; ``floatx`` by default.

    Raises:
        ImportError: when Pillow is not installed.
        ValueError: when `x` is no image, or has values out of range.

    Shape:
        `x` is ``(height, width, channels)``, or has the channels first.

    Example:
        >>> array_to_img(np.ones((4, 6, 3)))
        <PIL.Image.Image image mode=RGB size=6x4 at ...>
    """
    owner = "array_to_img"
    data_format = standardize_data_format(owner, data_format)
    values = x.detach().cpu() if isinstance(x, Tensor) else x
    values = np.asarray(as_array(values), dtype=dtype or floatx())
    axis = 2 if data_format == "channels_last" else 0
    fits = values.ndim == 3 and values.shape[axis] in (1, 3, 4)
    if not fits or not values.size:
        expected = f"an image of 1, 3 or 4 channels, {data_format}"
        hint = "Take one image of a batch." if values.ndim == 4 else ""
        raise ValueError(invalid_argument(owner, "x", expected, values, hint))
    if data_format == "channels_first":
        values = values.transpose(1, 2, 0)
    if scale:
        values = values - values.min()
        values = values / (values.max() or 1) * 255
    return _as_image(owner, values)


def _as_image(owner: str, values: NDArray[Any]) -> Image:
    low, high = values.min(), values.max()
    gray = values.shape[2] == 1
    if not -1 < low <= high < (2**31 if gray else 256):
        expected = "values from 0 to 255"
        hint = "Pass scale=True, or clip them first."
        got = f"values from {low:g} to {high:g}"
        raise ValueError(f"{owner}: `x` must have {expected}, got {got}. {hint}")
    pixels = values.astype("int32" if high >= 256 else "uint8")
    return _pillow(owner).fromarray(pixels[..., 0] if gray else pixels)


def save_img(
    path: str | os.PathLike[str] | IO[bytes],
    x: ArrayLike | Tensor,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file.

    Args:
        path: the file.
        x: the values of one, three or four channels.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.
        file_format: such as ``"png"``; by the file's name by default.
        scale: stretch the values to the range from 0 to 255.
        **kwargs: what Pillow's `Image.save` takes.

    Raises:
        ImportError: when Pillow is not installed.
        ValueError: when `x` is no image, or has values out of range.

    Shape:
        `x` is ``(height, width, channels)``, or has the channels first.
    """
    if file_format is None and isinstance(path, (str, Path)):
        file_format = Path(path).suffix[1:]
    file_format = (file_format or "").lower() or None
    file_format = "jpeg" if file_format == "jpg" else file_format
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format == "jpeg":
        warnings.warn("A JPEG has no alpha: it is left out.", stacklevel=2)
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


def smart_resize(
    x: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    data_format: str | None = "channels_last",
    **kwargs: Any,
) -> Any:
    """Bring images to a size, cutting off what is over at the sides.

    Args:
        x: an image or a batch of them, as an array or a tensor.
        size: the height and width.
        interpolation: as of `ops.image.resize`.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        **kwargs: not taken.

    Shape:
        ``([batch,] height, width, channels)`` to ``([batch,] *size, channels)``.

    Raises:
        ValueError: for another number of axes or of sizes.

    Example:
        >>> smart_resize(np.zeros((3, 8, 1)), (6, 6)).shape
        (6, 6, 1)
    """
    if kwargs:
        raise TypeError(f"smart_resize got unexpected arguments {sorted(kwargs)}.")
    _height_width("smart_resize", "size", size)
    resized = resize(
        x, size, interpolation, crop_to_aspect_ratio=True, data_format=data_format
    )
    return resized.numpy() if isinstance(x, np.ndarray) else resized


# Parts


def _height_width(owner: str, argument: str, size: Any) -> tuple[int, int]:
    numbers = tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(numbers) != 2 or not all(isinstance(n, int) and n > 0 for n in numbers):
        expected = "two positive integers, (height, width)"
        raise ValueError(invalid_argument(owner, argument, expected, size))
    return numbers


def _middle(
    width: int, height: int, new_width: int, new_height: int
) -> tuple[int, int, int, int]:
    """Return the box in the middle of an image that has the proportions of a size."""
    kept_height = min(height, width * new_height // new_width)
    kept_width = min(width, height * new_width // new_height)
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height


def _read(owner: str, path: Any) -> Image:
    pillow = _pillow(owner)
    if isinstance(path, io.BytesIO):
        content, name = path, "the image"
    elif isinstance(path, (str, bytes, os.PathLike)):
        name = os.fsdecode(path)
        content = io.BytesIO(Path(name).read_bytes())
    else:
        raise TypeError(invalid_argument(owner, "path", "a path or a BytesIO", path))
    try:
        image = pillow.open(content)
        image.load()  # not only the header
    except pillow.DecompressionBombError as error:
        raise UnsafeFileError(f"{owner}: {name} has too many pixels: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _corrupt(name, error) from error
    return image


def _corrupt(path: str, error: Exception) -> CorruptFileError:
    return CorruptFileError(
        f"{path} is no image that can be read, or is damaged ({error}). Remove it, or "
        "replace it."
    )


def _pillow(owner: str) -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError(
            f"{owner}: Pillow is missing. Install it (`pip install pillow`)."
        ) from error


def _torchvision() -> Any:
    try:
        return importlib.import_module("torchvision.io")
    except ImportError:
        return None
