"""`get_file`: whole and checked files only, and archives that stay in their folder."""

import bz2
import contextlib
import gzip
import hashlib
import http.server
import inspect
import io
import lzma
import os
import stat
import tarfile
import threading
import zipfile
from typing import Any, ClassVar

import keras
import pytest

from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras.utils import data_files, get_file

CONTENT = b"forty-two"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `CONTENT`; fails or stops half way where the path says so."""

    def do_GET(self):
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        promised = 2 * len(CONTENT) if "short" in self.path else len(CONTENT)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format, *args):
        pass


@contextlib.contextmanager
def served(handler):
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def site():
    with served(Handler) as address:
        yield address


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def files_under(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# Downloads


def test_signature_is_keras():
    def signature(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters]

    assert signature(get_file) == signature(keras.utils.get_file)


@pytest.mark.parametrize(
    "hashes",
    [
        {},
        {"file_hash": SHA256},
        {"file_hash": SHA256.upper(), "hash_algorithm": "sha256"},
        {"file_hash": MD5},
        {"md5_hash": MD5},
    ],
    ids=["none", "auto sha256", "sha256", "auto md5", "md5_hash"],
)
def test_download(site, cache, hashes):
    path = get_file(origin=f"{site}/data.bin?a=b", cache_dir=cache, **hashes)
    assert path == str(cache / "datasets" / "data.bin")
    assert files_under(cache) == ["datasets", "datasets/data.bin"]
    with open(path, "rb") as file:
        assert file.read() == CONTENT


def test_keras_home_is_obeyed(site, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    path = get_file("a.bin", f"{site}/x", cache_subdir="models")
    assert path == str(tmp_path / "home" / "models" / "a.bin")


def test_home_is_the_default(site, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = get_file("a.bin", f"{site}/x")
    assert path == str(tmp_path / ".keras" / "datasets" / "a.bin")


def test_a_cached_file_is_not_downloaded_again(site, cache):
    path = get_file("a.bin", f"{site}/a.bin", cache_dir=cache)
    assert get_file("a.bin", f"{site}/missing", cache_dir=cache) == path
    with pytest.raises(OSError, match=r"cannot download .*/missing: HTTP Error 404"):
        get_file("a.bin", f"{site}/missing", cache_dir=cache, force_download=True)
    assert files_under(cache) == ["datasets", "datasets/a.bin"]


def test_a_cached_file_with_a_wrong_hash_is_replaced(site, cache, capsys):
    old = cache / "datasets" / "a.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    get_file("a.bin", f"{site}/a.bin", cache_dir=cache, file_hash=SHA256)
    assert old.read_bytes() == CONTENT
    assert "again: its sha256 is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "options", "error", "message"),
    [
        ("short", {}, OSError, "got 9 of 18 bytes"),
        ("missing", {}, OSError, "HTTP Error 404.*put the file at"),
        ("a", {"file_hash": "0" * 64}, ValueError, "not the expected file: its sha256"),
        ("a", {"file_hash": "0" * 32}, ValueError, "not the expected file: its md5"),
    ],
)
def test_a_failed_download_changes_nothing(site, cache, page, options, error, message):
    old = cache / "datasets" / "a.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    with pytest.raises(error, match=message):
        get_file(
            "a.bin", f"{site}/{page}", cache_dir=cache, force_download=True, **options
        )
    assert files_under(cache) == ["datasets", "datasets/a.bin"]
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize(
    "page", ["/..", "/.", "/", "", "/C:x", "/a\\b", "/%5c/..", "/x/?q=/name"]
)
def test_a_url_without_a_file_name_is_refused(cache, page):
    with pytest.raises(ValueError, match="`origin` must be a URL that ends in a file"):
        get_file(origin=f"http://h{page}", cache_dir=cache)
    assert not cache.exists()


@pytest.mark.parametrize("fname", ["../x", "/x", "a/b", "..", ".", "C:x", "a\\b"])
def test_a_name_that_is_a_path_is_refused(cache, fname):
    with pytest.raises(ValueError, match="`fname` must be a plain file name"):
        get_file(fname, "http://h/x", cache_dir=cache)
    assert not cache.exists()


def test_bad_arguments_are_refused(cache):
    with pytest.raises(ValueError, match="`origin` is missing"):
        get_file("a")
    with pytest.raises(ValueError, match="`hash_algorithm` must be one of"):
        get_file("a", "http://h/a", cache_dir=cache, hash_algorithm="sha1")
    with pytest.raises(OSError, match="cannot download not a url"):
        get_file("a", "not a url", cache_dir=cache)


# Downloads that break off

LONG = bytes(range(256)) * 40_000
LONG_SHA256 = hashlib.sha256(LONG).hexdigest()


class BreakingHandler(http.server.BaseHTTPRequestHandler):
    """Serves `LONG`, at first less of it than promised, then parts of it."""

    asked: ClassVar[list[str | None]] = []
    breaks = 0
    version: ClassVar[dict[str, str]] = {}
    parts = True

    def do_GET(self):
        cls = type(self)
        wanted = self.headers["Range"]
        cls.asked.append(wanted)
        begin = int(wanted[6:-1]) if wanted and cls.parts else 0
        if self.headers["If-Range"] not in (None, *cls.version.values()):
            begin = 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(LONG) - begin))
        for header in cls.version.items():
            self.send_header(*header)
        self.end_headers()
        end = len(LONG)
        if cls.breaks:
            cls.breaks -= 1
            end = (begin + len(LONG)) // 2
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(LONG[begin:end])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def breaking():
    class Handler(BreakingHandler):
        asked: ClassVar[list[str | None]] = []

    with served(Handler) as address:
        yield f"{address}/long.bin", Handler


def parts_in(cache):
    return list((cache / "datasets").glob(".*.part"))


@pytest.mark.parametrize(
    ("version", "given"),
    [
        ({"ETag": '"one"'}, {}),
        ({"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}),
        ({}, {"file_hash": LONG_SHA256}),
        ({"ETag": 'W/"weak"'}, {"file_hash": LONG_SHA256}),
    ],
    ids=["tag", "date", "hash", "weak tag and hash"],
)
def test_a_broken_download_is_gone_on_with(breaking, cache, version, given):
    origin, handler = breaking
    handler.version, handler.breaks = version, 3  # of four requests
    for _ in range(2):
        with pytest.raises(OSError, match=rf"got \d+ of {len(LONG)} bytes"):
            get_file(origin=origin, cache_dir=cache, **given)
        assert len(parts_in(cache)) == 1
        assert not (cache / "datasets" / "long.bin").exists()
    path = get_file(origin=origin, cache_dir=cache, **given)
    with open(path, "rb") as file:
        assert file.read() == LONG
    assert parts_in(cache) == []
    half, rest = len(LONG) // 2, len(LONG) * 3 // 4
    assert [a for a in handler.asked if a] == [f"bytes={half}-", f"bytes={rest}-"]


def test_another_version_is_not_gone_on_with(breaking, cache):
    origin, handler = breaking
    handler.version, handler.breaks = {"ETag": '"one"'}, 1
    with pytest.raises(OSError, match=r"got \d+ of"):
        get_file(origin=origin, cache_dir=cache)
    handler.version = {"ETag": '"two"'}
    path = get_file(origin=origin, cache_dir=cache)
    with open(path, "rb") as file:
        assert file.read() == LONG
    assert handler.asked == [None, None]


def test_a_server_without_parts_sends_all_again(breaking, cache):
    origin, handler = breaking
    handler.version, handler.breaks, handler.parts = {"ETag": '"one"'}, 1, False
    with pytest.raises(OSError, match=r"got \d+ of"):
        get_file(origin=origin, cache_dir=cache)
    path = get_file(origin=origin, cache_dir=cache, file_hash=LONG_SHA256)
    with open(path, "rb") as file:
        assert file.read() == LONG
    assert parts_in(cache) == []


def test_what_cannot_be_told_apart_is_not_kept(breaking, cache):
    origin, handler = breaking
    handler.breaks = 1
    with pytest.raises(OSError, match=r"got \d+ of"):
        get_file(origin=origin, cache_dir=cache)
    assert parts_in(cache) == []


def test_a_wrong_part_is_not_kept(breaking, cache):
    origin, handler = breaking
    handler.breaks = 1
    with pytest.raises(OSError, match=r"got \d+ of"):
        get_file(origin=origin, cache_dir=cache, file_hash=LONG_SHA256)
    (part,) = parts_in(cache)
    part.write_bytes(b"?" + part.read_bytes()[1:])
    with pytest.raises(ValueError, match="is not the expected file: its sha256"):
        get_file(origin=origin, cache_dir=cache, file_hash=LONG_SHA256)
    assert parts_in(cache) == []
    get_file(origin=origin, cache_dir=cache, file_hash=LONG_SHA256)


def test_a_failed_download_tells_the_hash(site, cache):
    with pytest.raises(OSError, match=rf"put the file at .*\(its md5 is {MD5}\)"):
        get_file("a", f"{site}/missing", cache_dir=cache, md5_hash=MD5)


# Archives


def tar_bytes(*members):
    """Make a tar of (name, content) files and of ready `TarInfo`s."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def tar_info(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def zip_bytes(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


