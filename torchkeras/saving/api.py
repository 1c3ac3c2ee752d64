"""`save_model`, `load_model`, `save_weights`, `load_weights`."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
from torch import Tensor

from torchkeras._core import gate, strict_json, torch_functions, torch_modules, turns
from torchkeras._core.errors import invalid_argument, shortened
from torchkeras._core.naming import LEGAL_NAME, is_legal_name
from torchkeras._core.registry import serialize_object
from torchkeras._core.typing import PathLike
from torchkeras._core.writing import check_target, may_replace, replacing
from torchkeras.layers.configs import check_arguments
from torchkeras.layers.layer import Layer
from torchkeras.saving import (
    assets,
    hdf5,
    legacy,
    loading,
    optimizer_state,
    slots,
    tensor_file,
)
from torchkeras.saving.model_file import (
    CONFIG,
    METADATA,
    OPTIMIZER_GROUP,
    OWN_VERSION,
    WEIGHTS,
    open_model_file,
)

if TYPE_CHECKING:  # what is returned, of a floor above
    from torchkeras.models.model import Model
from torchkeras.version import __version__

#: The version of Keras whose formats we write.
_KERAS_VERSION = "3.15.1"


def save_model(
    model: Any,
    filepath: PathLike,
    overwrite: bool = True,
    zipped: bool | None = None,
    include_optimizer: bool = True,
) -> None:
    """Save a model: its architecture, weights, `compile`'s arguments, optimizer state.

    The file appears whole or not at all: a crash, a full disk or a kill leave what was
    there before.

    Args:
        model: the model.
        filepath: ends in ``.safetensors`` (torch's layout, with the config in the
            header), ``.keras`` or ``.h5`` (Keras's formats, which Keras opens).
        overwrite: replace a file that is there; otherwise ask in a terminal, and refuse
            elsewhere.
        zipped: accepted for Keras's signature; a model is always one file.
        include_optimizer: save how the model was compiled and the optimizer's state.

    Raises:
        ValueError: for another extension, or what JSON cannot hold.
        TypeError: for a class of your own whose config its constructor does not take.
        FileNotFoundError: when the directory is missing.
        FileExistsError: when the file is there and must not be replaced.
        OSError: when it cannot be written.

    Example:
        >>> import os, tempfile
        >>> from torchkeras.layers import Dense
        >>> from torchkeras.models import Sequential
        >>> model = Sequential([Dense(3, input_shape=(4,))])
        >>> path = os.path.join(tempfile.mkdtemp(), "model.keras")
        >>> save_model(model, path)
        >>> load_model(path).count_params()
        15
    """
    path, extension = check_target("save_model", filepath, tuple(_MODEL_WRITERS))
    if zipped is False:
        expected = "True or None: a model is saved as one file"
        raise ValueError(invalid_argument("save_model", "zipped", expected, zipped))
    if not hasattr(model, "layers"):
        raise TypeError(
            f"save_model: expected a model, got {type(model).__name__}. Put a layer "
            "into a `Sequential` first."
        )
    if not may_replace("save_model", path, overwrite):
        return
    if not model.built:
        warnings.warn(
            f"The model '{model.name}' is not built: the file will hold no weights. "
            "Call it on data, or `build(input_shape)` first.",
            stacklevel=3,
        )
    _check_names(model)
    _check_constructors(model)
    with replacing(path) as temporary:
        lost = turns.alone(_write, temporary, extension, model, include_optimizer)
        if lost is not None:
            warnings.warn(
                f"The file will not say how the model '{model.name}' was compiled; "
                f"compile it again after loading. The reason: {lost}",
                stacklevel=3,
            )


def load_model(
    filepath: PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    *,
    check_finite: bool = False,
) -> Model:
    """Load a model that `save_model` or Keras (1, 2 or 3) wrote.

    Nothing that the file contains is run, and no other file is read.

    Args:
        filepath: a ``.safetensors``, ``.keras`` or ``.h5`` file.
        custom_objects: classes and functions of your own that the file names.
        compile: compile the model as it was, and restore the optimizer's state.
        safe_mode: accepted for Keras's signature. Loading is always safe: code stored
            in a file is never run, with ``safe_mode=False`` neither. Where a file holds
            the bytecode of a lambda, make the model in Python and `load_weights`.
        check_finite: refuse weights that hold NaN or infinite values; otherwise a
            warning names them.

    Raises:
        FileNotFoundError: when there is no such file.
        CorruptFileError: when it is damaged, or not what its name says.
        UnsafeFileError: when it asks for what loading must not do.
        ValueError: for another extension, or a file that holds weights only.
    """
    with open_model_file("load_model", filepath) as file:
        config, compile_config = file.configs()
        model = loading.make_model(file, config, custom_objects, check_finite)
        if compile:
            loading.compile_model(file, model, compile_config, custom_objects)
        return model


def save_weights(
    model: Any,
    filepath: PathLike,
    overwrite: bool = True,
    max_shard_size: float | None = None,
    objects_to_skip: Collection[Any] | None = None,
) -> None:
    """Save the weights of a model or of a layer.

    Args:
        model: the model.
        filepath: ends in ``.weights.h5`` (Keras's format, with the state of the
            optimizer as there) or ``.safetensors`` (torch's `state_dict`).
        overwrite: replace a file that is there; otherwise ask in a terminal, and refuse
            elsewhere.
        max_shard_size: not supported: weights are one file.
        objects_to_skip: layers to leave out.

    Raises:
        ValueError: for another extension, or before the model is built.
        FileNotFoundError: when the directory is missing.
        FileExistsError: when the file is there and must not be replaced.
        OSError: when it cannot be written.
    """
    path, extension = check_target("save_weights", filepath, tuple(_WEIGHT_WRITERS))
    if max_shard_size is not None:
        expected = "None: weights are saved as one file"
        raise ValueError(
            invalid_argument("save_weights", "max_shard_size", expected, max_shard_size)
        )
    _check_built("save_weights", model)
    if may_replace("save_weights", path, overwrite):
        _check_names(model)
        with replacing(path) as temporary:
            writer, skipped = _WEIGHT_WRITERS[extension], objects_to_skip or ()
            turns.alone(writer, temporary, model, skipped)


def load_weights(
    model: Any,
    filepath: PathLike,
    skip_mismatch: bool = False,
    by_name: bool = False,
    objects_to_skip: Collection[Any] | None = None,
    *,
    check_finite: bool = False,
) -> None:
    """Load weights into a model; all of them or none.

    Args:
        model: the model.
        filepath: a file of weights, or of a whole model, in any of our formats.
        skip_mismatch: load what fits, and warn about the rest.
        by_name: match layers by name; only for ``.h5`` files in the older format.
        objects_to_skip: layers to leave as they are.
        check_finite: refuse weights that hold NaN or infinite values; otherwise a
            warning names them.

    Raises:
        FileNotFoundError: when there is no such file.
        CorruptFileError: when it is damaged, or not what its name says.
        UnsafeFileError: when it asks for what loading must not do.
        ValueError: when weights are missing, too many or of other shapes, with lists
            of them; the model is as it was.
    """
    _check_built("load_weights", model)
    with open_model_file("load_weights", filepath) as file:
        if by_name and file.layout != "legacy":
            raise ValueError(
                "load_weights: `by_name` works for .h5 files in Keras's older format "
                f"only; '{file.path}' has names of its own. Leave it out."
            )
        found = loading.match(file, model, objects_to_skip or (), by_name)
        if complaints := found.complaints():
            text = f"'{file.path}' does not fit the model '{model.name}'."
            if not skip_mismatch:
                how = "Nothing was changed; pass skip_mismatch=True to load what fits."
                raise ValueError(shortened(f"load_weights: {text} {how}{complaints}"))
            text = shortened(f"{text} The rest was loaded.{complaints}")
            warnings.warn(text, stacklevel=3)
        loading.load_into(file, model, found, check_finite)


def parse_json(text: str | bytes, source: str = "JSON") -> dict[str, Any]:
    """Return the config that a JSON text of any Keras holds, checked as a file's is.

    Args:
        text: the JSON.
        source: where it comes from, for messages.

    Raises:
        CorruptFileError: for what is no JSON, or no config.
        UnsafeFileError: for code in it.

    Example:
        >>> parse_json('{"class_name": "Dense", "config": {"units": 3}}')
        {'class_name': 'Dense', 'config': {'units': 3}}
    """
    return legacy.modernize(gate.checked(strict_json.parse(text, source), source))


# Checks


def _check_built(caller: str, model: Any) -> None:
    if not isinstance(model, Layer):
        raise TypeError(f"{caller}: expected a model, got {type(model).__name__}.")
    if not model.built:
        raise ValueError(
            f"{caller}: the model '{model.name}' is not built, so it has no weights "
            "yet. Call it on data, or `build(input_shape)` first."
        )


def _check_names(model: Any) -> None:
    """Refuse names that are no parts of a path: a file's groups are named by them."""
    for layer in model.modules():
        if not isinstance(layer, Layer):
            continue
        name = layer.name
        if not name or not is_legal_name(name):
            raise ValueError(
                f"Cannot save a layer named {name!r}: a name must be {LEGAL_NAME}. Set "
                "`layer.name` to another one."
            )


def _check_constructors(model: Any) -> None:
    """Refuse classes of the user's own that could not be made from their config."""
    cls = type(model)
    if slots.has_layers_only(model):
        for layer in model.layers:
            _check_constructors(layer)
    elif isinstance(model, Layer) and not cls.__module__.startswith("torchkeras."):
        reader = getattr(cls.from_config, "__func__", None)
        if getattr(reader, "__module__", "").startswith("torchkeras."):
            check_arguments(cls, model.get_config())


def _config_to_write(model: Any, extension: str) -> dict[str, Any]:
    """Return a model's config, after the checks that reading it will make.

    Raises:
        ValueError: for what the file could not hold, or could not be read from it.
    """
    with assets.in_configs(extension != ".keras"):
        config = serialize_object(model)
    if extension == ".safetensors":
        config = strict_json.spelled(config)
    else:
        _refuse_what_keras_lacks(extension, config)
    source = f"The config of the model '{model.name}'"
    return gate.checked(
        strict_json.parse(strict_json.dump(config, source), source), source
    )


def _refuse_what_keras_lacks(extension: str, config: Any) -> None:
    """Refuse parts of a graph that Keras has no name for, such as torch's functions."""
    waiting = [(config, "")]
    while waiting:
        part, owner = waiting.pop()
        if isinstance(part, Mapping):
            owner = part.get("name") or owner
            if what := _lacking_in_keras(part, owner):
                raise ValueError(
                    f"Cannot save to a {extension} file: {what}. Or "
                    "save to `.safetensors`, or the weights alone by `save_weights`."
                )
            waiting.extend((value, owner) for value in part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend((value, owner) for value in part)


def _lacking_in_keras(part: Mapping[str, Any], owner: str) -> str | None:
    """Say what a part of a config is that Keras has no form for, and what to do."""
    name, inner = part.get("class_name"), part.get("config")
    if part.get("module") == torch_functions.MODULE:
        called = inner if name == "function" else name
        return (
            f"the model calls {called} (in '{owner}'), which Keras does not know. Use "
            "the function of `torchkeras.ops`"
        )
    if part.get("module") == torch_modules.MODULE:
        return (
            f"the model holds the torch module {name} (in '{owner}'), which Keras does "
            "not know. Use the layer of `torchkeras.layers`"
        )
    if name == "AddLoss" and "inbound_nodes" in part:
        return (
            f"the loss has a term of `model.add_loss` (in '{owner}'), which Keras has "
            "no form for. Call `add_loss` in a layer of your own"
        )
    complex_array = isinstance(inner, Mapping) and "complex" in str(inner.get("dtype"))
    if name == "__complex__" or (name in gate.ARRAYS and complex_array):
        return (
            f"the config of '{owner}' has complex numbers, which Keras has no form "
            "for. Make them of real ones in a layer of your own"
        )
    return None


# What is saved


def _write(
    path: Path, extension: str, model: Any, include_optimizer: bool
) -> str | None:
    """Write a model as it is at one moment.

    Returns:
        Why the file does not say how the model was compiled, None if it does.
    """
    config, compile_config = _config_to_write(model, extension), None
    lost = None
    if include_optimizer:
        try:
            compile_config = model.get_compile_config() or None
            strict_json.dump(compile_config, "the arguments of `compile`")
        except (TypeError, ValueError, NotImplementedError) as error:
            compile_config, lost = None, str(error)
    _MODEL_WRITERS[extension](path, model, config, compile_config)
    return lost


# The writers


def _write_archive(
    path: Path,
    model: Any,
    config: dict[str, Any],
    compile_config: dict[str, Any] | None,
) -> None:
    if compile_config is not None:
        config = {**config, "compile_config": compile_config}
    # No date: equal models are equal files.
    metadata = {"keras_version": _KERAS_VERSION, OWN_VERSION: __version__}
    with (
        tempfile.TemporaryFile(dir=path.parent) as weights,
        zipfile.ZipFile(path, "w") as archive,
    ):
        for name, part in ((METADATA, metadata), (CONFIG, config)):
            text = strict_json.dump(part, f"the model's {name}")
            archive.writestr(zipfile.ZipInfo(name), text)
        _write_store(weights, model, compile_config is not None)
        weights.seek(0)
        member = zipfile.ZipInfo(WEIGHTS)
        with archive.open(member, "w", force_zip64=True) as member:
            shutil.copyfileobj(weights, member, 2**20)
        assets.write(archive, model)


def _write_store(
    file: BinaryIO,
    model: Any,
    with_optimizer: bool,
    skipped: Collection[Any] = (),
) -> None:
    """Write weights as Keras 3's store has them."""
    with hdf5.open_to_write(file) as writer:
        root = writer.root
        for place in slots.keras_places(model, skipped):
            group = hdf5.subgroup(root, [*filter(None, place.path.split("/")), "vars"])
            group.attrs["name"] = place.layer.name
            for slot in place.slots:
                writer.tensor(group, slot.path.rpartition("/")[2], slot.tensor)
        states = optimizer_state.listed(model) if with_optimizer else ()
        for path, optimizer, values in states:
            group = hdf5.subgroup(root, [*path.split("/"), "vars"])
            group.attrs["name"] = optimizer.name
            for number, (_, value) in enumerate(values):
                writer.tensor(group, str(number), value)


def _write_legacy(
    path: Path,
    model: Any,
    config: dict[str, Any],
    compile_config: dict[str, Any] | None,
) -> None:
    with open(path, "wb+") as raw, hdf5.open_to_write(raw) as writer:
        file = writer.root
        file.attrs["backend"] = "torch"
        file.attrs["keras_version"] = _KERAS_VERSION
        file.attrs[OWN_VERSION] = __version__
        whole = legacy.without_module(config)
        if "build_config" in config and not slots.has_layers_only(model):
            whole["build_config"] = config["build_config"]  # its weights need shapes
        text = strict_json.dump(whole, "the model's config")
        writer.text(file, "model_config", text)
        if compile_config is not None:
            training = legacy.training_config_of(compile_config)
            text = strict_json.dump(training, "the arguments of `compile`")
            writer.text(file, "training_config", text)
        _write_groups(writer, file.create_group("model_weights"), model)
        if compile_config is not None:
            group, taken = file.create_group(OPTIMIZER_GROUP), {}
            _, _, values = next(optimizer_state.listed(model), ("", None, []))
            named = {slots.unique_name(name, taken): value for name, value in values}
            _write_group(writer, group, named)


def _write_groups(writer: hdf5.Writer, root: h5py.Group, model: Any) -> None:
    root.attrs["backend"] = "torch"
    root.attrs["keras_version"] = _KERAS_VERSION
    groups = slots.legacy_groups(model)
    writer.names(root, "layer_names", [name for name, _ in groups])
    groups.append(("top_level_model_weights", slots.legacy_top_level(model)))
    for name, weights in groups:
        values = {slot.path: slot.tensor for slot in slots.trained_first(weights)}
        _write_group(writer, root.create_group(name), values)


def _write_group(
    writer: hdf5.Writer, group: h5py.Group, values: Mapping[str, Tensor]
) -> None:
    writer.names(group, "weight_names", list(values))
    for path, value in values.items():
        *parents, name = path.split("/")
        writer.tensor(hdf5.subgroup(group, parents), name, value)


def _write_tensors(
    path: Path,
    model: Any,
    config: dict[str, Any],
    compile_config: dict[str, Any] | None,
) -> None:
    tensors = {key: slot.tensor for key, slot in slots.torch_slots(model).items()}
    prefix = "optimizer."
    while any(key.startswith(prefix) for key in tensors):
        prefix = f"_{prefix}"  # a layer has that name
    parts: dict[str, Any] = {"config": config, "names": slots.stable_names(model)}
    if compile_config is not None:
        parts["config"] = {**config, "compile_config": compile_config}
        parts["optimizer"], state = optimizer_state.pack(model, prefix.rstrip("."))
        tensors |= state
    tensor_file.write(path, tensors, parts)


def _write_store_file(path: Path, model: Any, skipped: Collection[Any]) -> None:
    optimizer = getattr(model, "optimizer", None)
    with open(path, "wb+") as file:
        _write_store(file, model, getattr(optimizer, "built", False), skipped)


def _write_tensor_file(path: Path, model: Any, skipped: Collection[Any]) -> None:
    found = slots.torch_slots(model, skipped)
    tensors = {key: slot.tensor for key, slot in found.items()}
    tensor_file.write(path, tensors, {"names": slots.stable_names(model)})


_MODEL_WRITERS: dict[str, Callable[..., None]] = {
    ".safetensors": _write_tensors,
    ".keras": _write_archive,
    ".h5": _write_legacy,
    ".hdf5": _write_legacy,
}
_WEIGHT_WRITERS: dict[str, Callable[..., None]] = {
    ".safetensors": _write_tensor_file,
    ".weights.h5": _write_store_file,
}
