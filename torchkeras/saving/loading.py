"""From a file into a model: everything is compared before anything is changed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Collection, Generator, Mapping
from typing import Any

import torch

from torchkeras._core import sharing
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.registry import (
    custom_object_scope,
    deserialize_object,
    family_of,
    find_class,
)
from torchkeras.saving import legacy_arrays, optimizer_state, slots
from torchkeras.saving.entries import Entry
from torchkeras.saving.model_file import ModelFile
from torchkeras.saving.slots import Slot

#: What making an object from a config may raise when the config is wrong.
_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_TOP_LEVEL = "top_level_model_weights"


@dataclasses.dataclass
class Match:
    """Which tensor of a file belongs to which weight of a model.

    Args:
        pairs: the weights with their tensors.
        missing: weights without a tensor in the file.
        extra: tensors without a weight in the model.
    """

    pairs: list[tuple[Slot, Entry]] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    extra: list[str] = dataclasses.field(default_factory=list)

    @property
    def fitting(self) -> list[tuple[Slot, Entry]]:
        """The pairs whose shapes and dtypes fit."""
        return [pair for pair in self.pairs if _difference(*pair) is None]

    def complaints(self) -> str:
        """Return all that does not fit, as lines; nothing if all does."""
        differences = [_difference(*pair) for pair in self.pairs]
        lists = {
            "Weights that are missing in the file": self.missing,
            "Weights of the file that the model does not have": self.extra,
            "Weights that differ": [d for d in differences if d is not None],
        }
        return "".join(
            f"\n{title}:\n  " + "\n  ".join(lines)
            for title, lines in lists.items()
            if lines
        )


_RANKS = {"bool": 0, "int": 1, "uint": 1, "float": 2, "bfloat": 2, "complex": 3}


def _rank(dtype: torch.dtype) -> int:
    return _RANKS[str(dtype).removeprefix("torch.").split("_")[0].rstrip("0123456789")]


def _difference(slot: Slot, entry: Entry) -> str | None:
    expected = slot.tensor.dtype
    if slot.shape != entry.shape:
        return f"{slot}: expected shape {slot.shape}, the file has {entry.shape}"
    if _rank(entry.dtype) > _rank(expected):
        return f"{slot}: expected {expected}, the file has {entry.dtype}"
    return None


# Comparing


def match(
    file: ModelFile, model: Any, skipped: Collection[Any] = (), by_name: bool = False
) -> Match:
    """Find out which tensors of a file belong to which weights of a model.

    Args:
        file: the file.
        model: the model.
        skipped: layers to leave out.
        by_name: match the groups of an old HDF5 file with layers of their names.
    """
    if file.layout == "legacy":
        return _match_groups(file, model, by_name)
    find = slots.keras_slots if file.layout == "keras" else slots.torch_slots
    wanted, entries = find(model, skipped), file.entries
    known = find(model).keys() if skipped else wanted.keys()
    if file.names:
        names = slots.stable_names(model)
        stable = {file.names[key]: entry for key, entry in entries.items()}
        if len(stable.keys() & names.values()) > len(entries.keys() & known):
            wanted = {names[key]: slot for key, slot in wanted.items()}
            known, entries = {names[key] for key in known}, stable
    return Match(
        pairs=[(s, entries[path]) for path, s in wanted.items() if path in entries],
        missing=[str(s) for path, s in wanted.items() if path not in entries],
        extra=[entry.name for path, entry in entries.items() if path not in known],
    )


def _match_groups(file: ModelFile, model: Any, by_name: bool) -> Match:
    groups = {n: e for n, e in file.groups if e and n != _TOP_LEVEL}
    own = {n: s for n, s in slots.legacy_groups(model) if s}
    if not by_name and len(groups) == len(own):
        names = list(zip(own, groups, strict=True))  # in order, whatever the names
    else:
        names = [(name, name) for name in own if name in groups]
    result = Match()
    layers = dict(slots.named_layers(model))
    for name, theirs in names:
        entries, expected = groups[theirs], own[name]
        shapes = [slot.shape for slot in expected]
        entries = legacy_arrays.adapt(layers[name], entries, shapes, file.by_theano)
        _match_in_order(name, expected, entries, result)
    if by_name:
        return result
    paired = {ours for ours, _ in names}, {theirs for _, theirs in names}
    for name in (name for name in own if name not in paired[0]):
        _match_in_order(name, own[name], [], result)
    for name in (name for name in groups if name not in paired[1]):
        _match_in_order(name, [], groups[name], result)
    top = next((e for n, e in file.groups if n == _TOP_LEVEL), None)
    if top is not None:
        _match_in_order(_TOP_LEVEL, slots.legacy_top_level(model), top, result)
    return result


def _match_in_order(
    name: str, expected: list[Slot], entries: list[Entry], result: Match
) -> None:
    for slot, entry in itertools.zip_longest(expected, entries):
        if slot is None:
            result.extra.append(entry.name)
        elif entry is None:
            result.missing.append(f"{name}: {slot}")
        else:
            result.pairs.append((slot, entry))


# Copying


def load_into(file: ModelFile, model: Any, found: Match) -> None:
    """Read all tensors that fit, then put them into the model.

    The optimizer's are among them if the model is compiled and every weight fits.
    """
    values = [(slot, entry.read()) for slot, entry in found.fitting]
    whole = not found.complaints() and getattr(model, "optimizer", None) is not None
    state = _read_state(file) if whole else None
    if file.layout == "torch":
        # Modules may have hooks on loading, so it is theirs to do.
        model.load_state_dict({s.path: v for s, v in values}, strict=False)
    else:
        for slot, value in values:
            slot.weight.assign(value)
    _restore_optimizer(file, model, state, found)


def _read_state(file: ModelFile) -> Any:
    if file.optimizer_state is not None:
        return file.optimizer_state()
    return [entry.read() for entry in file.optimizer]


def _restore_optimizer(file: ModelFile, model: Any, state: Any, found: Match) -> None:
    if not state:
        return
    try:
        if file.layout == "torch":
            names = {slot.path: entry.name for slot, entry in found.pairs}
            optimizer_state.restore(model, state, names)
            return
        weights = model.trainable_weights
        if len(state) <= 2:
            # Saved before the first step: the count and the rate, nothing for weights.
            weights = None
            state += [v.value for v in model.optimizer.variables[len(state) :]]
        model.optimizer.load_state_from_keras(weights, state)
    except _FAILURES as error:
        warnings.warn(
            f"{file.path}: the state of the optimizer was not restored, it begins "
            f"anew: {error}",
            stacklevel=5,
        )


# Making a model


def make_model(file: ModelFile, custom_objects: Mapping[str, Any] | None) -> Any:
    """Make the model of a file, with its weights.

    It is made on the `meta` device first, where weights take no memory, and its shapes
    are compared with the file's: so a file cannot ask for more than it holds.

    Raises:
        CorruptFileError: when its parts do not fit together.
        UnsafeFileError: when it names what is in no table.
    """
    if file.config is None:
        raise ValueError(
            f"load_model: '{file.path}' holds weights only. Make the model, and pass "
            "the file to its `load_weights`."
        )
    with custom_object_scope(custom_objects or {}):
        if _is_built_in(file.config):
            with torch.device("meta"):
                _checked_match(file, _from_config(file, file.config))
        model = _from_config(file, file.config)
    load_into(file, model, _checked_match(file, model))
    return model


def _checked_match(file: ModelFile, model: Any) -> Match:
    found = match(file, model)
    if complaints := found.complaints():
        raise CorruptFileError(
            f"load_model: the weights in '{file.path}' do not fit the model that its "
            f"config describes. Use another copy of the file.{complaints}"
        )
    return found


def _is_built_in(config: Any) -> bool:
    """Say whether a config names no class of the user's own.

    Such a class may do in its constructor what `meta` tensors cannot.
    """
    if isinstance(config, list):
        return all(_is_built_in(item) for item in config)
    if not isinstance(config, dict):
        return True
    name = config.get("class_name", "")
    if name and not name.startswith("__") and name != "function":
        with contextlib.suppress(ValueError):
            if family_of(find_class(config)) is None:
                return False
    return all(_is_built_in(value) for value in config.values())


def _from_config(file: ModelFile, config: Any) -> Any:
    with _explaining(file, "the model cannot be made from its config"):
        with sharing.reading(anew=True):
            model = deserialize_object(config)
        if not hasattr(model, "layers"):
            raise ValueError(f"{config['class_name']!r} is no model")
        return model


@contextlib.contextmanager
def _explaining(file: ModelFile, what: str) -> Generator[None]:
    """Name the file in whatever goes wrong with its config."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{file.path}: {what}: {error}") from None
    except KeyError as error:
        missing = f"{file.path}: {what}: the key {error} is missing"
        raise CorruptFileError(missing) from error
    except _FAILURES as error:
        raise CorruptFileError(f"{file.path}: {what}: {error}") from error


def compile_model(
    file: ModelFile, model: Any, custom_objects: Mapping[str, Any] | None
) -> None:
    """Compile a model as the file says, and restore the optimizer's state."""
    config = file.compile_config
    if config is None:
        return
    advice = "the model cannot be compiled as it was (compile=False leaves that out)"
    with custom_object_scope(custom_objects or {}), _explaining(file, advice):
        model.compile_from_config(config)
    _restore_optimizer(file, model, _read_state(file), match(file, model))
