"""The reader of pickles makes what `pickle` makes of data, and refuses the rest."""

import contextlib
import pickle  # noqa: TID251 - what is read here

import numpy as np
import pytest

from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras.datasets._plain_pickle import loads

DATA = {
    "constants": [None, True, False, 1.5, -0.0, float("inf"), (), [], {}],
    "integers": [0, 1, 255, 256, 65535, 65536, -1, 2**31, -(2**31), 2**70, -(2**2100)],
    "integers like instructions": [0x4B, 0x4D, 0x4A, 0x4A4A, 0x4D4B, 0x4A4B4D4A],
    "texts": ["", "café", "x" * 300, b"", b"\xff", b"y" * 300],
    "tuples": [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "dicts": {"a": {b"b": [1]}, 3: {}},
    "shared": [shared := ["one"], shared, {"again": shared}],
}
ARRAYS = {
    "bytes": np.arange(6, dtype="uint8").reshape(2, 3),
    "big endian": np.arange(6, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 3), "float32"),
    "complex": np.array([1j]),
    "objects": np.array([[1], [2, 3], None], dtype=object),
    "table of objects": np.array([["a", 1], [None, ()]], dtype=object),
    "no axes": np.array(3),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", DATA)
def test_data(name, protocol):
    content = pickle.dumps(DATA[name], protocol)
    assert loads(content) == DATA[name]
    assert repr(loads(content)) == repr(DATA[name])


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name, protocol):
    array = loads(pickle.dumps([ARRAYS[name]] * 2, protocol))
    assert array[0] is array[1]
    assert array[0].dtype == ARRAYS[name].dtype
    np.testing.assert_array_equal(array[0], ARRAYS[name])


def test_what_is_shared_stays_shared():
    first, again, _ = loads(pickle.dumps(DATA["shared"]))
    assert first is again


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(U\x02lstR.",
        b"cbuiltins\neval\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"(U\x01aios\nsystem\n.",  # INST
        b"(cos\nsystem\nU\x01ao.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"Psome id\n.",  # PERSID
        b"cnumpy\nndarray\n)\x81.",  # NEWOBJ
    ],
)
def test_whatever_is_no_data_is_refused(content):
    with pytest.raises(UnsafeFileError, match="its pickle"):
        loads(content)


DTYPE = b"cnumpy\ndtype\nU\x02%sK\x00K\x01\x87R(K\x03U\x01|NNNK\x00K\x00K\x00tb"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "out of range"),
        (b".", "0 objects are left"),
        (b"(.", "a mark stands"),
        (b"NN.", "2 objects are left"),
        (b"K", "it ends too early"),
        (b"X\xff\x00\x00\x00abc.", "it ends too early"),
        (b"T\xff\xff\xff\xffabc.", "it ends too early"),
        (b"h\x01.", "1"),
        (b"\x85.", "pop from empty list"),
        (b"e.", "out of range"),
        (b"N(Ke.", "3 objects are left"),
        (b"N(K\x01e.", "a NoneType is no list"),
        (b"]N}b.", "sets the state of a NoneType"),
        (b"cnumpy\nndarray\n}b.", "sets the state of a _Name"),
        (b"cnumpy\nndarray\n)R.", "it calls ndarray"),
        (b"N)R.", "it calls what is no function"),
        (b"c_codecs\nencode\nX\x00\x00\x00\x00U\x03hex\x86R.", "text in the encoding"),
        (b"}(K\x01u.", "shorter"),
        (DTYPE % b"V9" + b".", "an array of the type 'V9'"),
        (ARRAY + b"(K\x01K\x09\x85" + DTYPE % b"u1" + b"\x89U\x02abtb.", "reshape"),
        (ARRAY + b"(K\x01K\x09\x85N\x89U\x02abtb.", "an array without a type"),
        (ARRAY + b"(K\x01tb.", "missing 4 required"),
    ],
)
def test_a_damaged_pickle_is_refused(content, fault):
    with pytest.raises(CorruptFileError, match=f"a damaged pickle: .*{fault}"):
        loads(content)


def test_noise_is_refused():
    random = np.random.RandomState(0)
    content = pickle.dumps([DATA, list(ARRAYS.values())], 4)
    for _ in range(300):
        noisy = bytearray(content)
        for at in random.randint(0, len(content), 3):
            noisy[at] = random.randint(256)
        with contextlib.suppress(CorruptFileError, UnsafeFileError):
            loads(bytes(noisy))
