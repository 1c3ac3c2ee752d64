"""Images and files; `torchkeras.utils` has the same functions."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.utils.images import (
    array_to_img,
    img_to_array,
    load_img,
    save_img,
    smart_resize,
)

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
