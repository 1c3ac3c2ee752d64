"""The data sets of Keras, from files made here in place of the network's."""

import gzip
import hashlib
import importlib
import inspect
import io
import json
import pickle  # noqa: TID251 - what is refused here
import struct
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

import torchkeras
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras.datasets import (
    _cifar,
    _files,
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    fashion_mnist,
    imdb,
    mnist,
    reuters,
)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("KERAS_HOME", str(home))
    return home


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in place of the network's."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(_files, "ORIGIN", f"{folder.as_uri()}/")
    monkeypatch.setattr(_cifar, "_ORIGIN", f"{folder.as_uri()}/")
    return folder


@pytest.fixture
def publish(site, monkeypatch):
    """Put a file on the site, and let its hash be the one that a module expects."""

    def publish(module, name, content, hash_name="_SHA256"):
        (site / name).write_bytes(content)
        algorithm = hashlib.md5 if hash_name.endswith("MD5") else hashlib.sha256
        monkeypatch.setattr(module, hash_name, algorithm(content).hexdigest())

    return publish


def npz_bytes(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_mnist_is_downloaded_checked_and_kept(keras_home, site, monkeypatch):
    arrays = {
        f"{name}_{part}": np.arange(size, dtype=np.uint8).reshape(shape)
        for part in ("train", "test")
        for name, size, shape in (("x", 12, (3, 2, 2)), ("y", 3, (3,)))
    }
    source = site / "mnist.npz"
    np.savez(source, allow_pickle=False, **arrays)
    with pytest.raises(ValueError, match="is not the expected file: its sha256 is"):
        mnist.load_data()
    assert list((keras_home / "datasets").iterdir()) == []

    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "_SHA256", digest)
    for _ in range(2):  # the second time from the cache
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
        source.unlink(missing_ok=True)
    for array in (x_train, x_test):
        np.testing.assert_array_equal(array, arrays["x_train"])
    for array in (y_train, y_test):
        np.testing.assert_array_equal(array, arrays["y_train"])
    assert [p.name for p in (keras_home / "datasets").iterdir()] == ["mnist.npz"]


def idx_bytes(*shape):
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return header + np.resize(np.arange(251, dtype=np.uint8), shape).tobytes()


def test_fashion_mnist_reads_idx_files(keras_home):
    folder = keras_home / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for prefix, count in (("train", 60_000), ("t10k", 10_000)):
        for kind, shape in (
            ("images-idx3", (count, 28, 28)),
            ("labels-idx1", (count,)),
        ):
            path = folder / f"{prefix}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_bytes(*shape), 1))
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    assert x_train.shape == (60_000, 28, 28)
    assert x_test.shape == (10_000, 28, 28)
    assert y_train.dtype == x_test.dtype == np.uint8
    assert x_train[0, 0, :4].tolist() == y_test[:4].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(idx_bytes(3, 2)),
        gzip.compress(idx_bytes(2, 2) + b"x"),
        gzip.compress(idx_bytes(2, 2)[:-1]),
        gzip.compress(idx_bytes(2, 2))[:-12],
        b"not gzip",
        b"",
    ],
    ids=["shape", "longer", "shorter", "truncated", "not gzip", "empty"],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content):
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected an IDX file .* shape \(2, 2\)"):
        fashion_mnist.read_idx(path, (2, 2))


# What they are, is as in Keras

