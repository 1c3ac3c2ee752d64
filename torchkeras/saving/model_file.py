"""`open_model_file`: the one way in for everything that reads a file.

What a file is, is told by its first bytes, not by what it is called: a file of another
kind under a name of ours is refused before anything parses it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from torchkeras._core import gate, strict_json
from torchkeras._core.errors import CorruptFileError, UnsafeFileError, did_you_mean
from torchkeras._core.limits import budget
from torchkeras._core.typing import PathLike
from torchkeras._core.writing import as_path, extension_of
from torchkeras.saving import (
    archive,
    hdf5,
    legacy,
    optimizer_state,
    tensor_file,
)
from torchkeras.saving.entries import Entry

EXTENSIONS = (".safetensors", ".keras", ".h5", ".hdf5")

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
#: Present in files that we wrote: they need no guesses about what Keras meant.
OWN_VERSION = "torchkeras_version"

#: Where HDF5 files of models keep the optimizer's state: ours, and Keras's. Keras 3
#: builds its optimizer over no weights at all when it finds a group of its own, and
#: cannot train on; our files leave it to begin anew.
OPTIMIZER_GROUP = "optimizer_state"
_KERAS_OPTIMIZER_GROUP = "optimizer_weights"

#: What Keras's store keeps beside weights.
_OPTIMIZER = "optimizer/vars/"
#: The same of models inside, compiled by themselves, and of an optimizer inside
#: another, among whose variables its own are too.
_OPTIMIZER_INSIDE = re.compile(r"(^|/)optimizer/(inner_optimizer/)*vars/")
_FIRST_KERAS_3_STORE = "_layer_checkpoint_dependencies"


Configs = tuple[dict[str, Any] | None, dict[str, Any] | None]


@dataclasses.dataclass
class ModelFile:
    """An open file: its JSON parts, and what tensors it lists.

    Args:
        path: where it is.
        layout: how tensors are named and laid out: by Keras 3's store, by layers as in
            Keras's older files, or by torch's `state_dict`.
        entries: the weights by name; in the ``"legacy"`` layout, `groups` has them.
        groups: the weights of each layer, in order.
        names: other names of the weights, in the ``"torch"`` layout, that do not depend
            on how layers are called.
        counted_apart: whether the keys of layers without given names in the ``"torch"``
            layout count those of one model, and not of a whole process.
        optimizer: the optimizer's state, in Keras's order.
        optimizer_state: reads the optimizer's state, in the ``"torch"`` layout.
        configs: reads the model's config and the arguments of `compile`, None in a file
            of weights alone. Who reads the weights has no use for them, so that a file
            may hold a config that is refused.
        members: the members of an archive.
        by_theano: whether Keras 1 or 2 wrote it with Theano.
    """

    path: Path
    layout: Literal["keras", "legacy", "torch"]
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)
    groups: list[tuple[str, list[Entry]]] = dataclasses.field(default_factory=list)
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    counted_apart: bool = True
    optimizer: list[Entry] = dataclasses.field(default_factory=list)
    optimizer_state: Callable[[], Any] | None = None
    configs: Callable[[], Configs] = lambda: (None, None)
    members: archive.Archive | None = None
    by_theano: bool = False


@contextlib.contextmanager
def open_model_file(caller: str, filepath: PathLike) -> Generator[ModelFile]:
    """Open a file of a model or of weights.

    Args:
        caller: the public call, for messages.
        filepath: the file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for an unknown extension.
        UnsafeFileError: for a file that must not be read.
        CorruptFileError: for a file that is damaged, or not what its name says.
    """
    path = as_path(caller, filepath)
    extension = extension_of(caller, path, EXTENSIONS)
    _check_exists(caller, path)
    with open(path, "rb") as raw:  # once: what takes its place meanwhile is not read
        size = os.fstat(raw.fileno()).st_size
        reader = _READERS[_kind_of(path, raw, size, extension)]
        with budget(size), reader(path, raw) as file:
            yield file


def _check_exists(caller: str, path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{caller}: '{path}' is a directory, expected a file.")
    if path.is_file():
        return
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise FileNotFoundError(
        f"{caller}: there is no file '{path}'.{did_you_mean(path.name, beside)}"
    )


_KINDS = {
    ".safetensors": "safetensors",
    ".keras": "archive",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
_NAMES = {
    "safetensors": "a safetensors file",
    "archive": "a zip archive, such as a .keras file",
    "hdf5": "an HDF5 file",
}
#: How files begin that people take for a model.
_OTHERS = {
    b"<": "a web page: the download failed",
    b"version https://git-lfs": "a pointer of Git LFS: the file itself was not fetched",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
}
_NO_PICKLES = (
    "Pickles can run code, and are never read. If you trust the file, read it by torch "
    "and save its tensors to a .safetensors file."
)


def _kind_of(path: Path, raw: BinaryIO, size: int, extension: str) -> str:
    """Return the kind of a file, told by its first bytes, if its name says the same."""
    head = raw.read(64)
    raw.seek(0)
    if not head:
        raise CorruptFileError(f"{path}: the file is empty.")
    kind = ""
    if head.startswith(hdf5.MAGIC):
        kind = "hdf5"
    elif head.startswith(archive.MAGIC):
        kind = "archive"
    elif tensor_file.looks_right(head, size):
        kind = "safetensors"
    expected = _KINDS[extension]
    if kind == expected:
        return kind
    if _is_pickle(head):
        raise UnsafeFileError(
            f"{path}: this is a pickle, not {_NAMES[expected]}. {_NO_PICKLES}"
        )
    other = next((o for start, o in _OTHERS.items() if head.startswith(start)), None)
    found = f" It is {_NAMES.get(kind, other)}." if kind or other else ""
    raise CorruptFileError(
        f"{path}: this is not {_NAMES[expected]}, or damaged.{found}"
    )


def _is_pickle(head: bytes) -> bool:
    return head[0] == 0x80 and head[1:2] <= b"\x05"


# The readers


@contextlib.contextmanager
def _read_archive(path: Path, raw: BinaryIO) -> Generator[ModelFile]:
    with archive.open_to_read(raw, str(path)) as members:
        if any(name.endswith("data.pkl") for name in members.names):
            raise UnsafeFileError(
                f"{path}: this is a checkpoint of PyTorch. {_NO_PICKLES}"
            )
        source = f"{path}, {WEIGHTS}"
        weights = members.open(WEIGHTS)
        with hdf5.open_to_read(weights, source, is_checked=True) as store:
            file = _read_store(path, store)
            file.configs = functools.partial(_configs_in_archive, path, members)
            file.members = members
            yield file


def _configs_in_archive(path: Path, members: archive.Archive) -> Configs:
    parsed = strict_json.parse(members.read(CONFIG), f"{path}, {CONFIG}")
    own = _was_written_by_us(members, path)
    return _checked_configs(parsed, f"{path}, {CONFIG}", own)


def _was_written_by_us(members: archive.Archive, path: Path) -> bool:
    if METADATA not in members.names:
        return False
    metadata = strict_json.parse(members.read(METADATA), f"{path}, {METADATA}")
    return isinstance(metadata, dict) and OWN_VERSION in metadata


def _checked_configs(parsed: Any, source: str, own: bool) -> Configs:
    config = legacy.modernize(gate.checked(parsed, source))
    compile_config = config.pop("compile_config", None)
    return config, _checked_compile_config(compile_config, source, own)


def _checked_compile_config(value: Any, source: str, own: bool) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise CorruptFileError(f"{source}: 'compile_config' must be an object.")
    if not own and value.get("jit_compile"):
        # Keras resolves "auto" before it writes; here compiling is the user's choice.
        value = {**value, "jit_compile": "auto"}
    return value or None


def _read_store(path: Path, store: hdf5.Store) -> ModelFile:
    """Read the list of a store of Keras 3."""
    entries: dict[str, Entry] = {}
    optimizer: dict[int, Entry] = {}
    for name, entry in store.entries.items():
        name = name.replace(_FIRST_KERAS_3_STORE, "layers")
        number = name.removeprefix(_OPTIMIZER)
        if number != name and number.isdecimal():
            optimizer[int(number)] = entry
        elif not _OPTIMIZER_INSIDE.search(name):
            entries[name] = dataclasses.replace(entry, name=name)
    ordered = [optimizer[number] for number in sorted(optimizer)]
    return ModelFile(path, "keras", entries=entries, optimizer=ordered)


@contextlib.contextmanager
def _read_hdf5(path: Path, raw: BinaryIO) -> Generator[ModelFile]:
    source = str(path)
    with hdf5.open_to_read(raw, source) as file:
        groups, attributes = file.groups, file.groups[""]
        is_legacy = "model_weights" in groups or attributes.keys() & {
            "layer_names",
            "layer_names0",
        }
        yield _read_legacy(path, file) if is_legacy else _read_store(path, file)


_OTHER_SIGMOID = (
    "{}: Keras 1 and 2 computed 'hard_sigmoid' as clip(0.2 * x + 0.5, 0, 1), Keras 3 "
    "and torchkeras as relu6(x + 3) / 6. Predictions will differ from those of the "
    "version that saved the model."
)


def _read_legacy(path: Path, file: hdf5.Store) -> ModelFile:
    """Read the list of an HDF5 file with a group for each layer of the model."""
    root = "model_weights" if "model_weights" in file.groups else ""
    names = file.names(root, "layer_names")
    top = "top_level_model_weights"
    if _below(root, top) in file.groups and top not in names:
        names.append(top)
    groups = [(name, _group_entries(file, _below(root, name))) for name in names]
    optimizer: list[Entry] = []
    for group in (OPTIMIZER_GROUP, _KERAS_OPTIMIZER_GROUP):
        if group in file.groups:
            optimizer = _group_entries(file, group)
            break
    model = ModelFile(path, "legacy", groups=groups, optimizer=optimizer)
    model.by_theano = file.text(root, "backend") == "theano"
    model.configs = functools.partial(_configs_in_hdf5, path, file)
    return model


def _configs_in_hdf5(path: Path, file: hdf5.Store) -> Configs:
    config = file.text("", "model_config")
    if config is None:
        return None, None
    where = f"{file.source}, model_config"
    version = file.text("", "keras_version") or "1"
    if version.startswith(("1", "2")) and '"hard_sigmoid"' in config:
        warnings.warn(_OTHER_SIGMOID.format(path), stacklevel=3)
    parsed = gate.checked(strict_json.parse(config, where), where)
    return legacy.modernize(parsed), _read_training_config(file)


def _below(path: str, name: str) -> str:
    return f"{path}/{name}".lstrip("/")


def _group_entries(file: hdf5.Store, path: str) -> list[Entry]:
    found = []
    for weight in file.names(path, "weight_names"):
        entry = file.entries.get(_below(path, weight))
        if entry is None:
            raise CorruptFileError(
                f"{file.source}: the group '{path}' lists the weight {weight!r} and "
                "does not have it."
            )
        found.append(dataclasses.replace(entry, label=weight))
    return found


def _read_training_config(file: hdf5.Store) -> Any:
    text = file.text("", "training_config")
    if text is None:
        return None
    where = f"{file.source}, training_config"
    parsed = strict_json.parse(text, where)
    gate.checked({"class_name": "", "config": parsed}, where)
    own = OWN_VERSION in file.groups[""]
    return _checked_compile_config(legacy.compile_config_of(parsed), where, own)


@contextlib.contextmanager
def _read_tensors(path: Path, raw: BinaryIO) -> Generator[ModelFile]:
    with tensor_file.open_to_read(path, raw) as file:
        parts, entries = file.parts, dict(file.entries)
        model = ModelFile(path, "torch")
        state = parts.get("optimizer")
        names = optimizer_state.names_in(state)
        if missing := [name for name in names if name not in entries]:
            raise CorruptFileError(f"{path}: there are no tensors {missing[:10]}.")
        beside = {name: entries.pop(name) for name in dict.fromkeys(names)}
        model.entries = entries
        if isinstance(names_of := parts.get("names"), dict):
            model.names = {key: str(names_of.get(key, key)) for key in entries}
            model.counted_apart = file.version > 1
        if state is not None:
            model.optimizer_state = functools.partial(
                optimizer_state.unpack, state, lambda name: beside[name].read()
            )
        if (config := parts.get("config")) is not None:
            model.configs = functools.partial(
                _checked_configs, config, f"{path}, config", own=True
            )
        yield model


_Reader = Callable[[Path, BinaryIO], contextlib.AbstractContextManager[ModelFile]]
_READERS: dict[str, _Reader] = {
    "archive": _read_archive,
    "hdf5": _read_hdf5,
    "safetensors": _read_tensors,
}
