"""Readers of folders: Keras's files and labels, and errors that name the file."""

import copy
import inspect
import os
import struct
import wave

import keras
import numpy as np
import pytest
import torch
from keras.src.utils.dataset_utils import index_directory
from torch.utils.data import DataLoader

import torchkeras
from torchkeras import layers, models
from torchkeras._core.errors import CorruptFileError
from torchkeras.ops.image import resize
from torchkeras.utils import (
    audio_dataset_from_directory,
    image_dataset_from_directory,
    save_img,
    split_dataset,
    text_dataset_from_directory,
)
from torchkeras.utils.sounds import read_wav, resample

COUNTS = {"cats": 5, "dogs": 4, "birds": 3}


def text_of(name, number):
    return f"{name} {number} café\r\n"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    top = tmp_path_factory.mktemp("texts")
    for name, count in COUNTS.items():
        (top / name / "more").mkdir(parents=True)
        for number in range(count):
            folder = top / name / "more" if number == 2 else top / name
            content = text_of(name, number).encode()
            (folder / f"{number}.TXT").write_bytes(content)
    (top / ".hidden").mkdir()
    (top / ".hidden" / "a.txt").write_text("hidden")
    (top / "cats" / "notes.md").write_text("no text")
    return top


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    top = tmp_path_factory.mktemp("images")
    random = np.random.RandomState(0)
    for label, (name, count) in enumerate(COUNTS.items()):
        (top / name).mkdir()
        for number in range(count):
            pixels = random.randint(0, 50, (6 + number, 8, 3)) + 90 * label
            extension = ("png", "bmp", "jpg", "gif", "jpeg")[number]
            save_img(top / name / f"{number}.{extension}", pixels, scale=False)
    return top


def read_texts(folder, **options):
    return text_dataset_from_directory(folder, verbose=False, **options)


def joined(dataset):
    """All samples of a data set."""
    pairs = list(dataset)
    return [x for batch, _ in pairs for x in batch], torch.cat([y for _, y in pairs])


# Files and labels


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_names": ["dogs", "cats"]},
        {"labels": None},
        {"labels": list(range(13))},
        {"shuffle": False},
        {"shuffle": False, "labels": None},
    ],
    ids=str,
)
def test_files_are_those_of_keras(texts, options):
    options = {"labels": "inferred", "class_names": None, "shuffle": True} | options
    if isinstance(options["labels"], list):
        options["labels"] = [n % 3 for n in range(13)]
    paths, labels, class_names = index_directory(
        str(texts), formats=(".txt",), seed=7, verbose=False, **copy.deepcopy(options)
    )
    dataset = read_texts(texts, seed=7, batch_size=None, **options)
    assert dataset.file_paths == paths
    assert dataset.class_names == class_names
    in_order = dataset.unbatch() if options["shuffle"] else dataset
    assert len(dataset) == len(paths)
    if labels is not None and not options["shuffle"]:
        assert [int(y) for _, y in in_order] == list(labels)
    if labels is not None:
        folders = {os.path.relpath(p, texts).split(os.sep)[0] for p in paths}
        assert folders <= {*COUNTS, ".hidden"}
        by_text = {x: int(y) for x, y in dataset}
        for path, label in zip(paths, labels, strict=True):
            with open(path, newline="") as file:
                assert by_text[file.read()] == label


def test_what_is_said(texts, capsys):
    text_dataset_from_directory(texts, validation_split=0.25, subset="both", seed=0)
    text_dataset_from_directory(texts, labels=None)
    assert capsys.readouterr().out.splitlines() == [
        "Found 12 files belonging to 3 classes.",
        "Using 9 files for training.",
        "Using 3 files for validation.",
        "Found 13 files.",
    ]


@pytest.mark.parametrize(
    ("label_mode", "expected", "dtype"),
    [
        ("int", [0, 1], torch.int32),
        ("binary", [[0.0], [1.0]], torch.float32),
        ("categorical", [[1.0, 0.0], [0.0, 1.0]], torch.float32),
    ],
)
def test_label_modes(texts, label_mode, expected, dtype):
    dataset = read_texts(
        texts, label_mode=label_mode, class_names=["cats", "birds"], shuffle=False
    )
    strings, labels = joined(dataset)
    assert labels.dtype == dtype
    assert labels.tolist() == [expected[0]] * 5 + [expected[1]] * 3
    assert strings[0] == text_of("cats", 0)


def test_without_labels(texts):
    for options in ({"label_mode": None}, {"labels": None}):
        (batch,) = read_texts(texts, shuffle=False, **options)
        assert batch.numpy().tolist()[-1] == text_of("dogs", 2)
    assert len(batch) == 13