NAMES = (
    "boston_housing california_housing cifar10 cifar100 fashion_mnist imdb mnist "
    "reuters"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_hashes_and_addresses_are_those_of_keras(name, keras_home, monkeypatch):
    def asked_of(package, target, call):
        asked = []

        def record(fname=None, origin=None, *args, file_hash=None, **kwargs):
            asked.append((fname, origin, file_hash or (args[2:3] or (None,))[0]))
            raise OSError("stop")

        monkeypatch.setattr(target, "get_file", record)
        with pytest.raises(OSError, match="stop"):
            getattr(importlib.import_module(f"{package}.datasets.{name}"), call)()
        return asked

    for call in ("load_data", "get_word_index"):
        theirs = importlib.import_module(f"keras.src.datasets.{name}")
        if not hasattr(theirs, call):
            continue
        mine = _cifar if name.startswith("cifar") else _files
        expected = asked_of("keras", theirs, call)
        assert asked_of("torchkeras", mine, call)[0][1:] == expected[0][1:]


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_keras(name):
    mine = getattr(torchkeras.datasets, name)
    theirs = getattr(keras.datasets, name)
    for call in ("load_data", "get_word_index", "get_label_names"):
        if hasattr(theirs, call):
            parameters = [
                [(p.name, p.default) for p in inspect.signature(f).parameters.values()]
                for f in (getattr(mine, call), getattr(theirs, call))
            ]
            assert parameters[0] == parameters[1]


def test_without_a_network_the_error_says_what_to_do(keras_home, site):
    place = keras_home / "datasets" / "imdb.npz"
    with pytest.raises(OSError, match=r"cannot download .*imdb\.npz: ") as raised:
        imdb.load_data()
    assert f"put the file at {place} yourself (its sha256 is {imdb._SHA256})" in str(
        raised.value
    )
    with pytest.raises(OSError, match=r"cifar-10-batches-py-target_archive yourself"):
        cifar10.load_data()


# CIFAR


def cifar_batch(number, labels):
    """Return a batch as Python 2 wrote them: protocol 2, texts of bytes."""
    images = np.resize(np.arange(number, 251, dtype=np.uint8), (len(labels), 3072))
    head = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x03oneq\x03"
    for index, key in enumerate((b"labels", b"fine_labels", b"coarse_labels")):
        head += b"U" + bytes([len(key)]) + key + b"q" + bytes([4 + index]) + b"](K"
        head += b"K".join(bytes([label]) for label in labels) + b"e"
    head += b"U\x04datacnumpy.core.multiarray\n_reconstruct\nq\x0bcnumpy\nndarray\n"
    head += b"q\x0cK\x00\x85U\x01b\x87Rq\x0d(K\x01J" + struct.pack("<i", len(labels))
    head += b"M\x00\x0c\x86cnumpy\ndtype\nq\x0eU\x02u1K\x00K\x01\x87R"
    head += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
    return head + struct.pack("<i", images.nbytes) + images.tobytes() + b"tbu."


def cifar_archive(folder, files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


CIFAR10 = {f"data_batch_{n}": cifar_batch(n, [n, 0, 9]) for n in range(1, 6)}
CIFAR10["test_batch"] = cifar_batch(7, [3, 2])
CIFAR100 = {"train": cifar_batch(1, [1, 2, 3, 19]), "test": cifar_batch(7, [0, 2])}


@pytest.fixture
def keras_reads(keras_home, monkeypatch):
    """Let Keras load a data set from what lies in the cache."""

    def load(name, *args, **kwargs):
        module = importlib.import_module(f"keras.src.datasets.{name}")

        def find(fname=None, *args, extract=False, **kwargs):
            return str(keras_home / "datasets" / fname)

        monkeypatch.setattr(module, "get_file", find)
        return module.load_data(*args, **kwargs)

    return load


def assert_same(mine, theirs):
    for mine_part, their_part in zip(mine, theirs, strict=True):
        for a, b in zip(mine_part, their_part, strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_cifar10(publish, keras_reads, data_format, monkeypatch):
    archive = cifar_archive("cifar-10-batches-py", CIFAR10)
    publish(cifar10, "cifar-10-python.tar.gz", archive)
    mine = torchkeras.config.image_data_format()
    torchkeras.config.set_image_data_format(data_format)
    try:
        (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    finally:
        torchkeras.config.set_image_data_format(mine)
    last = data_format == "channels_last"
    assert x_train.shape == ((15, 32, 32, 3) if last else (15, 3, 32, 32))
    image = np.frombuffer(CIFAR10["test_batch"][-4 - 2 * 3072 : -4], np.uint8)
    image = image.reshape(2, 3, 32, 32)
    np.testing.assert_array_equal(
        x_test, image.transpose(0, 2, 3, 1) if last else image
    )
    assert y_train.ravel().tolist() == [k for n in range(1, 6) for k in (n, 0, 9)]
    assert y_test.tolist() == [[3], [2]]
    assert y_train.dtype == y_test.dtype == x_train.dtype == np.uint8


@pytest.mark.parametrize("label_mode", ["fine", "coarse"])
def test_cifar100(publish, site, keras_reads, label_mode):
    archive = cifar_archive("cifar-100-python", CIFAR100)
    publish(cifar100, "cifar-100-python.tar.gz", archive)
    mine = cifar100.load_data(label_mode)
    assert_same(mine, keras_reads("cifar100", label_mode))
    assert mine[1][1].tolist() == [[0], [2]]
    (site / "cifar-100-python.tar.gz").unlink()
    assert_same(cifar100.load_data(label_mode), mine)  # as it lies unpacked
    with pytest.raises(ValueError, match="`label_mode` must be one of"):
        cifar100.load_data("corse")


def test_cifar_as_keras_2_left_it(keras_home):
    folder = keras_home / "datasets" / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, content in CIFAR100.items():
        (folder / name).write_bytes(content)
    assert cifar100.load_data()[0][1].shape == (4, 1)


def test_a_batch_of_other_content_is_refused(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(cifar_batch(1, [3, 12]))
    assert _cifar.read_batch(path, "labels", 20)[1].tolist() == [[3], [12]]
    with pytest.raises(CorruptFileError, match=r"batch: expected .* from 0 to 9"):
        _cifar.read_batch(path, "labels", 10)
    with pytest.raises(CorruptFileError, match=r"as many 'names' from 0 to 9"):
        _cifar.read_batch(path, "names", 10)
    path.write_bytes(b"\x80\x02]q\x00.")
    with pytest.raises(CorruptFileError, match="batch: expected a batch of CIFAR"):
        _cifar.read_batch(path, "labels", 10)
    path.write_bytes(cifar_batch(1, [3])[:-9])
    with pytest.raises(CorruptFileError, match="batch: a damaged pickle: it ends too"):
        _cifar.read_batch(path, "labels", 10)


# Texts


def ragged(*rows):
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


@pytest.fixture
def reviews(publish):
    random = np.random.RandomState(0)

    def texts(number):
        return ragged(
            *(random.randint(1, 300, n).tolist() for n in random.randint(1, 9, number))
        )

    arrays = {
        f"{name}_{part}": texts(20) if name == "x" else random.randint(0, 2, 20)
        for part in ("train", "test")
        for name in ("x", "y")
    }
    publish(imdb, "imdb.npz", npz_bytes(**arrays))
    arrays = {"x": texts(40), "y": random.randint(0, 46, 40)}
    publish(reuters, "reuters.npz", npz_bytes(**arrays))


@pytest.mark.parametrize("name", ["imdb", "reuters"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_words": 100},
        {"num_words": 100, "skip_top": 20, "seed": 1},
        {"maxlen": 6, "oov_char": None, "num_words": 150},
        {"start_char": None},
        {"start_char": None, "index_from": 0, "oov_char": 7, "num_words": 50},
    ],
    ids=str,
)
def test_texts_are_those_of_keras(reviews, keras_reads, name, options):
    mine = getattr(torchkeras.datasets, name).load_data(**options)
    assert_same(mine, keras_reads(name, **options))


def test_options_of_texts(reviews, keras_reads):
    assert_same(
        reuters.load_data(test_split=0.5), keras_reads("reuters", test_split=0.5)
    )
    with pytest.raises(ValueError, match="`test_split` must be a number in"):
        reuters.load_data(test_split=1.5)
    with pytest.raises(ValueError, match="no text is shorter than `maxlen`, 1"):
        imdb.load_data(maxlen=1)
    with pytest.raises(TypeError, match=r"unexpected arguments \['nb_words'\]"):
        imdb.load_data(nb_words=3)


@pytest.mark.parametrize("module", [imdb, reuters], ids=["imdb", "reuters"])
def test_word_index(publish, module):
    name = module.__name__.rpartition(".")[2]
    file = f"{name}_word_index.json"
    publish(module, file, json.dumps({"caf\u00e9": 1}).encode(), "_INDEX_MD5")
    assert module.get_word_index() == {"caf\u00e9": 1}
    for content, fault in ((b"[1]", "got a list"), (b"{", "Expecting property name")):
        publish(module, file, content, "_INDEX_MD5")
        with pytest.raises(CorruptFileError, match=f"ranks of words as JSON; {fault}"):
            module.get_word_index()


# Tables


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("boston_housing", {}),
        ("boston_housing", {"test_split": 0.0, "seed": 2}),
        ("california_housing", {}),
        ("california_housing", {"version": "small", "test_split": 0.3}),
    ],
    ids=str,
)
def test_tables_are_those_of_keras(publish, keras_reads, name, options):
    module = getattr(torchkeras.datasets, name)
    x = np.arange(1400, dtype="float32").reshape(700, 2)
    publish(module, f"{name}.npz", npz_bytes(x=x, y=x[:, 0]))
    assert_same(module.load_data(**options), keras_reads(name, **options))


@pytest.mark.parametrize("module", [boston_housing, california_housing])
def test_bad_options_of_tables(module, keras_home):
    with pytest.raises(ValueError, match="`test_split` must be a number in"):
        module.load_data(test_split=1.0)
    if module is california_housing:
        with pytest.raises(ValueError, match="`version` must be one of"):
            module.load_data("medium")
    assert not keras_home.exists()


def test_a_file_without_an_array_is_refused(publish):
    publish(boston_housing, "boston_housing.npz", npz_bytes(x=np.zeros(2)))
    with pytest.raises(CorruptFileError, match="expected the arrays x, y; it lacks y"):
        boston_housing.load_data()
    publish(boston_housing, "boston_housing.npz", b"no zip")
    with pytest.raises(CorruptFileError, match=r"no readable \.npz file"):
        boston_housing.load_data()


class Canary:
    """Would make a file when a pickle of it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_runs_anything(tmp_path, publish):
    canary = tmp_path / "canary"
    publish(
        imdb,
        "imdb.npz",
        npz_bytes(
            **dict.fromkeys(
                ("x_train", "x_test", "y_train", "y_test"), ragged([1], Canary(canary))
            )
        ),
    )
    with pytest.raises(UnsafeFileError, match=r"its pickle names .*Path.* no data"):
        imdb.load_data()
    batch = tmp_path / "batch"
    batch.write_bytes(pickle.dumps({b"data": Canary(canary)}))
    with pytest.raises(UnsafeFileError, match=r"batch: .*Nothing was run"):
        _cifar.read_batch(batch, "labels", 10)
    assert not canary.exists()
