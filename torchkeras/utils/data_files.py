"""Data files: downloaded once, checked, and unpacked without trusting them."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import secrets
import shutil
import stat
import tarfile
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Generator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from torchkeras._core.errors import (
    CorruptFileError,
    UnsafeFileError,
    invalid_argument,
    one_of,
)

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60
#: An archive may unpack to this much, or to `_MAX_RATIO` times its size if larger.
_FREE_BYTES = 256 << 20
_MAX_RATIO = 100
_MAX_MEMBERS = 1_000_000

_DECOMPRESSORS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_ARCHIVE_FAULTS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str | list[str] | None = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """Return the path of a file in the cache, downloading it where it is missing.

    The file arrives under its name whole and with the right hash, or not at all.
    Archives hold plain files and folders only: one with links, devices or names that
    lead out of the folder is refused.

    Args:
        fname: the name in the cache; the last part of `origin` by default.
        origin: the URL.
        untar: the old name of `extract` with ``archive_format="tar"``.
        md5_hash: the old name of `file_hash` with ``hash_algorithm="md5"``.
        file_hash: the expected hash, in hexadecimal digits.
        cache_subdir: the folder within `cache_dir`, or an absolute path.
        hash_algorithm: ``"sha256"``, ``"md5"`` or ``"auto"``, by the hash's length.
        extract: whether to unpack the file and return the folder's path instead.
        archive_format: ``"tar"``, ``"zip"``, a list of them, or ``"auto"`` for both.
        cache_dir: ``$KERAS_HOME`` by default, or ``~/.keras`` where it is not set.
        force_download: whether to download even what the cache has.

    Raises:
        ValueError: for a name that is not a plain file name, or a wrong hash.
        OSError: when the download fails.
        UnsafeFileError: for an archive that reaches out of its folder, or unpacks to
            far more than its size.
        CorruptFileError: for a damaged archive, or none at all.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "source.txt").write_text("data")
        >>> path = get_file(
        ...     "copy.txt", (folder / "source.txt").as_uri(), cache_dir=folder / "cache"
        ... )
        >>> pathlib.Path(path).read_text()
        'data'
    """
    if origin is None:
        raise ValueError("get_file: `origin` is missing. Pass the URL of the file.")
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    check = _hash_check(file_hash, hash_algorithm)
    name = _plain_name(origin, None if fname is None else os.fspath(fname))
    folder = _cache_home(cache_dir) / cache_subdir
    folder.mkdir(parents=True, exist_ok=True)
    if not (extract or untar):
        path = folder / name
        _ensure(path, origin, check, force_download)
        return str(path)
    path, unpacked = _archive_paths(folder, name, named=fname is not None)
    _ensure(path, origin, check, force_download)
    _extract(path, unpacked, _formats("tar" if untar else archive_format))
    return str(unpacked)


# Names and places


def _cache_home(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return the cache folder: the argument, else what Keras takes."""
    home = cache_dir or os.environ.get("KERAS_HOME") or Path("~", ".keras")
    return Path(home).expanduser()


def _plain_name(origin: str, fname: str | None) -> str:
    """Return the file's name, having refused everything that is more than a name."""
    name = fname or urllib.parse.urlsplit(origin).path.rsplit("/", 1)[-1]
    if name in ("", ".", "..") or re.search(r"[/\\\0]|^[A-Za-z]:", name):
        source = "fname" if fname else "origin"
        expected = "a plain file name" if fname else "a URL that ends in a file name"
        hint = "Use `cache_dir` and `cache_subdir` to say where the file goes."
        hint = hint if fname else "Pass `fname`."
        raise ValueError(invalid_argument("get_file", source, expected, name, hint))
    return name


def _archive_paths(folder: Path, name: str, *, named: bool) -> tuple[Path, Path]:
    """Return where the archive lies and where it unpacks to, as Keras chooses them."""
    if named and "." in name:
        return folder / name, folder / f"{name.split('.', 1)[0]}_extracted"
    return folder / f"{name}_archive", folder / name


def _formats(archive_format: str | list[str] | None) -> list[str]:
    """Return the archive formats to try."""
    if archive_format == "auto":
        return ["tar", "zip"]
    formats = [archive_format] if isinstance(archive_format, str) else archive_format
    legal = ("tar", "zip", "auto")
    return [one_of("get_file", "archive_format", f, legal) for f in formats or []]


# Downloads


def _hash_check(file_hash: str | None, algorithm: str) -> Callable[[Path], str]:
    """Return a function that says what is wrong with a file's hash, or ``""``."""
    legal = ("auto", "sha256", "md5")
    algorithm = one_of("get_file", "hash_algorithm", algorithm, legal)
    if file_hash is None:
        return lambda path: ""
    if algorithm == "auto":
        algorithm = "sha256" if len(file_hash) == 64 else "md5"
    expected = file_hash.lower()

    def check(path: Path) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(
                file, lambda: hashlib.new(algorithm, usedforsecurity=False)
            )
        got = digest.hexdigest()
        return "" if got == expected else f"its {algorithm} is {got}, not {expected}"

    return check


