"""Global settings: float type, fuzz factor, image layout, device and seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from torchkeras._core.errors import one_of

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "device": None,
}


def backend() -> str:
    """Return ``"torch"``, the one backend."""
    return "torch"


def floatx() -> str:
    """Return the default float type, ``"float32"`` unless it was changed.

    Example:
        >>> floatx()
        'float32'
    """
    return _settings["floatx"]


def set_floatx(value: str) -> None:
    """Set the default float type.

    Args:
        value: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: for any other value.
    """
    _settings["floatx"] = one_of("set_floatx", "value", value, _FLOATS)


def epsilon() -> float:
    """Return the fuzz factor that keeps divisions and logarithms finite.

    Example:
        >>> epsilon()
        1e-07
    """
    return _settings["epsilon"]


def set_epsilon(value: float) -> None:
    """Set the fuzz factor."""
    _settings["epsilon"] = value


def image_data_format() -> str:
    """Return the default image layout, ``"channels_last"`` unless it was changed.

    Example:
        >>> image_data_format()
        'channels_last'
    """
    return _settings["image_data_format"]


def set_image_data_format(data_format: str) -> None:
    """Set the default image layout.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for any other value.
    """
    legal = ("channels_last", "channels_first")
    _settings["image_data_format"] = one_of(
        "set_image_data_format", "data_format", data_format, legal
    )


def standardize_data_format(owner: str, data_format: str | None) -> str:
    """Return `data_format`, or the global default where it is None.

    Raises:
        ValueError: when it is neither ``"channels_last"`` nor ``"channels_first"``.
    """
    legal = ("channels_last", "channels_first")
    if data_format is None:
        return image_data_format()
    return one_of(owner, "data_format", str(data_format).lower(), legal)


def _torch_device() -> torch.device:
    if torch.compiler.is_compiling():  # which cannot trace `get_default_device`
        return torch.empty(0).device
    return torch.get_default_device()


def default_device() -> torch.device:
    """Return the device on which new weights are made.

    The device given to `set_default_device` if any, else torch's own default where it
    was changed, else CUDA when there is one, else the CPU. Within ``with
    torch.device("meta")``, where only shapes count, it is that.
    """
    device = _torch_device()
    if device.type == "meta":
        return device
    if _settings["device"] is not None:
        return _settings["device"]
    if device.type == "cpu" and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return device


def set_default_device(device: str | torch.device | None) -> None:
    """Set the device on which new weights are made; None chooses it again."""
    _settings["device"] = None if device is None else torch.device(device)


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy and PyTorch at once.

    Args:
        seed: an integer from 0 to 2**32 - 1.

    Example:
        >>> set_random_seed(0)
        >>> first = torch.rand(1)
        >>> set_random_seed(0)
        >>> bool(first == torch.rand(1))
        True
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"set_random_seed: `seed` must be an integer, got {seed!r}.")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
