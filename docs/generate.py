"""Pages that are made: the home page, the API, and what there is of Keras.

MkDocs calls `on_files` (see `mkdocs.yml`). ``python docs/generate.py`` writes the table
of `coverage.md` anew, after names were added.
"""

from __future__ import annotations

import functools
import importlib
import re
import types
from pathlib import Path
from typing import Any

import torchkeras
from torchkeras._core.missing import keras_names

ROOT = Path(__file__).parents[1]
COVERAGE = ROOT / "docs" / "coverage.md"
#: The line of the README that says how much there is.
SHARE = re.compile(r"\d+ of the [\d,]+ public names of Keras 3\.15")


def on_files(files: Any, config: Any) -> Any:
    """Add the home page, which is the README, and a page for each namespace."""
    # Only MkDocs, which calls this, has it.
    make = importlib.import_module("mkdocs.structure.files").File.generated
    files.append(make(config, "index.md", content=home()))
    for namespace in namespaces():
        name = namespace or "root"
        content = api_page(namespace)
        files.append(make(config, f"api/{name}.md", content=content))
    return files


def home() -> str:
    """Return the README with its links as they are within the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\[([^]]*)\]\((?!https?:|docs/)[^)]*\)", r"\1", text)
    return text.replace("](docs/", "](")


def namespaces() -> list[str]:
    """Return the public namespaces that are there, the root as ``""``."""
    found = [""]
    for space in found:
        module = _module(space)
        for name in sorted(keras_names()[space]):
            value = getattr(module, name, None)
            if isinstance(value, types.ModuleType):
                found.append(f"{space}.{name}".strip("."))
    return sorted(found)


def api_page(namespace: str) -> str:
    """Return the page of a namespace: the docstrings of its public names."""
    module = _module(namespace)
    lines = [f"# {module.__name__}", "", (module.__doc__ or "").strip(), ""]
    for home, names in _documented(namespace).items():
        if (page := _pages()[home]) != namespace:
            listed = ", ".join(f"`{name}`" for name in names)
            lines += [f"- {listed}: see [{page}]({page}.md)."]
            continue
        others = [n for n in names if n != home.rpartition(".")[2]]
        lines += ["", f"::: {home}", ""]
        if others:
            lines += [f"Also as {', '.join(f'`{name}`' for name in others)}.", ""]
    return "\n".join(lines)


@functools.cache
def _pages() -> dict[str, str]:
    """Return the namespace that documents each object: the most specific it is in."""
    deepest = sorted(
        namespaces(), key=lambda space: (-len(space.split(".")), -len(space))
    )
    pages: dict[str, str] = {}
    for space in deepest:
        for home in _documented(space):
            pages.setdefault(home, space)
    return pages


def _documented(namespace: str) -> dict[str, list[str]]:
    """Return the names of a namespace by where each object is defined."""
    module = _module(namespace)
    found: dict[str, list[str]] = {}
    for name in public_names(module):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType) or not callable(value):
            continue
        home = f"{value.__module__}.{value.__qualname__}"
        found.setdefault(home, []).append(name)
    return found


def public_names(module: types.ModuleType) -> list[str]:
    """Return the names that a module shows."""
    listed = getattr(module, "__all__", None)
    own = [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
    ]
    return sorted(own if listed is None else listed)


def coverage() -> str:
    """Return the page that says, namespace by namespace, what there is of Keras."""
    lines = [
        "# What is there, and what is not yet",
        "",
        f"{share()}, by namespace. Made by `python docs/generate.py`.",
        "",
        "| namespace | Keras | here | still to come |",
        "| --- | ---: | ---: | --- |",
    ]
    for space, names in sorted(keras_names().items()):
        absent = sorted(n for n in names if not _has(space, n))
        if len(absent) == len(names):
            listed = "all of it"
            if "." in space and not _has("", space.partition(".")[0]):
                continue  # a part of what is not there
        else:
            listed = ", ".join(f"`{name}`" for name in absent)
        title = f"`{space}`" if space else "(root)"
        counts = f"{len(names)} | {len(names) - len(absent)}"
        lines.append(f"| {title} | {counts} | {listed} |")
    return "\n".join(lines) + "\n"


def share() -> str:
    """Return how many of Keras's public names there are, in words."""
    pairs = [(space, name) for space, names in keras_names().items() for name in names]
    present = sum(_has(*pair) for pair in pairs)
    return f"{present} of the {len(pairs):,} public names of Keras 3.15"


def _has(namespace: str, name: str) -> bool:
    try:
        return hasattr(_module(namespace), name)
    except ModuleNotFoundError:
        return False


def _module(namespace: str) -> types.ModuleType:
    return importlib.import_module(f"{torchkeras.__name__}.{namespace}".strip("."))


if __name__ == "__main__":
    COVERAGE.write_text(coverage(), encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(SHARE.sub(share(), text), encoding="utf-8")
