"""Readers of folders: images, texts and sounds, with labels by folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import (
    CorruptFileError,
    count,
    invalid_argument,
    one_of,
    positive_integer,
)
from torchkeras.callbacks.progress import say
from torchkeras.ops.image.resizing import resize
from torchkeras.utils._elements import collate, collate_padded
from torchkeras.utils._steps import Ahead, Batch, Items, Map, Shuffle, Slices, Step, Zip
from torchkeras.utils.images import decode_image
from torchkeras.utils.pipeline import Dataset
from torchkeras.utils.sounds import read_wav

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_INTERPOLATIONS = (
    "bilinear",
    "nearest",
    "bicubic",
    "area",
    "lanczos3",
    "lanczos5",
    "gaussian",
    "mitchellcubic",
)
_MOST_THREADS = 8


@dataclass
class _Files:
    """The files of a folder, and what is to be known of them.

    Args:
        owner: the name of the reader, for messages.
        directory: the folder.
        kind: what the files hold.
        formats: how their names end.
        labels: ``"inferred"``, None, or a label for each file.
        label_mode: what labels become: ``"int"``, ``"binary"``, ``"categorical"``.
        class_names: the names of the classes, where they are given.
        shuffle: whether files come in another order each time.
        seed: the seed of that order.
        validation_split: the share of the files that is for validation.
        subset: which part is wanted.
        follow_links: whether to go into folders that are links.
        verbose: whether to say how many files there are.
    """

    owner: str
    directory: str
    kind: str
    formats: tuple[str, ...]
    labels: Any
    label_mode: str | None
    class_names: Sequence[str] | None
    shuffle: bool
    seed: int | None
    validation_split: float | None
    subset: str | None
    follow_links: bool
    verbose: bool

    def __post_init__(self) -> None:
        owner = self.owner
        self.directory = os.fspath(self.directory)
        modes = ("int", "categorical", "binary", None)
        one_of(owner, "label_mode", self.label_mode, modes)
        if self.label_mode is None:
            self.labels = None
        self._check_labels()
        self._check_split()
        if not os.path.isdir(self.directory):
            expected = "an existing folder"
            raise FileNotFoundError(
                invalid_argument(owner, "directory", expected, self.directory)
            )

    def _check_labels(self) -> None:
        inferred = isinstance(self.labels, str) and self.labels == "inferred"
        if not inferred and self.class_names is not None:
            hint = "They are the labels, sorted." if self.labels is not None else ""
            raise ValueError(
                f"{self.owner}: `class_names` goes with labels='inferred' alone. {hint}"
            )
        if inferred or self.labels is None:
            return
        whole = isinstance(self.labels, (list, tuple, np.ndarray)) and all(
            hasattr(label, "__index__") for label in self.labels
        )
        if not whole:
            expected = "'inferred', None, or an integer for each file"
            raise ValueError(
                invalid_argument(self.owner, "labels", expected, self.labels)
            )

    def _check_split(self) -> None:
        split, subset = self.validation_split, self.subset
        one_of(self.owner, "subset", subset, ("training", "validation", "both", None))
        if bool(split) != bool(subset):
            raise ValueError(
                f"{self.owner}: `validation_split` and `subset` go together, got "
                f"{split!r} and {subset!r}."
            )
        if not split:
            return
        if isinstance(split, bool) or not 0 < split < 1:
            expected = "a number between 0 and 1"
            raise ValueError(
                invalid_argument(self.owner, "validation_split", expected, split)
            )
        if self.shuffle and self.seed is None:
            raise ValueError(
                f"{self.owner}: `seed` must be given with `validation_split` and "
                "shuffle=True, so that no file comes to be in both parts."
            )

    def read(self, make: Callable[[Sequence[str], Tensor | None, bool], Step]) -> Any:
        """Return the data set, or both, that a function makes of paths and labels."""
        paths, labels, class_names = self._find()
        seed = self.seed
        if seed is None:
            seed = int(torch.randint(1_000_000, (), device="cpu"))
        self.seed = seed
        order = list(range(len(paths)))
        if self.shuffle:
            np.random.RandomState(seed).shuffle(order)
        encoded = self._encoded(labels, class_names)
        parts = []
        for part, chosen in self._parts(order):
            dataset = Dataset(())
            own = None if encoded is None else encoded[torch.tensor(chosen)]
            files = [paths[i] for i in chosen]
            shuffled = self.shuffle and (part != "validation" or self.subset != "both")
            dataset._step = make(files, own, shuffled)
            dataset.class_names, dataset.file_paths = class_names, files
            parts.append(dataset)
        return parts if self.subset == "both" else parts[0]

    def _find(self) -> tuple[list[str], list[int] | None, list[str] | None]:
        """Return the files, and their labels and the classes where they have some."""
        if isinstance(self.labels, str):
            classes = self._classes()
            found = [(path, n) for n, c in enumerate(classes) for path in self._walk(c)]
            paths, labels = [path for path, _ in found], [label for _, label in found]
        else:
            paths = list(self._walk(""))
            labels = None if self.labels is None else [int(n) for n in self.labels]
            classes = None if labels is None else [str(n) for n in sorted(set(labels))]
        if not paths:
            of_classes = f" in its folders {classes}" if classes else ""
            raise ValueError(
                f"{self.owner}: no {self.kind} ({', '.join(self.formats)}) found in "
                f"{self.directory}{of_classes}."
            )
        if labels is not None and len(labels) != len(paths):
            raise ValueError(
                f"{self.owner}: `labels` must have a label for each file, got "
                f"{len(labels)} for the {len(paths)} files in {self.directory}."
            )
        if self.verbose:
            of = f" belonging to {len(classes)} classes" if classes else ""
            say(f"Found {len(paths)} files{of}.")
        return paths, labels, classes

    def _classes(self) -> list[str]:
        with os.scandir(self.directory) as entries:
            folders = sorted(
                e.name for e in entries if e.is_dir() and not e.name.startswith(".")
            )
        if not folders:
            raise ValueError(
                f"{self.owner}: {self.directory} has no folder for a class. Put the "
                f"{self.kind} of each class into a folder of its own, or pass "
                "labels=None."
            )
        if self.class_names is None:
            return folders
        unknown = [name for name in self.class_names if name not in folders]
        if unknown:
            raise ValueError(
                f"{self.owner}: `class_names` must be names of folders in "
                f"{self.directory}, which are {folders}; got {unknown} too."
            )
        return list(self.class_names)

    def _walk(self, folder: str) -> Iterator[str]:
        top = os.path.join(self.directory, folder) if folder else self.directory
        walk = os.walk(top, followlinks=self.follow_links)
        for root, _, names in sorted(walk, key=lambda found: found[0]):
            for name in sorted(names):
                if name.lower().endswith(self.formats):
                    yield os.path.join(root, name)

    def _parts(self, order: list[int]) -> list[tuple[str | None, list[int]]]:
        if not self.subset:
            return [(None, order)]
        held_out = int((self.validation_split or 0) * len(order))
        cut = len(order) - held_out
        parts = {"training": order[:cut], "validation": order[cut:]}
        wanted = parts if self.subset == "both" else {self.subset: parts[self.subset]}
        for name, files in wanted.items():
            if not files:
                raise ValueError(
                    f"{self.owner}: validation_split={self.validation_split} of "
                    f"{len(order)} files leaves no {self.kind} for {name}."
                )
            if self.verbose:
                say(f"Using {len(files)} files for {name}.")
        return list(wanted.items())

    def _encoded(
        self, labels: list[int] | None, class_names: list[str] | None
    ) -> Tensor | None:
        """Return labels as losses want them."""
        if labels is None or class_names is None:
            return None
        number = len(class_names)
        if self.label_mode == "binary" and number != 2:
            raise ValueError(
                f"{self.owner}: label_mode='binary' is for two classes, got {number}: "
                f"{class_names}."
            )
        numbers = torch.tensor(labels, dtype=torch.int32)
        if self.label_mode == "int":
            return numbers
        if min(labels) < 0 or max(labels) >= number:
            raise ValueError(
                f"{self.owner}: `labels` must be from 0 to {number - 1} for "
                f"label_mode={self.label_mode!r}, got {class_names}."
            )
        if self.label_mode == "binary":
            return numbers.float()[:, None]
        return F.one_hot(numbers.long(), number).float()


def _pipeline(
    paths: Sequence[str],
    labels: Tensor | None,
    shuffle: bool,
    *,
    read: Callable[..., Any],
    seed: int | None,
    batch_size: int | None,
    join: Callable[[Sequence[Any]], Any] = collate,
) -> Step:
    """Return the steps from paths and labels to batches."""
    files: Step = Items(paths)
    if labels is not None:
        files = Zip(files, Slices(labels))
        read = functools.partial(_read_labelled, read)
    if shuffle:
        files = Shuffle(files, len(paths), seed, True)
    step: Step = Map(files, read)
    if batch_size is not None:
        own_join = None if join is collate else join
        step = Batch(step, batch_size, False, own_join)
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    return Ahead(step, threads + 1, threads)


def _read_labelled(read: Callable[[str], Any], path: str, label: Any) -> Any:
    return read(path), label


def _batch_size(owner: str, batch_size: int | None) -> int | None:
    return None if batch_size is None else count(owner, "batch_size", batch_size)


# Images


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: int | Sequence[int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Read the images in a folder as a `Dataset` of batches, each class a folder in it.

    Images are read by torchvision where it is installed, else by Pillow, in threads.

    Args:
        directory: the folder.
        labels: ``"inferred"`` for the folders that images are in; None for no labels;
            or an integer for each file, in the order of their paths.
        label_mode: ``"int"`` for numbers, ``"categorical"`` for one-hot rows,
            ``"binary"`` for 0 or 1 as floats, None for no labels.
        class_names: the folders to read, in the order of their labels; all by default,
            in the order of the alphabet.
        color_mode: ``"grayscale"``, ``"rgb"`` or ``"rgba"``.
        batch_size: images per batch; None for single images.
        image_size: the height and width that images are brought to.
        shuffle: give images in another order in each pass.
        seed: the seed of that order, and of the split.
        validation_split: the share of the images that is for validation.
        subset: ``"training"``, ``"validation"`` or ``"both"``, for two data sets.
        interpolation: as of `ops.image.resize`.
        follow_links: go into folders that are links.
        crop_to_aspect_ratio: cut off what is over at the sides, rather than distort.
        pad_to_aspect_ratio: fill what is missing at the sides with zeros.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.
        format: ``"tf"`` or ``"grain"``; a `Dataset` is returned for both.
        verbose: say how many files there are.

    Returns:
        A `Dataset` with `class_names` and `file_paths`, or a list of two.

    Shape:
        ``(batch_size, *image_size, channels)`` and ``(batch_size,)``,
        ``(batch_size, 1)`` or ``(batch_size, classes)``.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: when it holds no image, or for arguments that do not fit.
        CorruptFileError: when an image is read that is damaged; it is named.
    """
    owner = "image_dataset_from_directory"
    one_of(owner, "color_mode", color_mode, tuple(_CHANNELS))
    interpolation = str(interpolation).lower()
    one_of(owner, "interpolation", interpolation, _INTERPOLATIONS)
    one_of(owner, "format", format, ("tf", "grain"))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            f"{owner}: only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` "
            "may be True."
        )
    read = functools.partial(
        _read_image,
        color_mode=color_mode,
        size=_image_size(owner, image_size),
        interpolation=interpolation,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        data_format=standardize_data_format(owner, data_format),
    )
    files = _Files(
        owner,
        os.fspath(directory),
        "images",
        _IMAGES,
        labels,
        label_mode,
        class_names,
        shuffle,
        seed,
        validation_split,
        subset,
        follow_links,
        verbose,
    )
    batch_size = _batch_size(owner, batch_size)
    return files.read(
        lambda *f: _pipeline(*f, read=read, seed=files.seed, batch_size=batch_size)
    )