@pytest.mark.parametrize("shuffle", [True, False])
def test_split(texts, shuffle):
    options = {"validation_split": 0.3, "seed": 3, "shuffle": shuffle}
    both = read_texts(texts, subset="both", **options)
    train = read_texts(texts, subset="training", **options)
    held = read_texts(texts, subset="validation", **options)
    assert both[0].file_paths == train.file_paths
    assert both[1].file_paths == held.file_paths
    assert len(held.file_paths) == 3
    assert not {*train.file_paths} & {*held.file_paths}
    assert len({*train.file_paths, *held.file_paths}) == 12
    assert both[1].class_names == ["birds", "cats", "dogs"]


def test_orders(texts):
    torchkeras.utils.set_random_seed(0)
    dataset = read_texts(texts)
    first, second = (joined(dataset)[0] for _ in range(2))
    assert sorted(first) == sorted(second)
    assert first != second
    torchkeras.utils.set_random_seed(0)
    again = read_texts(texts)
    assert again.file_paths == dataset.file_paths
    assert joined(again)[0] == first
    seeded = [joined(read_texts(texts, seed=5))[0] for _ in range(2)]
    assert seeded[0] == seeded[1]
    _, held = read_texts(texts, subset="both", validation_split=0.5, seed=1)
    assert joined(held)[0] == joined(held)[0]  # validation has one order


def test_links_are_followed_when_asked_to(texts, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.txt").write_text("own")
    (tmp_path / "a" / "link").symlink_to(texts / "dogs", target_is_directory=True)
    assert len(read_texts(tmp_path).file_paths) == 1
    assert len(read_texts(tmp_path, follow_links=True).file_paths) == 5


# Bad input


READERS = [
    image_dataset_from_directory,
    text_dataset_from_directory,
    audio_dataset_from_directory,
]


@pytest.mark.parametrize("read", READERS)
def test_folders_without_data(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"an existing folder, got .*/no"):
        read(tmp_path / "no")
    with pytest.raises(ValueError, match=r"has no folder for a class\. Put the"):
        read(tmp_path)
    with pytest.raises(ValueError, match=r"no (images|texts|sounds) \(\.\w+.*\) found"):
        read(tmp_path, labels=None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.md").write_text("x")
    with pytest.raises(ValueError, match=r"found in .* in its folders \['a'\]"):
        read(tmp_path)
    with pytest.raises(ValueError, match=r"which are \['a'\]; got \['b'\] too"):
        read(tmp_path, class_names=["a", "b"])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [1, 2]}, "a label for each file, got 2 for the 1 files"),
        ({"labels": "folders"}, "`labels` must be 'inferred', None, or an integer for"),
        ({"labels": [0.5]}, "`labels` must be 'inferred', None, or an integer for"),
        ({"labels": [1], "class_names": ["a"]}, "goes with labels='inferred' alone"),
        ({"labels": [1], "label_mode": "categorical"}, "must be from 0 to 0 for label"),
        ({"label_mode": "one_hot"}, "`label_mode` must be one of"),
        ({"label_mode": "binary"}, "is for two classes, got 1"),
        ({"validation_split": 0.5}, "`validation_split` and `subset` go together"),
        ({"subset": "training"}, "`validation_split` and `subset` go together"),
        ({"subset": "test", "validation_split": 0.5}, "`subset` must be one of"),
        ({"subset": "training", "validation_split": 2}, "a number between 0 and 1"),
        ({"subset": "training", "validation_split": 0.5}, "`seed` must be given with"),
        (
            {"subset": "both", "validation_split": 0.5, "shuffle": False},
            "of 1 files leaves no .* for validation",
        ),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_options(read, options, message, tmp_path):
    (tmp_path / "a").mkdir()
    for extension in ("png", "txt", "wav"):
        (tmp_path / "a" / f"x.{extension}").write_text("x")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, verbose=False, **options)


def test_a_text_that_is_not_utf8_is_named(texts, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "good.txt").write_text("good")
    (tmp_path / "a" / "bad.txt").write_bytes("café".encode("latin1"))
    with pytest.raises(
        CorruptFileError, match=r"a/bad\.txt is no text in UTF-8: .*0xe9"
    ):
        list(read_texts(tmp_path))


def test_a_damaged_image_is_named(images, tmp_path):
    (tmp_path / "a").mkdir()
    content = (images / "cats" / "0.png").read_bytes()
    (tmp_path / "a" / "bad.png").write_bytes(content[:40])
    dataset = image_dataset_from_directory(tmp_path, verbose=False)
    with pytest.raises(CorruptFileError, match=r"a/bad\.png is no image"):
        list(dataset)


# Texts