PLAIN = (("top/a.txt", b"a"), ("top/deep/b.txt", b"b"))


@pytest.fixture
def unpack(tmp_path, cache):
    """Call `get_file` on an archive of the given bytes."""

    def unpack(content, fname: str | None = "arc.tar.gz", **given):
        source = tmp_path / "source"
        source.write_bytes(content)
        options: dict[str, Any] = {"extract": True, "force_download": True} | given
        return get_file(fname, source.as_uri(), cache_dir=cache, **options)

    return unpack


@pytest.mark.parametrize(
    "content",
    [
        tar_bytes(*PLAIN),
        gzip.compress(tar_bytes(*PLAIN)),
        bz2.compress(tar_bytes(*PLAIN)),
        lzma.compress(tar_bytes(*PLAIN)),
        zip_bytes(*PLAIN),
        tar_bytes(tar_info("./top", tarfile.DIRTYPE), *PLAIN),
        zip_bytes(("top/", b""), *PLAIN),
    ],
    ids=["tar", "gz", "bz2", "xz", "zip", "tar with folder", "zip with folder"],
)
def test_extract(unpack, cache, content):
    folder = unpack(content)
    assert folder == str(cache / "datasets" / "arc_extracted")
    assert files_under(cache / "datasets") == [
        "arc.tar.gz",
        "arc_extracted",
        "arc_extracted/top",
        "arc_extracted/top/a.txt",
        "arc_extracted/top/deep",
        "arc_extracted/top/deep/b.txt",
    ]
    with open(os.path.join(folder, "top", "a.txt"), "rb") as file:
        assert file.read() == b"a"