def _image_size(owner: str, size: Any) -> tuple[int, int]:
    sizes = (size, size) if isinstance(size, int) else size
    if not isinstance(sizes, (list, tuple)) or len(sizes) != 2:
        expected = "an integer or two, (height, width)"
        raise ValueError(invalid_argument(owner, "image_size", expected, size))
    height, width = (positive_integer(owner, "image_size", n) for n in sizes)
    return height, width


def _read_image(
    path: str,
    color_mode: str,
    size: tuple[int, int],
    interpolation: str,
    data_format: str,
    **proportions: Any,
) -> Tensor:
    image = decode_image(path, color_mode)
    if interpolation != "nearest":  # which keeps the dtype, as in TensorFlow
        image = image.float()
    image = resize(
        image, size, interpolation, data_format="channels_last", **proportions
    )
    return image.movedim(-1, 0) if data_format == "channels_first" else image


# Texts


def text_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Read the texts in a folder as a `Dataset` of batches, each class a folder in it.

    Args:
        directory: the folder; its texts end in ``.txt``.
        labels: as of `image_dataset_from_directory`.
        label_mode: as there.
        class_names: as there.
        batch_size: texts per batch; None for single texts.
        max_length: keep so many characters of each text.
        shuffle: give texts in another order in each pass.
        seed: the seed of that order, and of the split.
        validation_split: the share of the texts that is for validation.
        subset: ``"training"``, ``"validation"`` or ``"both"``, for two data sets.
        follow_links: go into folders that are links.
        format: ``"tf"`` or ``"grain"``; a `Dataset` is returned for both.
        verbose: say how many files there are.

    Returns:
        A `Dataset` with `class_names` and `file_paths`, or a list of two. Texts are
        NumPy arrays of strings, which `TextVectorization` takes.

    Shape:
        ``(batch_size,)`` each, or labels as of `image_dataset_from_directory`.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: when it holds no text, or for arguments that do not fit.
        CorruptFileError: when a text is read that is not UTF-8; it is named.
    """
    owner = "text_dataset_from_directory"
    one_of(owner, "format", format, ("tf", "grain"))
    if max_length is not None:
        max_length = positive_integer(owner, "max_length", max_length)
    read = functools.partial(_read_text, max_length=max_length)
    files = _Files(
        owner,
        os.fspath(directory),
        "texts",
        (".txt",),
        labels,
        label_mode,
        class_names,
        shuffle,
        seed,
        validation_split,
        subset,
        follow_links,
        verbose,
    )
    batch_size = _batch_size(owner, batch_size)
    return files.read(
        lambda *f: _pipeline(*f, read=read, seed=files.seed, batch_size=batch_size)
    )


def _read_text(path: str, max_length: int | None) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")[:max_length]
    except UnicodeDecodeError as error:
        raise CorruptFileError(
            f"{path} is no text in UTF-8: {error}. Convert it, or remove it."
        ) from error


# Sounds


def audio_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """Read the sounds in a folder as a `Dataset` of batches, each class a folder in it.

    Args:
        directory: the folder; its sounds are ``.wav`` files of PCM, 8 to 32 bits.
        labels: as of `image_dataset_from_directory`.
        label_mode: as there.
        class_names: as there.
        batch_size: sounds per batch; None for single ones.
        sampling_rate: samples per second to bring sounds to; their own by default.
        output_sequence_length: samples to bring sounds to, by cutting them or with
            zeros; by default as many as the longest sound of a batch has.
        ragged: give batches as nested tensors of torch, each sound of its length.
        shuffle: give sounds in another order in each pass.
        seed: the seed of that order, and of the split.
        validation_split: the share of the sounds that is for validation.
        subset: ``"training"``, ``"validation"`` or ``"both"``, for two data sets.
        follow_links: go into folders that are links.
        verbose: say how many files there are.

    Returns:
        A `Dataset` with `class_names` and `file_paths`, or a list of two. Sounds are
        floats from -1 to 1.

    Shape:
        ``(batch_size, samples, channels)`` and labels as of
        `image_dataset_from_directory`.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: when it holds no sound, or for arguments that do not fit.
        CorruptFileError: when a sound is read that is damaged; it is named.
    """
    owner = "audio_dataset_from_directory"
    if ragged and output_sequence_length is not None:
        raise ValueError(
            f"{owner}: only one of `ragged` and `output_sequence_length` may be given."
        )
    for name, value in (
        ("sampling_rate", sampling_rate),
        ("output_sequence_length", output_sequence_length),
    ):
        if value is not None:
            positive_integer(owner, name, value)
    read = functools.partial(
        read_wav, sampling_rate=sampling_rate, length=output_sequence_length
    )
    files = _Files(
        owner,
        os.fspath(directory),
        "sounds",
        (".wav",),
        labels,
        label_mode,
        class_names,
        shuffle,
        seed,
        validation_split,
        subset,
        follow_links,
        verbose,
    )
    batch_size = _batch_size(owner, batch_size)
    join = _nested if ragged else collate_padded
    join = collate if output_sequence_length is not None else join
    return files.read(
        lambda *f: _pipeline(
            *f, read=read, seed=files.seed, batch_size=batch_size, join=join
        )
    )


def _nested(elements: Sequence[Any]) -> Any:
    if isinstance(elements[0], tuple):
        sounds, labels = zip(*elements, strict=True)
        return _nested(sounds), collate(labels)
    return torch.nested.nested_tensor(list(elements), layout=torch.jagged)