def test_max_length(texts):
    strings, _ = joined(read_texts(texts, max_length=8, shuffle=False))
    assert strings[:2] == ["birds 0 ", "birds 1 "]


def test_batches_of_texts(texts):
    for batch, labels in read_texts(texts, batch_size=5):
        assert batch.shape == labels.shape
        assert batch.dtype == object
        assert all(isinstance(text, str) for text in batch.numpy())
    assert len(read_texts(texts, batch_size=5)) == 3


# Images


@pytest.mark.parametrize(
    ("color_mode", "channels"), [("grayscale", 1), ("rgb", 3), ("rgba", 4)]
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_images(images, color_mode, channels, data_format):
    dataset = image_dataset_from_directory(
        images,
        color_mode=color_mode,
        image_size=(7, 5),
        data_format=data_format,
        batch_size=8,
        verbose=False,
    )
    last = data_format == "channels_last"
    shape = (7, 5, channels) if last else (channels, 7, 5)
    sizes = []
    for batch, labels in dataset:
        assert batch.shape[1:] == shape
        assert batch.dtype == torch.float32
        sizes.append(len(labels))
        colors = batch[..., :3] if last else batch[:, :3]
        if color_mode == "rgb":
            means = colors.flatten(1).mean(1)
            # birds, cats, dogs, of which cats are the darkest.
            expected = torch.tensor([2, 0, 1])[labels.long()] * 90 + 25
            assert (means - expected).abs().max() < 20
    assert sizes == [8, 4]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # in Keras
@pytest.mark.parametrize(
    "interpolation",
    "bilinear nearest bicubic area lanczos3 lanczos5 gaussian mitchellcubic".split(),
)
@pytest.mark.parametrize(
    "proportions", [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}]
)
def test_sizes(images, interpolation, proportions):
    (batch,) = image_dataset_from_directory(
        images,
        labels=None,
        image_size=(4, 4),
        interpolation=interpolation.upper(),
        shuffle=False,
        verbose=False,
        **proportions,
    )
    image = keras.utils.img_to_array(keras.utils.load_img(images / "birds" / "0.png"))
    if interpolation == "nearest":
        image = image.astype("uint8")
    expected = resize(torch.tensor(image), (4, 4), interpolation, **proportions)
    assert batch.dtype == expected.dtype
    torch.testing.assert_close(batch[0], expected)
    if interpolation in ("bilinear", "nearest", "bicubic"):
        tensor = torch.tensor(image)
        theirs = keras.ops.image.resize(tensor, (4, 4), interpolation, **proportions)
        expected = torch.as_tensor(theirs).float()
        torch.testing.assert_close(batch[0].float(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_mode": "bgr"}, "`color_mode` must be one of"),
        ({"interpolation": "box"}, "`interpolation` must be one of"),
        ({"image_size": (1, 2, 3)}, "`image_size` must be an integer or two"),
        ({"image_size": (0, 2)}, "`image_size` must be a positive integer"),
        ({"format": "torch"}, "`format` must be one of"),
        ({"data_format": "last"}, "`data_format` must be"),
        (
            {"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
            "only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio`",
        ),
    ],
)
def test_bad_options_of_images(images, options, message):
    with pytest.raises(ValueError, match=message):
        image_dataset_from_directory(images, **options)


def test_one_size_is_both(images):
    dataset = image_dataset_from_directory(images, image_size=6, verbose=False)
    assert dataset.element_spec[0].shape == (None, 6, 6, 3)


def test_a_model_learns_from_a_folder(images):
    torchkeras.utils.set_random_seed(0)
    train, held = image_dataset_from_directory(
        images,
        image_size=(8, 8),
        batch_size=4,
        validation_split=0.25,
        subset="both",
        seed=1,
        verbose=False,
    )
    model = models.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        torchkeras.optimizers.Adam(0.1),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history = model.fit(train.cache(), validation_data=held, epochs=25, verbose=0)
    assert history.history["accuracy"][-1] > 0.7
    assert model.predict(held, verbose=0).shape == (3, 3)


def test_split_of_a_reader(images):
    dataset = image_dataset_from_directory(
        images, image_size=4, batch_size=4, verbose=False, shuffle=False
    )
    left, right = split_dataset(dataset, left_size=0.5)
    assert [len(y) for _, y in left] == [4, 2]
    labels = torch.cat([y for _, y in left] + [y for _, y in right])
    assert labels.tolist() == joined(dataset)[1].tolist()


def test_torch_workers_read_images(images):
    dataset = image_dataset_from_directory(
        images, image_size=4, shuffle=False, verbose=False
    )
    loader = DataLoader(dataset.unbatch().to_torch(), batch_size=5, num_workers=2)
    batches = list(loader)
    (whole,) = dataset
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), whole[0])
    assert torch.cat([y for _, y in batches]).tolist() == whole[1].tolist()


