"""Global settings: float type, image layout, device, seed, limits and switches."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from torchkeras._core.context import context
from torchkeras._core.errors import count, invalid_argument, one_of

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "device": None,
    "interactive_logging": True,
    # Keras's variables, for a quick look at a script without a change to it.
    "max_epochs": int(os.environ.get("KERAS_MAX_EPOCHS") or 0) or None,
    "max_steps_per_epoch": int(os.environ.get("KERAS_MAX_STEPS_PER_EPOCH") or 0)
    or None,
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


def _in_worker() -> bool:
    """Say whether this process prepares data for a loader, which is done on the CPU."""
    return get_worker_info() is not None


def default_device() -> torch.device:
    """Return the device on which new weights are made.

    That of the ``with device(...)`` block that the thread is in, else the device given
    to `set_default_device` if any, else torch's own default where it was changed, else
    CUDA when there is one, except in a loader's worker, else the CPU. Within ``with
    torch.device("meta")``, where only shapes count, it is that.
    """
    device = _torch_device()
    if device.type == "meta":
        return device
    chosen = context.device or _settings["device"]
    if chosen is not None:
        return chosen
    if device.type == "cpu" and torch.cuda.is_available() and not _in_worker():
        return torch.device("cuda", torch.cuda.current_device())
    return device


def set_default_device(device: str | torch.device | None) -> None:
    """Set the device on which new weights are made; None chooses it again."""
    _settings["device"] = None if device is None else torch.device(device)


@contextlib.contextmanager
def device(device_name: str) -> Generator[torch.device]:
    """Make new weights and tensors on a device, in this thread's ``with`` block.

    Args:
        device_name: a device of torch, such as ``"cpu"`` or ``"cuda:1"``; ``"gpu"``
            stands for the accelerator there is.

    Raises:
        ValueError: for what names no device.

    Example:
        >>> with device("cpu"):
        ...     torch.ones(2).device
        device(type='cpu')
    """
    chosen = _named_device(device_name)
    before = context.device
    context.device = chosen
    try:
        with chosen:
            yield chosen
    finally:
        context.device = before


def _named_device(name: Any) -> torch.device:
    expected = "the name of a device, such as 'cpu' or 'gpu:0'"
    if not isinstance(name, str):
        raise ValueError(invalid_argument("device", "device_name", expected, name))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    kind = "cuda" if accelerator is None else accelerator.type
    try:
        return torch.device(name.lower().replace("gpu", kind))
    except RuntimeError as error:
        message = invalid_argument("device", "device_name", expected, name)
        raise ValueError(message) from error


def enable_interactive_logging() -> None:
    """Show progress and messages on standard output, as at first."""
    _settings["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Send progress and messages to the logger ``"torchkeras"``, at level INFO.

    A bar becomes one line at the end of an epoch.
    """
    _settings["interactive_logging"] = False


def is_interactive_logging_enabled() -> bool:
    """Say whether progress and messages go to standard output.

    Example:
        >>> is_interactive_logging_enabled()
        True
    """
    return _settings["interactive_logging"]


def enable_flash_attention() -> None:
    """Let torch use its flash kernel of attention, as at first."""
    torch.backends.cuda.enable_flash_sdp(True)


def disable_flash_attention() -> None:
    """Keep torch from using its flash kernel of attention, on any device.

    A layer or an operation with ``flash_attention=True`` uses it all the same.
    """
    torch.backends.cuda.enable_flash_sdp(False)


def is_flash_attention_enabled() -> bool:
    """Say whether torch may use its flash kernel of attention.

    Example:
        >>> is_flash_attention_enabled()
        True
    """
    return torch.backends.cuda.flash_sdp_enabled()


def max_epochs() -> int | None:
    """Return the most epochs that `fit` trains; None for no limit.

    At first it is that of the environment variable ``KERAS_MAX_EPOCHS``.
    """
    return _settings["max_epochs"]


def set_max_epochs(max_epochs: int | None) -> None:
    """Limit the epochs of `fit`, to try a script out.

    Args:
        max_epochs: the limit; None for none.

    Raises:
        ValueError: when it is not positive.
        TypeError: when it is not an integer.
    """
    _settings["max_epochs"] = _limit("set_max_epochs", "max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """Return the most batches that `fit`, `evaluate` and `predict` use in an epoch.

    At first it is that of ``KERAS_MAX_STEPS_PER_EPOCH``; None for no limit.
    """
    return _settings["max_steps_per_epoch"]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Limit the batches of an epoch, to try a script out.

    Args:
        max_steps_per_epoch: the limit; None for none.

    Raises:
        ValueError: when it is not positive.
        TypeError: when it is not an integer.
    """
    _settings["max_steps_per_epoch"] = _limit(
        "set_max_steps_per_epoch", "max_steps_per_epoch", max_steps_per_epoch
    )


def _limit(owner: str, argument: str, value: Any) -> int | None:
    return None if value is None else count(owner, argument, value)


def enable_unsafe_deserialization() -> None:
    """Refuse: loading never runs code that a file holds.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "enable_unsafe_deserialization: loading never runs code from a file, so there "
        "is nothing to enable. Write a lambda as a named function, register it with "
        "`register_keras_serializable`, and save the model again."
    )


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
