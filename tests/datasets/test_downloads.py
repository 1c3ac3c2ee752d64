"""MNIST and Fashion-MNIST, from files made here in place of the network's."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from torchkeras.datasets import fashion_mnist, mnist


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("KERAS_HOME", str(home))
    return home


def test_mnist_is_downloaded_checked_and_kept(tmp_path, keras_home, monkeypatch):
    source = tmp_path / "source.npz"
    arrays = {
        f"{name}_{part}": np.arange(size, dtype=np.uint8).reshape(shape)
        for part in ("train", "test")
        for name, size, shape in (("x", 12, (3, 2, 2)), ("y", 3, (3,)))
    }
    np.savez(source, allow_pickle=False, **arrays)
    monkeypatch.setattr(mnist, "_ORIGIN", source.as_uri())
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