def _ensure(path: Path, origin: str, check: Callable[[Path], str], force: bool) -> None:
    """Download `origin` to `path` unless a good copy is there."""
    if path.is_file() and not force:
        fault = check(path)
        if not fault:
            return
        print(f"Downloading {path} again: {fault}.")
    with _replacing(path) as partial:
        try:
            _download(origin, partial)
        except (OSError, ValueError) as error:
            raise OSError(
                f"get_file: cannot download {origin}: {error}. Check the address and "
                f"the network, or put the file at {path} yourself."
            ) from error
        fault = check(partial)
        if fault:
            raise ValueError(
                f"get_file: {origin} is not the expected file: {fault}. The download "
                "was incomplete or the file has changed; nothing was kept."
            )


@contextlib.contextmanager
def _replacing(path: Path) -> Generator[Path]:
    """Yield a name beside `path`; what lies there becomes `path` on success."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _download(origin: str, path: Path) -> None:
    """Copy a URL to a new file, with a progress bar on a terminal."""
    with (
        urllib.request.urlopen(origin, timeout=_TIMEOUT_SECONDS) as response,
        path.open("xb") as file,
    ):
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        with tqdm(
            desc=f"Downloading {origin}",
            total=total,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=None,  # None: only on a terminal
        ) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and file.tell() != total:
            raise OSError(f"got {file.tell()} of {total} bytes")


# Archives


class _Metered(io.RawIOBase):
    """A reader that refuses to give more than its archive could honestly hold."""

    def __init__(self, inner: IO[bytes], archive: Path, spent: int = 0) -> None:
        self.inner = inner
        self.archive = archive
        self.spent = spent
        self.limit = max(_FREE_BYTES, _MAX_RATIO * archive.stat().st_size)

    def read(self, size: int = -1) -> bytes:
        data = self.inner.read(size)
        self.spent += len(data)
        if self.spent > self.limit:
            raise UnsafeFileError(
                f"{self.archive}: unpacks to more than {self.limit} bytes, over "
                f"{_MAX_RATIO} times its size. Unpack it by hand if you trust it."
            )
        return data


def _extract(path: Path, folder: Path, formats: list[str]) -> None:
    """Unpack an archive beside its folder, then move what it held into the folder."""
    kind = _archive_kind(path)
    if kind not in formats:
        raise CorruptFileError(
            f"get_file: {path} is not an archive of format "
            f"{' or '.join(formats) or '(none was given)'}. Check `archive_format`, or "
            "leave out `extract`."
        )
    scratch = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")
    scratch.mkdir()
    try:
        (_unpack_tar if kind == "tar" else _unpack_zip)(path, scratch)
        _merge(scratch, folder)
    except _ARCHIVE_FAULTS as error:
        raise CorruptFileError(
            f"{path}: damaged archive ({error}). Delete it and download it again."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _archive_kind(path: Path) -> str | None:
    """Tell an archive's format from its content."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        return "zip"
    if head.startswith(tuple(_DECOMPRESSORS)) or tarfile.is_tarfile(path):
        return "tar"
    return None


def _unpack_tar(path: Path, folder: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    opener = next((o for m, o in _DECOMPRESSORS.items() if head.startswith(m)), None)
    with opener(path) if opener else path.open("rb") as stream:
        # Stream mode reads in small blocks, so that the meter stops a bomb early.
        metered = _Metered(stream, path)
        with tarfile.open(fileobj=metered, mode="r|") as archive:
            for count, member in enumerate(archive):
                plain = member.isreg() and not member.issparse()
                target = _target(path, folder, member.name, count)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                elif plain and (content := archive.extractfile(member)):
                    _write(path, target, content)
                else:
                    raise _special(path, member.name)


def _unpack_zip(path: Path, folder: Path) -> None:
    spent = 0
    with zipfile.ZipFile(path) as archive:
        for count, member in enumerate(archive.infolist()):
            target = _target(path, folder, member.filename, count)
            mode = member.external_attr >> 16
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _special(path, member.filename)
            with archive.open(member) as content:
                metered = _Metered(content, path, spent)
                _write(path, target, metered)
                spent = metered.spent


def _target(path: Path, folder: Path, name: str, count: int) -> Path:
    """Return where a member goes, having refused every name that leads elsewhere."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or re.search(r"[\\\0]|^[A-Za-z]:", name):
        raise UnsafeFileError(
            f"{path}: member {name!r} leads out of the folder it is unpacked into. "
            "Nothing was unpacked; do not trust this archive."
        )
    if count >= _MAX_MEMBERS:
        raise UnsafeFileError(
            f"{path}: more than {_MAX_MEMBERS} members. Unpack it by hand if you "
            "trust it."
        )
    return folder.joinpath(*parts)


def _special(path: Path, name: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path}: member {name!r} is neither a plain file nor a folder (a link, a "
        "device or a sparse file). Nothing was unpacked; unpack it by hand if you "
        "trust it."
    )


def _write(path: Path, target: Path, content: IO[bytes] | _Metered) -> None:
    """Write a member to a new file; it never follows a link, nor replaces a file."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise CorruptFileError(
            f"{path}: two members of the archive have the name {target.name!r}."
        ) from None
    with file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)


def _merge(source: Path, folder: Path) -> None:
    """Move the files of `source` into `folder`, refusing to go through a link."""
    if folder.is_symlink():
        raise UnsafeFileError(
            f"get_file: {folder} is a link. Remove it, or choose another `cache_dir`."
        )
    if not folder.exists():
        os.replace(source, folder)
        return
    for entry in source.iterdir():
        if entry.is_dir():
            _merge(entry, folder / entry.name)
        else:
            os.replace(entry, folder / entry.name)
