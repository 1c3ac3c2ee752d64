"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Generator
from pathlib import Path

from torchkeras._core.typing import PathLike


def check_target(
    caller: str, filepath: PathLike, extensions: tuple[str, ...]
) -> tuple[Path, str]:
    """Check, before any work, that a file can be written there.

    Args:
        caller: the public call, for messages.
        filepath: where to write.
        extensions: the legal endings.

    Returns:
        The path, and the ending it has.

    Raises:
        ValueError: for another ending.
        FileNotFoundError: when the directory is missing.
        IsADirectoryError: when there is a directory of that name.
    """
    path = as_path(caller, filepath)
    extension = extension_of(caller, path, extensions)
    if path.is_dir():
        raise IsADirectoryError(
            f"{caller}: '{path}' is a directory; give a file's path."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{caller}: the directory '{path.parent}' of '{path.name}' does not exist. "
            "Make it first."
        )
    return path, extension


def as_path(caller: str, filepath: PathLike) -> Path:
    """Return a path given as a string or a path.

    Raises:
        TypeError: for anything else.
    """
    try:
        return Path(os.fsdecode(filepath))
    except TypeError:
        raise TypeError(
            f"{caller}: `filepath` must be a string or a path, got "
            f"{type(filepath).__name__}."
        ) from None


def extension_of(caller: str, path: Path, extensions: tuple[str, ...]) -> str:
    """Return the extension that a path ends in.

    Raises:
        ValueError: when it is none of those given.
    """
    found = [e for e in extensions if path.name.lower().endswith(e)]
    if not found:
        raise ValueError(
            f"{caller}: the path must end in {', '.join(extensions)}, got '{path}'."
        )
    return max(found, key=len)


def may_replace(caller: str, path: Path, overwrite: bool) -> bool:
    """Say whether to write where a file may be: ask in a terminal, refuse elsewhere.

    Raises:
        FileExistsError: when the file is there, must not be replaced, and nobody can be
            asked.
    """
    if overwrite or not path.exists():
        return True
    if not (sys.stdin and sys.stdin.isatty()):
        raise FileExistsError(
            f"{caller}: '{path}' exists. Pass overwrite=True to replace it."
        )
    answer = ""
    while answer not in ("y", "n"):
        answer = input(f"'{path}' exists - overwrite? [y/n] ").strip().lower()
    return answer == "y"


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a path to write to, and put what was written in place of `path` at the end.

    At every moment, also after a crash, `path` is what it was or what it is to be. A
    failure removes what was written.

    Args:
        path: the file to replace or to make.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        # Made here, so that it has the permissions of any new file; what writes it may
        # put another in its place.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = temporary.stat().st_mode
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            mode = target.stat().st_mode
        os.chmod(temporary, stat.S_IMODE(mode))
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """Make the renaming last through a power failure, where that can be asked."""
    with contextlib.suppress(OSError):  # not every file system can be asked
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
