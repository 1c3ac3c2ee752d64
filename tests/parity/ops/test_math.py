"""Fourier transforms, segments and top values against Keras's."""

import numpy as np
import pytest
import torch

import torchkeras
from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
A = rng.normal(size=(4, 3)).astype("float32")
B = rng.normal(size=(2, 5, 3)).astype("float32")
ROWS = rng.normal(size=(6, 3)).astype("float32")
IDS = np.array([0, 0, 2, 1, 2, 0], "int32")
OUTSIDE = np.array([0, -1, 2, 9, 2, 0], "int32")
BOOLS = np.array([True, False, False, True, True, True])
INTEGERS = np.array([3, 1, 4, 1, 5, 9], "int32")
SIGNAL = rng.normal(size=(2, 40)).astype("float32")
WAVES = rng.normal(size=(2, 3, 40)).astype("float32")
REAL, IMAGINARY = (rng.normal(size=(2, 8)).astype("float32") for _ in range(2))
IMAGE = tuple(rng.normal(size=(2, 4, 6)).astype("float32") for _ in range(2))
SPECTRUM = tuple(rng.normal(size=(2, 11, 9)).astype("float32") for _ in range(2))
MATRIX = (ROWS[:3] @ ROWS[:3].T + 3 * np.eye(3)).astype("float32")
WINDOW = rng.uniform(0.5, 1.0, 16).astype("float32")