@pytest.mark.parametrize(
    ("fname", "archive", "folder"),
    [
        ("photos", "photos_archive", "photos"),
        ("photos.tgz", "photos.tgz", "photos_extracted"),
        (None, "source_archive", "source"),
    ],
)
def test_names_of_archive_and_folder_are_keras(unpack, cache, fname, archive, folder):
    assert unpack(tar_bytes(*PLAIN), fname) == str(cache / "datasets" / folder)
    names = [p.name for p in (cache / "datasets").iterdir()]
    assert sorted(names) == sorted([archive, folder])


def test_extracting_again_keeps_other_files(unpack, cache):
    unpack(tar_bytes(*PLAIN))
    own = cache / "datasets" / "arc_extracted" / "top" / "own.txt"
    own.write_bytes(b"own")
    unpack(tar_bytes(("top/a.txt", b"new")), untar=True, extract=False)
    assert own.read_bytes() == b"own"
    assert own.with_name("a.txt").read_bytes() == b"new"


ESCAPES = {
    "tar parent": tar_bytes(("../x", b"x")),
    "tar parent inside": tar_bytes(("a/../../x", b"x")),
    "tar absolute": tar_bytes(("/x", b"x")),
    "tar backslash": tar_bytes(("..\\x", b"x")),
    "tar drive": tar_bytes(("C:x", b"x")),
    "tar symlink": tar_bytes(tar_info("l", tarfile.SYMTYPE, ".."), ("l/x", b"x")),
    "tar symlink chain": tar_bytes(
        *(tar_info(f"l{i}", tarfile.SYMTYPE, f"l{i + 1}") for i in range(20)),
        ("l0/x", b"x"),
    ),
    "tar hard link": tar_bytes(tar_info("l", tarfile.LNKTYPE, "../secret")),
    "tar hard link name": tar_bytes(tar_info("../l", tarfile.LNKTYPE, "a")),
    "tar device": tar_bytes(tar_info("d", tarfile.CHRTYPE)),
    "tar fifo": tar_bytes(tar_info("f", tarfile.FIFOTYPE)),
    "zip parent": zip_bytes(("../x", b"x")),
    "zip absolute": zip_bytes(("/x", b"x")),
    "zip drive": zip_bytes(("C:x", b"x")),
    "zip symlink": zip_bytes(zip_link("l", b".."), ("l/x", b"x")),
}


