"""Images in files: Keras's pixels, and errors that name the file."""

import io
import struct
import sys
import types
import zlib
from pathlib import Path
from typing import cast

import keras
import numpy as np
import pytest
import torch
from PIL import Image

from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras.preprocessing import image as image_module
from torchkeras.utils import array_to_img, images, img_to_array, load_img, save_img
from torchkeras.utils.images import decode_image, smart_resize


def pixels(height=9, width=7, channels=3, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (height, width, channels)).astype("uint8")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(pixels(channels=4), "RGBA").save(path)
    return path


def same_image(mine, theirs):
    assert mine.mode == theirs.mode
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


@pytest.mark.parametrize("color_mode", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("kind", [str, lambda p: p, lambda p: str(p).encode(), "bytes"])
def test_load_img(picture, color_mode, kind):
    source = (lambda p: io.BytesIO(p.read_bytes())) if kind == "bytes" else kind
    mine = load_img(source(picture), color_mode)
    same_image(mine, keras.utils.load_img(source(picture), color_mode))


@pytest.mark.parametrize("keep_aspect_ratio", [False, True])
@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]
)
@pytest.mark.parametrize("size", [(5, 11), (12, 3), (9, 7)])
def test_load_img_of_a_size(picture, size, interpolation, keep_aspect_ratio):
    options = {
        "target_size": size,
        "interpolation": interpolation,
        "keep_aspect_ratio": keep_aspect_ratio,
    }
    same_image(load_img(picture, **options), keras.utils.load_img(picture, **options))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_gray_images_of_more_bits_stay_as_they_are(tmp_path, dtype):
    path = tmp_path / "deep.png"
    Image.fromarray(pixels()[..., 0].astype(dtype)).save(path)
    same_image(load_img(path, "grayscale"), keras.utils.load_img(path, "grayscale"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_mode": "bgr"}, "`color_mode` must be one of"),
        ({"target_size": (3, 4), "interpolation": "cubic"}, "`interpolation` must be"),
        ({"target_size": 3}, r"`target_size` must be two positive .* got 3"),
        ({"target_size": (3, 0)}, r"`target_size` must be two positive"),
    ],
)
def test_bad_options_of_load_img(picture, options, message):
    with pytest.raises(ValueError, match=message):
        load_img(picture, **options)


def truncated(picture):
    content = picture.read_bytes()
    return content[: len(content) * 2 // 3]


def huge(picture):
    """A header that promises 40,000 times 40,000 pixels."""
    content = bytearray(picture.read_bytes())
    content[16:24] = struct.pack(">II", 40_000, 40_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("read", [load_img, decode_image])
def test_files_that_are_no_images_are_named(picture, read):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read(str(picture.with_name("nowhere.png")))
    for content in (b"", b"no image", truncated(picture), huge(picture)[:40]):
        picture.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"picture\.png is no image"):
            read(str(picture))


def test_an_image_that_grows_too_large_is_refused(picture):
    picture.write_bytes(huge(picture))
    with pytest.raises(UnsafeFileError, match=r"picture\.png has too many pixels"):
        load_img(picture)


def test_a_number_is_no_path():
    with pytest.raises(TypeError, match="`path` must be a path or a BytesIO, got 3"):
        load_img(cast("str", 3))


@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("dtype", [None, "uint8"])
def test_img_to_array(mode, data_format, dtype):
    image = Image.fromarray(pixels(channels=4)).convert(mode)
    mine = img_to_array(image, data_format, dtype)
    theirs = keras.utils.img_to_array(image, data_format, dtype)
    assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(mine, theirs)


def test_img_to_array_refuses_batches():
    with pytest.raises(ValueError, match="`img` must be an image of two or three axes"):
        img_to_array(np.zeros((2, 3, 4, 3)))


@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("scale", [True, False])
def test_array_to_img(channels, data_format, scale):
    values = pixels(channels=channels).astype("float32") * 0.9
    if data_format == "channels_first":
        values = values.transpose(2, 0, 1)
    theirs = keras.utils.array_to_img(values, data_format, scale)
    same_image(array_to_img(values, data_format, scale), theirs)
    same_image(array_to_img(torch.tensor(values), data_format, scale), theirs)


def test_array_to_img_of_special_values():
    deep = np.array([[[0.0], [300.0]]])
    same_image(
        array_to_img(deep, scale=False), keras.utils.array_to_img(deep, scale=False)
    )
    flat = np.full((2, 2, 3), 7.0)
    same_image(array_to_img(flat), keras.utils.array_to_img(flat))
    weights = torch.rand(2, 2, 3, requires_grad=True)
    same_image(array_to_img(weights), keras.utils.array_to_img(weights.detach()))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.zeros((2, 4, 4, 3)), {}, "1, 3 or 4 channels, .*Take one image of a batch"),
        (np.zeros((4, 4, 2)), {}, "1, 3 or 4 channels, channels_last, got ndarray of"),
        (np.zeros((3, 4, 5)), {"data_format": "channels_last"}, "1, 3 or 4 channels"),
        (np.zeros((0, 4, 3)), {}, "1, 3 or 4 channels"),
        (np.full((2, 2, 3), 256.0), {"scale": False}, "values from 256 to 256"),
        (np.full((2, 2, 1), -1.5), {"scale": False}, "values from -1.5 to -1.5"),
        (np.full((2, 2, 3), np.nan), {}, "values from nan to nan"),
        (np.zeros((2, 2, 3)), {"data_format": "NHWC"}, "`data_format` must be"),
    ],
)
def test_what_is_no_image_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        array_to_img(values, **options)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.bmp"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_save_img(tmp_path, name, data_format):
    values = pixels().astype("float32")
    if data_format == "channels_first":
        values = values.transpose(2, 0, 1)
    (tmp_path / "keras").mkdir()
    save_img(tmp_path / name, values, data_format)
    keras.utils.save_img(tmp_path / "keras" / name, values, data_format)
    assert (tmp_path / name).read_bytes() == (tmp_path / "keras" / name).read_bytes()


