"""From a file into a model: everything is compared before anything is changed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from torchkeras._core import gate, limits, sharing, torch_modules
from torchkeras._core.context import context
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.naming import looks_automatic
from torchkeras._core.registry import (
    custom_object_scope,
    deserialize_object,
    family_of,
    find_class,
)
from torchkeras._core.undo import Undo, all_at_once
from torchkeras._core.variable import unfilled
from torchkeras.saving import (
    assets,
    legacy_arrays,
    legacy_names,
    optimizer_state,
    slots,
)
from torchkeras.saving.entries import Entry
from torchkeras.saving.model_file import ModelFile
from torchkeras.saving.slots import Slot

_TOP_LEVEL = "top_level_model_weights"


@dataclasses.dataclass
class Match:
    """Which tensor of a file belongs to which weight of a model.

    Args:
        pairs: the weights with their tensors.
        missing: weights without a tensor in the file.
        extra: tensors without a weight in the model.
        doubtful: weights of which names and order in the file say different things.
    """

    pairs: list[tuple[Slot, Entry]] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    extra: list[str] = dataclasses.field(default_factory=list)
    doubtful: list[str] = dataclasses.field(default_factory=list)

    @property
    def fitting(self) -> list[tuple[Slot, Entry]]:
        """The pairs whose shapes and dtypes fit."""
        return [pair for pair in self.pairs if _difference(*pair) is None]

    @property
    def names(self) -> dict[str, str]:
        """What the file calls the weights, by their paths."""
        return {slot.path: entry.name for slot, entry in self.pairs}

    def complaints(self) -> str:
        """Return all that does not fit, as lines; nothing if all does."""
        differences = [_difference(*pair) for pair in self.pairs]
        lists = {
            "Weights that are missing in the file": self.missing,
            "Weights of the file that the model does not have": self.extra,
            "Weights that differ": [d for d in differences if d is not None],
            "Names and order in the file contradict each other (call layers as the "
            "file does, or freeze the same ones; by_name=True goes by the names of "
            "layers alone)": self.doubtful,
        }
        return "".join(
            f"\n{title}:\n  " + "\n  ".join(_first(lines))
            for title, lines in lists.items()
            if lines
        )


#: Messages list no more than this of a kind: a file may name a million tensors.
_LISTED = 20


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _LISTED
    return [line[:200] for line in lines[:_LISTED]] + [f"and {more:,} more"] * (
        more > 0
    )


#: What no float weight was saved as.
_NO_FLOATS = (torch.bool, torch.uint64)
_RANKS = {"bool": 0, "int": 1, "uint": 1, "float": 2, "bfloat": 2, "complex": 3}


def _rank(dtype: torch.dtype) -> int:
    return _RANKS[str(dtype).removeprefix("torch.").split("_")[0].rstrip("0123456789")]


def _difference(slot: Slot, entry: Entry) -> str | None:
    expected = slot.tensor.dtype
    if slot.shape != entry.shape:
        return f"{slot}: expected shape {slot.shape}, the file has {entry.shape}"
    unlike = expected.is_floating_point and entry.dtype in _NO_FLOATS
    if unlike or _rank(entry.dtype) > _rank(expected):
        return f"{slot}: expected {expected}, the file has {entry.dtype}"
    return None


# Comparing


def match(
    file: ModelFile,
    model: Any,
    skipped: Collection[Any] = (),
    by_name: bool = False,
    frozen_alike: bool = False,
) -> Match:
    """Find out which tensors of a file belong to which weights of a model.

    Args:
        file: the file.
        model: the model.
        skipped: layers to leave out.
        by_name: match the groups of an old HDF5 file with layers of their names.
        frozen_alike: whether the same layers are frozen as when the file was written.
    """
    if file.layout == "legacy":
        return _LegacyMatch(file, model, by_name, frozen_alike).result
    find = slots.keras_slots if file.layout == "keras" else slots.torch_slots
    wanted, entries = find(model, skipped), file.entries
    known = find(model).keys() if skipped else wanted.keys()
    if file.names:
        names = slots.stable_names(model)
        stable = {file.names[key]: entry for key, entry in entries.items()}
        by_class = len(stable.keys() & names.values())
        by_key = len(entries.keys() & known)
        if by_class > by_key or (by_class == by_key and not file.counted_apart):
            wanted = {names[key]: slot for key, slot in wanted.items()}
            known, entries = {names[key] for key in known}, stable
    return Match(
        pairs=[(s, entries[path]) for path, s in wanted.items() if path in entries],
        missing=[str(s) for path, s in wanted.items() if path not in entries],
        extra=[entry.name for path, entry in entries.items() if path not in known],
    )


class _LegacyMatch:
    """Matches an older HDF5 file: groups with layers, then weights within a group."""

    def __init__(
        self, file: ModelFile, model: Any, by_name: bool, frozen_alike: bool
    ) -> None:
        self.result = Match()
        self._frozen_alike = frozen_alike
        self._by_theano = file.by_theano
        self._layers = dict(slots.named_layers(model))
        self._groups = {n: e for n, e in file.groups if e and n != _TOP_LEVEL}
        self._own = {n: s for n, s in slots.legacy_groups(model) if s}
        pairs = self._pair_layers(by_name)
        for name, theirs in pairs:
            self._match_layer(name, theirs)
        if by_name:
            return
        paired = {ours for ours, _ in pairs}, {theirs for _, theirs in pairs}
        for name in (name for name in self._own if name not in paired[0]):
            self.result.missing += [f"{name}: {slot}" for slot in self._own[name]]
        for name in (name for name in self._groups if name not in paired[1]):
            self.result.extra += [entry.name for entry in self._groups[name]]
        top = next((e for n, e in file.groups if n == _TOP_LEVEL), None)
        if top is not None:
            own = slots.trained_first(slots.legacy_top_level(model))
            self._match_weights(_TOP_LEVEL, own, top)

    def _pair_layers(self, by_name: bool) -> list[tuple[str, str]]:
        """Pair our layers with groups: by names if all fit, or by their order."""
        common = [(name, name) for name in self._own if name in self._groups]
        alike = len(self._groups) == len(self._own)
        if by_name or not alike or len(common) == len(self._own):
            return common
        return list(zip(self._own, self._groups, strict=True))

    def _is_doubtful(self, name: str, theirs: str) -> bool:
        """Say whether a pair by order goes against a name that somebody gave."""
        if name == theirs:
            return False
        return (name in self._groups and self._is_given(name)) or (
            theirs in self._own and self._is_given(theirs)
        )

    def _is_given(self, name: str) -> bool:
        layer = self._layers[name]
        return not looks_automatic(name, type(layer).__name__)

    def _match_layer(self, name: str, theirs: str) -> None:
        entries = self._groups[theirs]
        expected = slots.trained_first(self._own[name])
        if self._is_doubtful(name, theirs):
            doubt = f"the layer '{name}' and the file's '{theirs}' are at one position"
            self.result.doubtful.append(doubt)
            return
        shapes = [slot.shape for slot in expected]
        layer = self._layers[name]
        entries = legacy_arrays.adapt(layer, entries, shapes, self._by_theano)
        self._match_weights(name, expected, entries)

    def _match_weights(
        self, name: str, expected: list[Slot], entries: list[Entry]
    ) -> None:
        own = [slot.path for slot in expected]
        theirs = [entry.own_name for entry in entries]
        order = legacy_names.pair(own, theirs)
        if order is not None:
            found = [entries[index] for index in order]
            self.result.pairs += zip(expected, found, strict=True)
            return
        reasons = self._doubts(name, own, theirs)
        for slot, entry, doubt in itertools.zip_longest(expected, entries, reasons):
            if slot is None:
                self.result.extra.append(entry.name)
            elif entry is None:
                self.result.missing.append(f"{name}: {slot}")
            elif doubt:
                self.result.doubtful.append(f"{name}: {slot} and '{entry.own_name}'")
            else:
                self.result.pairs.append((slot, entry))

    def _doubts(self, name: str, own: list[str], theirs: list[str]) -> list[bool]:
        """Say which pairs by order could be others."""
        doubts = legacy_names.contradicts(own, theirs)
        if self._frozen_alike or name not in self._own:
            return doubts
        unfrozen = slots.trained_first(self._own[name], frozen=False)
        return [
            doubt or path != other.path
            for doubt, path, other in zip(doubts, own, unfrozen, strict=False)
        ]


# Copying


def load_into(
    file: ModelFile,
    model: Any,
    found: Match,
    check_finite: bool = False,
    is_new: bool = False,
) -> None:
    """Read all tensors that fit, then put them into the model: all of them or none.

    The optimizer's are among them if the model is compiled and every weight fits. A new
    model, which nobody has yet, gets each one as it is read.

    Raises:
        CorruptFileError: for NaN or infinite values, if `check_finite`.
    """
    not_finite: list[str] = []
    values = _read(found, not_finite)
    if is_new:
        _put(file, model, values)
        _tell_of(file, not_finite, check_finite)
        return
    held = list(values)
    _tell_of(file, not_finite, check_finite)
    whole = not found.complaints() and getattr(model, "optimizer", None) is not None
    state = _read_state(file) if whole else None

    def noted(undo: Undo) -> Iterator[tuple[Slot, Tensor]]:
        while held:  # each makes room for the copy of what it replaces
            slot, value = held.pop()
            undo.note(*getattr(slot.weight, "tensors", (slot.weight,)))
            yield slot, value

    def put(undo: Undo) -> str | None:
        if file.layout == "torch":  # for hooks, which may change what they like
            undo.note(*(slot.weight for slot in slots.torch_slots(model).values()))
        _put(file, model, noted(undo))
        return _restore_optimizer(model, state, found)

    _warn_if_lost(file, all_at_once(put))


def _put(file: ModelFile, model: Any, values: Iterable[tuple[Slot, Tensor]]) -> None:
    if file.layout == "torch":
        # Modules may have hooks on loading, so it is theirs to do.
        model.load_state_dict({s.path: v for s, v in values}, strict=False)
        return
    for slot, value in values:
        slot.weight.assign(value)


def _read(found: Match, not_finite: list[str]) -> Iterator[tuple[Slot, Tensor]]:
    for slot, entry in found.fitting:
        value = entry.read()
        if not _is_finite(value):
            not_finite.append(str(slot))
        yield slot, value


def _tell_of(file: ModelFile, not_finite: list[str], refuse: bool) -> None:
    if not not_finite:
        return
    text = f"{file.path}: there are NaN or infinite values in {_listed(not_finite)}."
    if refuse:
        raise CorruptFileError(f"{text} Nothing was changed; use another copy.")
    warnings.warn(f"{text} check_finite=True refuses such files.", stacklevel=5)


def _is_finite(value: Tensor) -> bool:
    # The sum tells of most tensors, at a fraction of the cost.
    if not value.is_floating_point() or bool(value.to(torch.float32).sum().isfinite()):
        return True
    return bool(value.to(torch.float64).isfinite().all())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return f"{', '.join(names[:10])}{more}"


def _read_state(file: ModelFile) -> Any:
    if file.optimizer_state is not None:
        return file.optimizer_state()
    return [entry.read() for entry in file.optimizer]


def _restore_optimizer(model: Any, state: Any, found: Match) -> str | None:
    """Restore the state of the optimizer, or return why it cannot be."""
    if not state:
        return None
    try:
        all_at_once(functools.partial(_put_state, model, state, found))
    except gate.FAILURES as error:
        return str(error)
    return None


def _put_state(model: Any, state: Any, found: Match, undo: Undo) -> None:
    undo.note_state(model.optimizer)
    optimizer_state.restore(model, state, found.names)


def _warn_if_lost(file: ModelFile, reason: str | None) -> None:
    if reason is not None:
        warnings.warn(
            f"{file.path}: the state of the optimizer was not restored, it begins "
            f"anew: {reason}",
            stacklevel=5,
        )


# Making a model


def make_model(
    file: ModelFile,
    config: Any,
    custom_objects: Mapping[str, Any] | None,
    check_finite: bool,
) -> Any:
    """Make the model of a file, with its weights.

    What its weights take is bounded by the file's, and their shapes are compared with
    the file's before a value is read.

    Raises:
        CorruptFileError: when its parts do not fit together.
        UnsafeFileError: when it names what is in no table.
    """
    if config is None:
        raise ValueError(
            f"load_model: '{file.path}' holds weights only. Make the model, and pass "
            "the file to its `load_weights`."
        )
    with custom_object_scope(custom_objects or {}):
        # A class of the user's own may compute with the first values.
        blank = unfilled() if _is_built_in(config) else contextlib.nullcontext()
        with blank, _no_more_than(file):
            model = _from_config(file, config)
    load_into(file, model, _checked_match(file, model), check_finite, is_new=True)
    return model


def _no_more_than(file: ModelFile) -> contextlib.AbstractContextManager[None]:
    """Bound what is made by what the file holds, which may be in a narrower dtype."""
    groups = itertools.chain.from_iterable(entries for _, entries in file.groups)
    entries = itertools.chain(file.entries.values(), groups)
    stored = sum(math.prod(entry.shape) for entry in entries)
    widest = torch.float64.itemsize
    return context.budget.at_most(limits.active().unchecked_bytes + widest * stored)


def _checked_match(file: ModelFile, model: Any) -> Match:
    found = match(file, model, frozen_alike=True)
    if complaints := found.complaints():
        raise CorruptFileError(
            f"load_model: the weights in '{file.path}' do not fit the model that its "
            f"config describes. Use another copy of the file.{complaints}"
        )
    return found


def _is_built_in(config: Any) -> bool:
    """Say whether a config names no class of the user's own.

    Such a class may compute with the first values of its weights.
    """
    if isinstance(config, list):
        return all(_is_built_in(item) for item in config)
    if not isinstance(config, dict):
        return True
    name = config.get("class_name", "")
    if name and not name.startswith("__") and name != "function":
        with contextlib.suppress(ValueError):
            cls = find_class(config)
            known = cls in torch_modules.CLASSES.values() or family_of(cls)
            if not known:
                return False
    return all(_is_built_in(value) for value in config.values())


def _from_config(file: ModelFile, config: Any) -> Any:
    with _explaining(file, "the model cannot be made from its config"):
        with sharing.reading(anew=True), gate.passing(None):
            model = deserialize_object(config)
        if not hasattr(model, "layers"):
            raise ValueError(f"{config['class_name']!r} is no model")
        assets.read(file.members, model)
        return model


@contextlib.contextmanager
def _explaining(file: ModelFile, what: str) -> Generator[None]:
    """Name the file in whatever goes wrong with its config."""
    what = f"{file.path}: {what}"
    with gate.explaining(what):
        try:
            yield
        except (CorruptFileError, UnsafeFileError) as error:
            raise type(error)(f"{what}: {error}") from error.__cause__


def compile_model(
    file: ModelFile, model: Any, config: Any, custom_objects: Mapping[str, Any] | None
) -> None:
    """Compile a model as the file says, and restore the optimizer's state."""
    if config is None:
        return
    advice = "the model cannot be compiled as it was (compile=False leaves that out)"
    with custom_object_scope(custom_objects or {}), _explaining(file, advice):
        model.compile_from_config(config)
    found, state = match(file, model, frozen_alike=True), _read_state(file)
    optimizer_state.spare(model, state, found.names)
    _warn_if_lost(file, _restore_optimizer(model, state, found))