SEGMENTS = [
    case
    for name in ("segment_sum", "segment_max", "segment_min", "segment_prod")
    for case in (
        Case(name, (ROWS, IDS), {"num_segments": 3}),
        Case(name, (ROWS[:, 0], IDS), {"num_segments": 3, "sorted": False}),
        Case(
            name,
            (ROWS, OUTSIDE),
            {"num_segments": 3},
            grad=False,
            values=(name != "segment_max" and name != "segment_min")
            or "Keras's gaps are infinite too",
        ),
        Case(name, (INTEGERS, IDS), {"num_segments": 3}),
        Case(name, (ROWS, IDS)),
    )
]
CASES = [
    *SEGMENTS,
    Case("segment_max", (BOOLS, IDS), {"num_segments": 3}),
    Case("segment_prod", (BOOLS, IDS), {"num_segments": 3}),
    Case("top_k", (A, 2)),
    Case("top_k", (B, 3)),
    Case("top_k", (INTEGERS, 4)),
    Case("in_top_k", (np.array([0, 2, 1, 1]), A, 1)),
    Case("in_top_k", (np.array([0, 2, 1, 1], "int32"), A, 2)),
    Case("logsumexp", (A,)),
    Case("logsumexp", (A * 100, -1)),
    Case("logsumexp", (B,), {"axis": (0, 2), "keepdims": True}),
    Case("cdist", (A, ROWS)),
    Case("cdist", (B, B[:, :2] + 1.0)),
    Case("cdist", (INTEGERS[:, None], INTEGERS[:2, None] + 10)),
    Case("cdist", (A.astype("float16"), IDS.reshape(2, 3)), rtol=1e-2, grad=False),
    Case("logdet", (MATRIX,)),
    Case("logdet", (np.stack([MATRIX, 2 * MATRIX]),)),
    Case("slogdet", (MATRIX,), rtol=1e-4),
    Case(
        "slogdet",
        (np.stack([MATRIX, -2 * MATRIX]),),
        rtol=1e-4,
        symbolic="Keras gives the sign no batch axes",
    ),
    Case("view_as_complex", (A[:, :2],)),
    Case("view_as_complex", (B[..., 1:],), grad=False),
    Case("view_as_complex", (INTEGERS.reshape(3, 2),)),
    Case("view_as_complex", (A[:, :2].astype("float16"),), grad=False),
    Case("view_as_real", ((A[:, 0] + 1j * A[:, 1]).astype("complex64"),), lists=False),
    Case("view_as_real", ((B + 2j * B).astype("complex64"),), lists=False),
    Case("fft", ((REAL, IMAGINARY),), lists=False),
    Case("fft", ((SIGNAL, SIGNAL * 2),), lists=False),
    Case("fft2", (IMAGE,), lists=False),
    Case("fft2", ((REAL, IMAGINARY),), lists=False),
    Case("ifft2", (IMAGE,), lists=False),
    Case("ifft2", ((REAL, IMAGINARY),), lists=False),
    Case("rfft", (SIGNAL,)),
    Case("rfft", (SIGNAL, 16)),
    Case("rfft", (SIGNAL, 64)),
    Case("irfft", ((REAL, IMAGINARY),), lists=False),
    Case("irfft", ((REAL, IMAGINARY), 15), lists=False),
    Case("stft", (SIGNAL, 16, 4, 16)),
    Case("stft", (WAVES, 10, 5, 16), {"window": "hamming", "center": False}),
    Case("stft", (SIGNAL, 16, 8, 32), {"window": None}),
    Case(
        "stft",
        (SIGNAL, 16, 8, 16),
        {"window": WINDOW},
        lists=False,
        grad=False,
        symbolic="the window is no tensor there",
    ),
    Case("istft", (SPECTRUM, 16, 4, 16), lists=False, rtol=1e-4),
    Case("istft", (SPECTRUM, 12, 4, 16), {"length": 30}, lists=False, rtol=1e-4),
    Case(
        "istft",
        (SPECTRUM, 16, 8, 16),
        {"window": "hamming", "center": False},
        lists=False,
        rtol=1e-4,
    ),
    Case("istft", (SPECTRUM, 16, 8, 16), {"window": None}, lists=False, rtol=1e-4),
    Case("extract_sequences", (SIGNAL, 8, 4)),
    Case("extract_sequences", (WAVES, 5, 7)),
    Case("extract_sequences", (INTEGERS, 3, 1)),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("length", [16, 12])
def test_a_signal_comes_back(length):
    signal = torch.tensor(SIGNAL)
    spectra = ops.stft(signal, length, 4, 16)
    back = ops.istft(spectra, length, 4, 16, length=40)
    inner = slice(16, 24) if length != 16 else slice(None)
    torch.testing.assert_close(back[:, inner], signal[:, inner], rtol=1e-4, atol=1e-4)


def test_distances_of_zero_have_a_gradient():
    x = torch.tensor(A, dtype=torch.float64, requires_grad=True)
    ops.cdist(x, x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    y = torch.tensor(ROWS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(ops.cdist, (x, y))


def test_double_precision_is_kept():
    assert ops.view_as_complex(A[:, :2].astype("float64")).dtype == torch.complex128


def test_a_logarithm_of_integers_is_of_floatx():
    torchkeras.config.set_floatx("float64")
    try:
        assert ops.logsumexp(torch.tensor([1, 2])).dtype == torch.float64
    finally:
        torchkeras.config.set_floatx("float32")


def test_parts_of_spectra_may_be_lists():
    lists = tuple(part.tolist() for part in (REAL, IMAGINARY))
    for own, expected in zip(ops.fft(lists), ops.fft((REAL, IMAGINARY)), strict=True):
        torch.testing.assert_close(own, expected)


def test_windows_may_be_longer_than_what_stands_for_unknown_sizes():
    x = KerasTensor((None, None))
    assert [y.shape for y in ops.stft(x, 400, 160, 512)] == [(None, None, 257)] * 2
    assert ops.extract_sequences(x, 999, 10).shape == (None, None, 999)
    known = KerasTensor((None, 1600))
    assert [y.shape for y in ops.stft(known, 400, 160, 512)] == [(None, 11, 257)] * 2
    assert ops.extract_sequences(known, 1000, 100).shape == (None, 7, 1000)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.fft(SIGNAL), ValueError, "fft: `x` must be a pair"),
        (lambda: ops.fft((SIGNAL, SIGNAL[:, :3])), ValueError, "of one shape"),
        (lambda: ops.stft(SIGNAL, 4, 0, 4), ValueError, "`sequence_stride` must be"),
        (lambda: ops.istft(SPECTRUM, 4, 0, 4), ValueError, "`sequence_stride` must"),
        (lambda: ops.stft(INTEGERS, 4, 2, 4), TypeError, "float32 or float64"),
        (lambda: ops.stft(SIGNAL, 16, 4, 8), ValueError, "`fft_length` must be at"),
        (lambda: ops.stft(SIGNAL, 8, 4, 8, "han"), ValueError, "Did you mean 'hann'"),
        (lambda: ops.stft(SIGNAL, 8, 4, 8, WINDOW), ValueError, "`window`"),
        (lambda: ops.top_k(A, 4), ValueError, "top_k: `k` must be at most"),
        (lambda: ops.in_top_k(A, A, 1), ValueError, "`targets` must be of shape"),
        (lambda: ops.cdist(A, A[:, :2]), ValueError, "cdist: `x` must be rows"),
        (lambda: ops.segment_sum(ROWS, IDS[:2]), ValueError, "`segment_ids`"),
        (lambda: ops.view_as_complex(A), ValueError, "last axis has size 2"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
