"""What layers keep in files of their own beside config and weights: vocabularies.

A layer that has `save_assets` and `load_assets` is given a folder by them, as in Keras.
In an archive its files stand at the place of the layer in Keras's store.
"""

from __future__ import annotations

import contextlib
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from torchkeras._core.context import context
from torchkeras.saving import archive, slots

_FOLDER = "assets"


@contextlib.contextmanager
def in_configs(hold: bool) -> Generator[None]:
    """Let configs hold, or leave out, what a format has no other place for."""
    before = context.configs_hold_assets
    context.configs_hold_assets = hold
    try:
        yield
    finally:
        context.configs_hold_assets = before


def write(file: zipfile.ZipFile, model: Any) -> None:
    """Write the files of all layers into an archive."""
    for layer, place in _owners(model, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    name = path.relative_to(folder).as_posix()
                    file.write(path, f"{place}{name}")


def read(members: archive.Archive | None, model: Any) -> None:
    """Give all layers the files that an archive has for them."""
    if members is None:
        return
    for layer, place in _owners(model, "load_assets"):
        own = [name for name in members.names if name.startswith(place)]
        if not own:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for name in own:
                path = Path(folder, name.removeprefix(place))
                path.parent.mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    path.write_bytes(members.read(name))
            layer.load_assets(folder)


def _owners(model: Any, method: str) -> Iterator[tuple[Any, str]]:
    """Yield the layers that have files of their own, and where these stand."""
    for place in slots.keras_places(model):
        if hasattr(place.layer, method):
            yield place.layer, f"{_FOLDER}/{place.path}/".replace("//", "/")