@pytest.mark.parametrize("attack", ESCAPES)
def test_an_archive_that_reaches_out_is_refused(
    unpack, cache, tmp_path, monkeypatch, attack
):
    (tmp_path / "secret").write_bytes(b"42")
    # Checks must look at the destination, not at the working directory above it.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeFileError, match=r"member .* Nothing was unpacked"):
        unpack(ESCAPES[attack])
    assert files_under(cache) == ["datasets", "datasets/arc.tar.gz"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "secret", "source"]


def test_a_set_user_id_bit_is_dropped(unpack):
    info = tar_info("tool", tarfile.REGTYPE)
    info.mode = 0o6777
    folder = unpack(tar_bytes(info))
    assert os.stat(os.path.join(folder, "tool")).st_mode & 0o7111 == 0


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_a_link_in_the_destination_is_not_followed(unpack, cache, tmp_path, make):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_bytes(b"old")
    folder = cache / "datasets" / "arc_extracted"
    folder.mkdir(parents=True)
    (folder / "top").symlink_to(outside)
    (folder / "a.txt").symlink_to(outside / "a.txt")
    with pytest.raises(UnsafeFileError, match="top is a link"):
        unpack(make(*PLAIN))
    unpack(make(("a.txt", b"new")))
    assert (outside / "a.txt").read_bytes() == b"old"
    assert files_under(outside) == ["a.txt"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bomb_is_refused(unpack, cache, monkeypatch, kind):
    monkeypatch.setattr(data_files, "_FREE_BYTES", 1 << 16)
    zeros = b"\0" * (1 << 22)
    bomb = zip_bytes(("z", zeros))
    if kind == "tar":
        bomb = gzip.compress(tar_bytes(("z", zeros)))
    with pytest.raises(UnsafeFileError, match="over 100 times its size"):
        unpack(bomb)
    assert files_under(cache) == ["datasets", "datasets/arc.tar.gz"]


def test_too_many_members_are_refused(unpack, monkeypatch):
    monkeypatch.setattr(data_files, "_MAX_MEMBERS", 1)
    for make in (tar_bytes, zip_bytes):
        with pytest.raises(UnsafeFileError, match="more than 1 members"):
            unpack(make(*PLAIN))


BROKEN = {
    "not an archive": b"text",
    "truncated gzip": gzip.compress(tar_bytes(("a", os.urandom(4096))))[:-100],
    "gzip of text": gzip.compress(b"text" * 200),
    "truncated tar": tar_bytes(("a", b"a" * 4096))[:2048],
    "flipped zip": zip_bytes(("a", b"a" * 100)).replace(b"K\x4c", b"\xff\xff", 1),
    "a file twice": tar_bytes(("a", b"1"), ("a", b"2")),
    "a file as folder": tar_bytes(("a", b"1"), ("a/b", b"2")),
    "empty": b"",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_damaged_archive_is_refused(unpack, cache, fault):
    with pytest.raises(CorruptFileError, match=r"arc\.tar\.gz"):
        unpack(BROKEN[fault])
    assert files_under(cache) == ["datasets", "datasets/arc.tar.gz"]


@pytest.mark.parametrize("archive_format", ["zip", None, []])
def test_another_archive_format_is_refused(unpack, archive_format):
    with pytest.raises(CorruptFileError, match="Check `archive_format`"):
        unpack(tar_bytes(*PLAIN), archive_format=archive_format)


def test_an_unknown_archive_format_is_refused(unpack):
    with pytest.raises(ValueError, match="`archive_format` must be one of"):
        unpack(tar_bytes(*PLAIN), archive_format="rar")
