"""Data files: downloaded once, checked, and unpacked without trusting them.

The package ``pooch`` would add three dependencies, goes on with no broken download, and
leaves archives to Python's unpackers, which bound neither sizes nor links.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.client
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
from collections.abc import Callable, Mapping
from http import HTTPStatus
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

    The file arrives under its name whole and with the right hash, or not at all; a
    download that broke off is gone on with by the next call, where the server can.
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
    check = _Check(file_hash, hash_algorithm)
    name = _plain_name(origin, None if fname is None else os.fspath(fname))
    folder = cache_home(cache_dir) / cache_subdir
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


def cache_home(cache_dir: str | os.PathLike[str] | None = None) -> Path:
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


class _Check:
    """The hash that a file is to have.

    Args:
        file_hash: in hexadecimal digits; None for any.
        algorithm: its name, or ``"auto"``.
    """

    def __init__(self, file_hash: str | None, algorithm: str) -> None:
        legal = ("auto", "sha256", "md5")
        algorithm = one_of("get_file", "hash_algorithm", algorithm, legal)
        self.expected = (file_hash or "").lower()
        if algorithm == "auto":
            algorithm = "sha256" if len(self.expected) == 64 else "md5"
        self.algorithm = algorithm
        #: For whoever gets the file otherwise.
        self.told = f" (its {algorithm} is {file_hash})" if file_hash else ""

    def __call__(self, path: Path) -> str:
        """Say what is wrong with a file's hash, or ``""``."""
        if not self.expected:
            return ""
        with path.open("rb") as file:
            digest = hashlib.file_digest(
                file, lambda: hashlib.new(self.algorithm, usedforsecurity=False)
            )
        got = digest.hexdigest()
        fault = f"its {self.algorithm} is {got}, not {self.expected}"
        return "" if got == self.expected else fault


def _ensure(path: Path, origin: str, check: _Check, force: bool) -> None:
    """Download `origin` to `path` unless a good copy is there."""
    if path.is_file() and not force:
        fault = check(path)
        if not fault:
            return
        print(f"Downloading {path} again: {fault}.")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        _download_to(path, partial, origin, check)
        fault = check(partial)
        if fault:
            raise ValueError(
                f"get_file: {origin} is not the expected file: {fault}. The download "
                "was incomplete or the file has changed; nothing was kept."
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _download_to(path: Path, partial: Path, origin: str, check: _Check) -> None:
    """Download `origin` to `partial`, or say what to do where that fails."""
    try:
        _download(origin, path, partial, check.expected)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OSError(
            f"get_file: cannot download {origin}: {error}. Check the address and the "
            f"network, or put the file at {path} yourself{check.told}."
        ) from error


def _download(origin: str, path: Path, partial: Path, expected: str) -> None:
    """Copy a URL to a file, going on with what a broken download of it has left."""
    with _open(origin) as response:
        total, version = _length(response), _version(response)
        kept = _kept(path, origin, version or expected)
        have = _claim(kept, partial) if response.url.startswith("http") else 0
        if not have:
            _copy(response, partial, kept if version or expected else None, 0, total)
    if have and have != total:
        with _open(
            origin, {"Range": f"bytes={have}-", "If-Range": version}
        ) as response:
            # Else it is another version, or the server gives no parts.
            have = have if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            _copy(response, partial, kept, have, total)


def _open(origin: str, headers: Mapping[str, str] | None = None) -> Any:
    given = {name: value for name, value in (headers or {}).items() if value}
    request = urllib.request.Request(origin, headers=given)
    return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)


def _copy(
    response: Any, partial: Path, kept: Path | None, have: int, total: int | None
) -> None:
    """Write what comes after the first bytes, keeping what came if it breaks off."""
    try:
        with (
            partial.open("r+b" if have else "wb") as file,
            tqdm(
                desc=f"Downloading {response.url}",
                initial=have,
                total=total,
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
                disable=None,  # None: only on a terminal
            ) as bar,
        ):
            file.seek(have)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
            if total is not None and file.tell() != total:
                raise OSError(f"got {file.tell()} of {total} bytes")
    except BaseException:  # an interrupt too
        if kept is not None:
            os.replace(partial, kept)
        raise


def _length(response: Any) -> int | None:
    length = response.headers.get("Content-Length")
    return int(length) if length else None


def _version(response: Any) -> str:
    """Return what tells one version of the file from another, ``""`` if nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _kept(path: Path, origin: str, version: str) -> Path:
    """Return where a broken download of a version of a file is kept."""
    key = hashlib.sha256(f"{origin}\n{version}".encode()).hexdigest()[:16]
    return path.with_name(f".{path.name}.{key}.part")


def _claim(kept: Path, partial: Path) -> int:
    """Take what was kept, from all other processes too, and return its size."""
    try:
        os.replace(kept, partial)
    except FileNotFoundError:
        return 0
    return partial.stat().st_size


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
