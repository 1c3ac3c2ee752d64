"""Encodings, crossentropies and temporal classification against Keras's."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
LABELS = np.array([[0, 3, 1], [2, 2, -1]], dtype="int32")
LOGITS = rng.normal(size=(2, 3, 4)).astype("float32")
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)).astype(
    "float32"
)
TARGET = rng.dirichlet(np.ones(4), size=(2, 3)).astype("float32")
CLASSES = np.array([[0, 3, 1], [2, 2, 0]], dtype="int32")
BINARY = rng.integers(0, 2, size=(2, 3, 4)).astype("float32")

STEPS = rng.normal(size=(3, 9, 5)).astype("float32") * 2
LENGTHS = np.array([9, 6, 7], dtype="int32")
SEQUENCES = np.array([[1, 2, 2], [3, 0, 0], [4, 1, 0]], dtype="int32")
SEQUENCE_LENGTHS = np.array([3, 1, 2], dtype="int32")
CTC = (SEQUENCES, STEPS, SEQUENCE_LENGTHS, LENGTHS)

CASES = [
    Case("nn.one_hot", (LABELS, 4)),
    Case("one_hot", (LABELS, 6), {"axis": 0}),
    Case("one_hot", (LABELS, 4), {"axis": 1, "dtype": "int32"}),
    Case("one_hot", (LABELS[0], 4), {"dtype": "bool"}),
    Case("one_hot", (LABELS.astype("float32"), 4), {"dtype": "float16"}, grad=False),
    Case(
        "one_hot",
        (LABELS,),
        {"num_classes": 4, "axis": 2},
        symbolic="Keras allows that axis only with values",
    ),
    Case("nn.multi_hot", (LABELS, 4)),
    Case("multi_hot", (LABELS[0],), {"num_classes": 5}),
    Case("multi_hot", (LABELS[None], 4), {"dtype": "int32"}),
    Case(
        "multi_hot",
        (LABELS,),
        {"num_tokens": 4},
        symbolic="Keras's class takes the old name among its keywords",
    ),
    Case("nn.binary_crossentropy", (BINARY, PROBABILITIES)),
    Case("binary_crossentropy", (BINARY, LOGITS), {"from_logits": True}),
    Case("binary_crossentropy", (BINARY[0, 0], PROBABILITIES[0, 0])),
    Case("binary_crossentropy", (TARGET, BINARY * 0.5), grad=False),
    Case("nn.categorical_crossentropy", (TARGET, PROBABILITIES)),
    Case("categorical_crossentropy", (TARGET, 3 * PROBABILITIES)),
    Case("categorical_crossentropy", (TARGET, LOGITS), {"from_logits": True}),
    Case(
        "categorical_crossentropy",
        (TARGET, LOGITS, True, 1),
        symbolic="Keras drops the last axis whatever `axis` is",
    ),
    Case("categorical_crossentropy", (TARGET[0, 0], PROBABILITIES[0, 0])),
    Case("nn.sparse_categorical_crossentropy", (CLASSES, PROBABILITIES)),
    Case("sparse_categorical_crossentropy", (CLASSES[..., None], 3 * PROBABILITIES)),
    Case("sparse_categorical_crossentropy", (CLASSES, LOGITS), {"from_logits": True}),
    Case(
        "sparse_categorical_crossentropy",
        (CLASSES, np.moveaxis(LOGITS, -1, 1).copy(), True, 1),
        symbolic="Keras takes the last axis whatever `axis` is",
    ),
    Case(
        "sparse_categorical_crossentropy",
        (CLASSES[0], LOGITS[0]),
        {"from_logits": True},
    ),
    Case("sparse_categorical_crossentropy", (np.array(2), PROBABILITIES[0, 0])),
    Case("nn.ctc_loss", CTC),
    Case(
        "ctc_loss",
        (np.array([[1], [2], [3]]), STEPS, np.array([1, 1, 1]), LENGTHS),
        {"mask_index": 4},
    ),
    Case(
        "ctc_loss",
        (SEQUENCES, STEPS.astype("float64"), SEQUENCE_LENGTHS, LENGTHS),
        lists=False,
    ),
    Case("nn.ctc_decode", (STEPS, LENGTHS)),
    Case("ctc_decode", (STEPS, LENGTHS), {"merge_repeated": False, "mask_index": 2}),
    Case("ctc_decode", (STEPS, LENGTHS), {"mask_index": None}),
    *(
        Case(
            "ctc_decode",
            (STEPS, LENGTHS),
            {"strategy": "beam_search", **options},
            grad=False,
        )
        for options in (
            {},
            {"top_paths": 4},
            {"beam_width": 3, "top_paths": 3},
            {"beam_width": 1},
            {"beam_width": 7, "top_paths": 5, "mask_index": 4},
            {"beam_width": 20, "top_paths": 2, "mask_index": None},
        )
    ),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def test_labels_that_are_no_classes_give_zeros():
    # Keras on torch refuses those that are too large.
    assert ops.one_hot([4, -1], 4).sum() == 0
    assert ops.multi_hot([1, 7], 4).tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_multi_hot_puts_the_classes_where_it_is_told(axis):
    # Keras takes the largest value along the classes, where they are not last.
    last = ops.multi_hot(LABELS, 4)
    result = ops.multi_hot(LABELS, 4, axis)
    torch.testing.assert_close(result, last.T if axis == 0 else last)
    assert ops.multi_hot(KerasTensor((None, 3)), 4, axis).ndim == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_crossentropy_of_certainty_is_finite(dtype, from_logits):
    x = torch.tensor([0.0, 1.0, 1.0], dtype=dtype)
    target = torch.tensor([0, 1, 0])
    loss = ops.binary_crossentropy(target, 30 * x if from_logits else x, from_logits)
    assert loss.dtype == dtype
    assert loss.isfinite().all()
    assert loss[1] < 1e-3
    assert loss[2] > 10


def all_labelings(scores, blank):
    """Return the log-probability of each sequence, from all alignments."""
    probabilities = np.exp(scores - np.logaddexp.reduce(scores, -1, keepdims=True))
    totals = {}
    for alignment in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        merged = tuple(c for c, _ in itertools.groupby(alignment) if c != blank)
        chance = np.prod(probabilities[range(len(scores)), alignment])
        totals[merged] = totals.get(merged, 0.0) + chance
    return sorted(((np.log(p), s) for s, p in totals.items()), reverse=True)


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("length", [1, 4, 5])
def test_a_wide_beam_finds_the_best_of_all_sequences(length, blank):
    scores = rng.normal(size=(3, 5, 3)).astype("float32")
    labels, best = ops.ctc_decode(
        scores,
        [length] * 3,
        "beam_search",
        beam_width=300,
        top_paths=4,
        mask_index=blank,
    )
    for sample in range(3):
        expected = all_labelings(scores[sample, :length].astype("float64"), blank)
        for rank in range(min(4, len(expected))):
            score, sequence = expected[rank]
            np.testing.assert_allclose(best[sample, rank], score, rtol=1e-4)
            padded = [*sequence, *[-1] * (5 - len(sequence))]
            assert labels[rank, sample].tolist() == padded


def test_a_beam_with_room_to_spare_repeats_nothing():
    # There are but three sequences of one step.
    labels, scores = ops.ctc_decode(
        np.zeros((1, 1, 3), "float32"), [1], "beam_search", top_paths=5
    )
    assert sorted(labels[:3].flatten().tolist()) == [-1, 1, 2]
    assert labels[3:].flatten().tolist() == [-1, -1]
    np.testing.assert_allclose(scores[0, :3].exp(), 1 / 3, rtol=1e-5)
    assert scores[0, 3:].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("width", [2, 10, 50])
def test_many_random_beams_are_those_of_keras(width):
    scores = rng.normal(size=(4, 14, 6)).astype("float32")
    lengths = np.array([14, 10, 3, 1])
    options = {"strategy": "beam_search", "beam_width": width, "top_paths": 2}
    labels, best = ops.ctc_decode(scores, lengths, **options)
    reference: Any = keras.ops.ctc_decode(scores, lengths, **options)
    expected, score = reference
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(best, score, rtol=1e-5)


def test_more_labels_than_steps_are_impossible():
    loss = ops.ctc_loss([[1, 2]], np.zeros((1, 3, 4), "float32"), [2], [1])
    assert loss.tolist() == [np.inf]


def test_a_sample_without_steps_has_no_labels():
    for strategy in ("greedy", "beam_search"):
        labels, scores = ops.ctc_decode(STEPS, [0, 9, 9], strategy)
        assert set(labels[0, 0].tolist()) == {-1}
        assert scores[0, 0] == 0


BAD = [
    ("one_hot", (LABELS, 4), {"sparse": True}, NotImplementedError, "`to_sparse`"),
    ("one_hot", (LABELS, 4), {"axis": 3}, ValueError, "`axis` must be -1 or from 0 to"),
    ("one_hot", (LABELS, 0), {}, ValueError, "`num_classes` must be a positive"),
    ("multi_hot", (LABELS,), {}, TypeError, "`num_classes` must be a positive"),
    ("multi_hot", (LABELS, 4), {"classes": 4}, TypeError, r"arguments \['classes'\]"),
    ("multi_hot", (1, 4), {}, ValueError, "`inputs` must be at least of rank 1"),
    ("binary_crossentropy", (BINARY, LOGITS[0]), {}, ValueError, "must have one shape"),
    ("categorical_crossentropy", (TARGET, LOGITS[0]), {}, ValueError, "must have one"),
    ("categorical_crossentropy", (1.0, 1.0), {}, ValueError, "at least of rank 1"),
    (
        "sparse_categorical_crossentropy",
        (TARGET, LOGITS),
        {},
        ValueError,
        "`target` mu",
    ),
    (
        "sparse_categorical_crossentropy",
        (CLASSES, LOGITS[..., :3]),
        {},
        ValueError,
        "from 0 to 2, as `output` has 3 classes",
    ),
    (
        "sparse_categorical_crossentropy",
        (CLASSES - 100, LOGITS),
        {},
        ValueError,
        "from 0",
    ),
    ("ctc_loss", (SEQUENCES[0], *CTC[1:]), {}, ValueError, "`target` must be of shape"),
    ("ctc_loss", (SEQUENCES[:2], *CTC[1:]), {}, ValueError, "as many samples as"),
    ("ctc_loss", (*CTC[:3], LENGTHS[:2]), {}, ValueError, r"`output_length` must be"),
    ("ctc_loss", CTC, {"mask_index": 5}, ValueError, "must be a class from 0 to 4"),
    (
        "ctc_loss",
        (KerasTensor((None, 3)), KerasTensor((None, 5)), LENGTHS, LENGTHS),
        {},
        ValueError,
        "`target` must be of shape",
    ),
    ("ctc_decode", (STEPS, LENGTHS[:2]), {}, ValueError, "`sequence_lengths` must be"),
    ("ctc_decode", (STEPS[0], LENGTHS), {}, ValueError, "`inputs` must be of shape"),
    (
        "ctc_decode",
        (STEPS, LENGTHS, "best"),
        {},
        ValueError,
        "`strategy` must be one of",
    ),
    (
        "ctc_decode",
        (STEPS, LENGTHS),
        {"mask_index": 5},
        ValueError,
        "`mask_index` must",
    ),
    (
        "ctc_decode",
        (STEPS, LENGTHS, "beam_search", 2, 3),
        {},
        ValueError,
        "`top_paths` m",
    ),
    (
        "ctc_decode",
        (STEPS, LENGTHS, "beam_search", 0),
        {},
        ValueError,
        "`beam_width` mu",
    ),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), BAD)
def test_bad_input(name, args, kwargs, error, match):
    with pytest.raises(error, match=match):
        getattr(ops, name)(*args, **kwargs)


def test_unknown_sizes_stay_unknown():
    steps, lengths = KerasTensor((None, None, 5)), KerasTensor((None,), "int32")
    labels, scores = ops.ctc_decode(steps, lengths, "beam_search", 4, 2)
    assert (labels.shape, labels.dtype) == ((2, None, None), "int32")
    assert scores.shape == (None, 2)
    target = KerasTensor((None, None), "int32")
    assert ops.ctc_loss(target, steps, lengths, lengths).shape == (None,)


def test_compiles_in_one_graph():
    def function(labels, logits, steps, lengths):
        first = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        hot = ops.one_hot(labels, 4)
        second = ops.categorical_crossentropy(hot, logits, from_logits=True)
        third = ops.binary_crossentropy(hot, torch.sigmoid(logits)).sum(-1)
        greedy = ops.ctc_decode(steps, lengths)
        beams = ops.ctc_decode(steps, lengths, "beam_search", 4, 2)
        return first + second + third, greedy, beams, ops.multi_hot(labels, 4)

    arguments = [torch.tensor(a) for a in (CLASSES, LOGITS, STEPS, LENGTHS)]
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), function(*arguments))