def test_save_img_elsewhere(tmp_path):
    file = io.BytesIO()
    save_img(file, pixels(), file_format="jpg", scale=False, quality=10)
    assert Image.open(file).format == "JPEG"
    with pytest.warns(UserWarning, match="A JPEG has no alpha"):
        save_img(tmp_path / "a.jpg", pixels(channels=4))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # in Keras
@pytest.mark.parametrize("batch", [(), (2,)], ids=["image", "batch"])
@pytest.mark.parametrize("size", [(4, 4), (6, 3), (3, 12)])
def test_smart_resize(size, batch, data_format):
    values = np.random.RandomState(0).rand(*batch, 8, 6, 3).astype("float32")
    if data_format == "channels_first":
        values = np.moveaxis(values, -1, -3)
    mine = smart_resize(values, size, data_format=data_format)
    theirs = keras.preprocessing.image.smart_resize(
        values, size, data_format=data_format
    )
    assert isinstance(mine, np.ndarray)
    np.testing.assert_allclose(mine, np.asarray(theirs), atol=1e-6)
    assert isinstance(
        smart_resize(torch.tensor(values), size, data_format=data_format), torch.Tensor
    )


def test_smart_resize_refuses():
    with pytest.raises(ValueError, match="`size` must be two positive integers"):
        smart_resize(np.zeros((4, 4, 3)), (4,))
    with pytest.raises(TypeError, match=r"unexpected arguments \['backend'\]"):
        smart_resize(np.zeros((4, 4, 3)), (4, 4), backend=1)


def test_the_older_names_are_the_same_functions():
    for name in image_module.__all__:
        assert getattr(image_module, name) is getattr(images, name)


# Decoding


@pytest.mark.parametrize(
    ("color_mode", "channels"), [("grayscale", 1), ("rgb", 3), ("rgba", 4)]
)
@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp", ".gif"])
def test_decode_image(tmp_path, extension, color_mode, channels):
    path = tmp_path / f"a{extension}"
    Image.fromarray(pixels()).save(path)
    tensor = decode_image(str(path), color_mode)
    assert tensor.dtype == torch.uint8
    assert tensor.shape == (9, 7, channels)
    expected = img_to_array(load_img(path, color_mode), "channels_last")
    np.testing.assert_array_equal(tensor, expected)


def test_decode_image_keeps_the_upper_bits(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 255, 256, 65535]], "uint16")).save(path)
    assert decode_image(str(path), "grayscale").flatten().tolist() == [0, 0, 1, 255]
    assert decode_image(str(path), "rgb").shape == (1, 4, 3)


def test_decode_image_by_torchvision(picture, monkeypatch):
    """With a stand-in of the same calls, which knows one image."""

    def decode(data, mode):
        asked.append((bytes(data.numpy()), mode))
        if len(data) < 20:
            raise RuntimeError("Unsupported image file")
        return torch.arange(24, dtype=torch.uint8).reshape(3, 2, 4)

    def read(path):
        return torch.tensor(list(Path(path).read_bytes()), dtype=torch.uint8)

    asked = []
    modes = {"RGB": 1, "GRAY": 2, "RGB_ALPHA": 3}
    stand_in = types.ModuleType("torchvision.io")
    vars(stand_in).update(
        read_file=read,
        decode_image=decode,
        ImageReadMode=modes,
    )
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.io", stand_in)
    assert decode_image(str(picture)).shape == (2, 4, 3)
    decode_image(str(picture), "grayscale")
    assert [mode for _, mode in asked] == [1, 2]
    picture.write_bytes(b"no image")
    with pytest.raises(CorruptFileError, match=r"picture\.png is no image"):
        decode_image(str(picture))


def test_without_pillow_the_error_says_what_to_install(picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for call in (lambda: load_img(picture), lambda: array_to_img(pixels())):
        with pytest.raises(ImportError, match=r"Pillow is missing\. Install it"):
            call()