# Sounds


def write_wav(path, sound, rate=8000, width=2):
    """Write floats of shape (samples, channels) as PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        scaled = np.round(sound * 2.0 ** (8 * width - 1)).astype(np.int64)
        if width == 1:
            data = (scaled + 128).astype(np.uint8).tobytes()
        else:
            values = (
                int(n).to_bytes(width, "little", signed=True) for n in scaled.flat
            )
            data = b"".join(values)
        file.writeframes(data)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    top = tmp_path_factory.mktemp("sounds")
    for name, length in (("high", 30), ("low", 20)):
        (top / name).mkdir()
        for number in range(3):
            values = np.full((length + number, 2), 0.25)
            write_wav(top / name / f"{number}.wav", values)
    return top


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_read_wav(tmp_path, width):
    sound = np.random.RandomState(0).uniform(-0.9, 0.9, (50, 2))
    write_wav(tmp_path / "a.wav", sound, width=width)
    read = read_wav(str(tmp_path / "a.wav"))
    assert read.dtype == torch.float32
    step = 2.0 ** (1 - 8 * width)
    np.testing.assert_allclose(read, sound, atol=max(step, 1e-6))


def read_sounds(folder, **options):
    return audio_dataset_from_directory(folder, verbose=False, **options)


def test_sounds_are_padded(sounds):
    ((batch, labels),) = read_sounds(sounds, shuffle=False)
    assert batch.shape == (6, 32, 2)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch[3, :, 0].tolist() == [0.25] * 20 + [0.0] * 12
    assert batch[2, :, 1].tolist() == [0.25] * 32


@pytest.mark.parametrize("length", [10, 25, 40])
def test_sounds_of_one_length(sounds, length):
    ((batch, _),) = read_sounds(sounds, shuffle=False, output_sequence_length=length)
    assert batch.shape == (6, length, 2)
    assert batch[4, :, 0].tolist() == ([0.25] * 21 + [0.0] * 20)[:length]


def test_ragged_sounds(sounds):
    ((batch, labels),) = read_sounds(sounds, shuffle=False, ragged=True)
    assert [sound.shape[0] for sound in batch.unbind()] == [30, 31, 32, 20, 21, 22]
    assert len(labels) == 6
    (alone,) = read_sounds(sounds, labels=None, ragged=True)
    assert alone.is_nested


def test_sounds_of_another_rate(sounds):
    ((batch, _),) = read_sounds(
        sounds, shuffle=False, sampling_rate=4000, output_sequence_length=12
    )
    assert batch.shape == (6, 12, 2)
    assert abs(float(batch[0, 6, 0]) - 0.25) < 0.01


@pytest.mark.parametrize(
    ("old", "new"), [(8000, 16000), (16000, 8000), (44100, 16000), (8000, 8000)]
)
def test_resample_keeps_what_fits(old, new):
    def tone(rate, frequency):
        at = np.arange(rate // 4) / rate
        return torch.tensor(np.sin(2 * np.pi * frequency * at))[:, None]

    mine = resample(tone(old, 440.0), old, new)
    expected = tone(new, 440.0)
    assert mine.shape == expected.shape
    middle = slice(len(mine) // 10, -len(mine) // 10)
    np.testing.assert_allclose(mine[middle], expected[middle], atol=5e-3)
    if new < old:  # what does not fit is gone
        gone = resample(tone(old, new * 0.7), old, new)
        assert float(gone[middle].abs().max()) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ragged": True, "output_sequence_length": 3}, "only one of `ragged` and"),
        ({"sampling_rate": 0}, "`sampling_rate` must be a positive integer"),
        ({"output_sequence_length": 0}, "`output_sequence_length` must be a positive"),
    ],
)
def test_bad_options_of_sounds(sounds, options, message):
    with pytest.raises(ValueError, match=message):
        read_sounds(sounds, **options)
    with pytest.raises(TypeError, match="`sampling_rate` must be a positive integer"):
        read_sounds(sounds, sampling_rate=0.5)


def test_damaged_sounds_are_named(sounds, tmp_path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "bad.wav"
    good = (sounds / "high" / "0.wav").read_bytes()
    floats = bytearray(good)
    floats[20:22] = struct.pack("<H", 3)  # a format that is not PCM
    for content in (b"", b"no sound", good[:30], good[:-8], bytes(floats)):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"a/bad\.wav is no WAV file of PCM"):
            list(read_sounds(tmp_path))


def test_signatures_are_those_of_keras():
    def parameters(function):
        found = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in found]

    for read in READERS:
        assert parameters(read) == parameters(getattr(keras.utils, read.__name__))
